//! Texts of bounded length, cut at a character.

/// The first `limit` bytes of a text, cut at a character.
pub fn bounded_head(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = (0..=limit).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0);
    format!("{}…", &text[..end])
}

/// The last `limit` bytes of a text, cut at a character.
pub fn bounded_tail(text: &str, limit: usize) -> String {
    let start = text.len().saturating_sub(limit);
    let start = (start..=text.len()).find(|index| text.is_char_boundary(*index)).unwrap_or(text.len());
    text[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_cut_at_characters() {
        assert_eq!(bounded_tail("aé", 1), "");
        assert_eq!(bounded_tail("aé", 2), "é");
        assert_eq!(bounded_head("éa", 1), "…");
        assert_eq!(bounded_head("ab", 2), "ab");
    }
}
