//! The last lines a process printed, for a person.

use schemas::Failure;
use service_kit::output::plain_text;

/// Lines that are shown; `-o json` has all that was kept.
const MAX_LINES: usize = 5;
/// Longest line, in characters.
const LINE_LIMIT: usize = 200;

/// Where the lines come from, and the lines; `None` if nothing was printed.
pub(super) fn of(failure: &Failure) -> Option<(&'static str, Vec<String>)> {
    let sources = [
        ("stderr", &failure.stderr_excerpt),
        ("stdout", &failure.stdout_excerpt),
        ("traceback", &failure.traceback),
    ];
    sources.into_iter().find_map(|(name, text)| {
        let lines = last_lines(text.as_deref()?);
        (!lines.is_empty()).then_some((name, lines))
    })
}

/// The last lines with something in them, in order, plain. A line that was written over and over, as progress bars
/// are, counts as it was last.
fn last_lines(text: &str) -> Vec<String> {
    let visible = |line: &str| line.trim_end().rsplit('\r').next().unwrap_or_default().trim_end().to_owned();
    let lines = text.rsplit('\n').map(visible).filter(|line| !line.is_empty());
    let mut last: Vec<String> =
        lines.take(MAX_LINES).map(|line| plain_text::one_line(&line, LINE_LIMIT)).collect();
    last.reverse();
    last
}

#[cfg(test)]
mod tests {
    use schemas::{FailureClass, Stage};

    use super::*;

    #[test]
    fn the_last_lines_are_shown_plain_and_bounded() {
        let text = format!("first\n1\n2\n3\n\n\u{1b}[2J4\r\n{}\n\n", "x".repeat(999));
        let lines = last_lines(&text);
        assert_eq!(lines[..4], ["1", "2", "3", "\\u{1b}[2J4"]);
        assert_eq!((lines.len(), lines[4].chars().count()), (5, LINE_LIMIT + 1));
    }

    #[test]
    fn a_progress_bar_is_shown_as_it_was_last() {
        assert_eq!(last_lines("epoch 1\repoch 2\repoch 3\r"), ["epoch 3"]);
    }

    #[test]
    fn standard_error_comes_before_standard_output_and_silence_shows_nothing() {
        let silent = Failure::new(FailureClass::UserCode, Stage::Execute, "x");
        assert_eq!(of(&silent), None);
        let printed = |stdout: &str, stderr: &str| of(&silent.clone().with_output(stdout, stderr)).unwrap();
        assert_eq!(printed("out", "err"), ("stderr", vec!["err".to_owned()]));
        assert_eq!(printed("out", "\n \n"), ("stdout", vec!["out".to_owned()]));
        assert_eq!(of(&silent.with_traceback(Some("T"))), Some(("traceback", vec!["T".to_owned()])));
    }
}
