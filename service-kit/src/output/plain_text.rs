//! Text that may come from a stranger, made fit for a terminal: no control characters, no reordering of what is
//! read, no more than a bound.

/// `text` on one line of at most `limit` characters; control characters are written out (`\n`, `\u{1b}`).
pub fn one_line(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len().min(limit));
    add_one_line(&mut out, text, limit);
    out
}

/// The same behind what is there already.
pub(super) fn add_one_line(out: &mut String, text: &str, limit: usize) {
    // Nearly every text is of letters nobody objects to, and can be seen to be byte by byte.
    if text.len() <= limit && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        out.push_str(text);
    } else {
        add_shown(out, text, limit, |_| false);
    }
}

/// `text` of at most `limit` characters; line ends and tabs stay, every other control character is written out.
pub fn lines(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len().min(limit));
    add_shown(&mut out, text, limit, |character| matches!(character, '\n' | '\t'));
    out
}

/// Reads no further than the bound, however long the text is.
fn add_shown(out: &mut String, text: &str, limit: usize, is_kept: impl Fn(char) -> bool) {
    for (position, character) in text.chars().enumerate() {
        if position == limit {
            out.push('…');
            break;
        }
        if is_unfit(character) && !is_kept(character) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
}

/// True for what a terminal would act upon, or what makes text read differently from what it says.
pub(super) fn is_unfit(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_out() {
        assert_eq!(one_line("a\tb\n\u{1b}]0;x\u{7}", 100), "a\\tb\\n\\u{1b}]0;x\\u{7}");
        assert_eq!(lines("a\tb\n\u{8}", 100), "a\tb\n\\u{8}");
    }

    #[test]
    fn long_text_is_cut_with_a_mark() {
        assert_eq!(one_line("äöü", 2), "äö…");
        assert_eq!(one_line("äöü", 3), "äöü");
        assert_eq!(one_line("abc", 2), "ab…");
        assert_eq!(one_line("abc", 3), "abc");
    }
}
