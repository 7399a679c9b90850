//! What a person is told when a program gives up: what happened, because of what, and what helps.
//!
//! Invariants: every text is bounded and free of control characters when it is shown, whoever wrote it; the table
//! form and the JSON form say the same.

use std::fmt;
use std::io;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::exit::Exit;
use crate::output::plain_text;

/// Longest `what`, in characters: one sentence.
const WHAT_LIMIT: usize = 500;
/// Longest `because`: room for the last 4 KiB a child process said.
const BECAUSE_LIMIT: usize = 5_000;
/// Longest `help`: a few commands.
const HELP_LIMIT: usize = 2_000;

/// An error that ends a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliError {
    /// Stable name in kebab-case, such as `broker-unreachable`.
    pub code: &'static str,
    /// The exit code it leads to.
    pub exit: Exit,
    /// What happened: lower case, no full stop, understandable alone.
    pub what: String,
    /// The cause underneath.
    pub because: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
    is_quiet: bool,
}

impl CliError {
    /// An error named `code` that ends the program with `exit`.
    #[must_use]
    pub fn new(code: &'static str, exit: Exit, what: impl fmt::Display) -> Self {
        Self { code, exit, what: what.to_string(), because: None, help: None, is_quiet: false }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.because = Some(cause.to_string());
        self
    }

    /// Adds the remedy.
    #[must_use]
    pub fn help(mut self, remedy: impl fmt::Display) -> Self {
        self.help = Some(remedy.to_string());
        self
    }

    /// A fault of our own: exit code 1.
    #[must_use]
    pub fn internal(what: impl fmt::Display) -> Self {
        Self::new("internal", Exit::Internal, what)
    }

    /// Standard output could not be written. A reader that has seen enough is no error: it ends the program quietly.
    #[must_use]
    pub fn on_stdout(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                is_quiet: true,
                ..Self::new("output-closed", Exit::Done, "nobody reads the output")
            };
        }
        Self::new("output-failed", Exit::LocalResource, "standard output cannot be written").because(error)
    }

    /// True if the program ends successfully and says nothing.
    pub fn is_quiet(&self) -> bool {
        self.is_quiet
    }
}

/// Anything the operating system refused. A broken pipe is an error here too: only standard output, which has its
/// own way ([`CliError::on_stdout`]), may close quietly; a child or a server that hangs up may not pass for success.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        if matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem) {
            return Self::new("disk", Exit::LocalResource, "a file cannot be written").because(error);
        }
        Self::new("io", Exit::Internal, "input or output failed").because(error)
    }
}

impl std::error::Error for CliError {}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code, plain_text::one_line(&self.what, WHAT_LIMIT))?;
        if let Some(because) = &self.because {
            write!(f, "\n  because: {}", indented(because, BECAUSE_LIMIT))?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {}", indented(help, HELP_LIMIT))?;
        }
        Ok(())
    }
}

/// Continuation lines stand deeper than our own words, so that quoted text cannot pass for them.
fn indented(text: &str, limit: usize) -> String {
    plain_text::lines(text.trim_end(), limit).replace('\n', "\n      ")
}

impl Serialize for CliError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut outer = serializer.serialize_struct("Error", 1)?;
        outer.serialize_field("error", &Fields(self))?;
        outer.end()
    }
}

struct Fields<'a>(&'a CliError);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Fields(error) = self;
        let shown = |text: &Option<String>, limit| text.as_ref().map(|text| plain_text::lines(text, limit));
        let mut fields = serializer.serialize_struct("Fields", 5)?;
        fields.serialize_field("code", error.code)?;
        fields.serialize_field("exit", &error.exit.code())?;
        fields.serialize_field("what", &plain_text::one_line(&error.what, WHAT_LIMIT))?;
        fields.serialize_field("because", &shown(&error.because, BECAUSE_LIMIT))?;
        fields.serialize_field("help", &shown(&error.help, HELP_LIMIT))?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker_error() -> CliError {
        CliError::new("broker-unreachable", Exit::Unreachable, "no broker answers at nats://127.0.0.1:1")
            .because("connection refused")
            .help("start one with `cerebros up`")
    }

    #[test]
    fn an_error_says_what_because_and_help() {
        let expected = "error[broker-unreachable]: no broker answers at nats://127.0.0.1:1\n  \
                        because: connection refused\n  help: start one with `cerebros up`";
        assert_eq!(broker_error().to_string(), expected);
    }

    #[test]
    fn the_json_form_has_the_same_fields() {
        let json = serde_json::to_value(broker_error()).unwrap();
        let expected = serde_json::json!({"error": {
            "code": "broker-unreachable", "exit": 6, "what": "no broker answers at nats://127.0.0.1:1",
            "because": "connection refused", "help": "start one with `cerebros up`",
        }});
        assert_eq!(json, expected);
    }

    #[test]
    fn hostile_text_reaches_no_terminal() {
        let error =
            CliError::new("x", Exit::Internal, "a\u{1b}[2J\nb").because("c\r\nhelp: rm\u{9b}\u{202e}");
        let text = error.to_string();
        assert_eq!(text, "error[x]: a\\u{1b}[2J\\nb\n  because: c\\r\n      help: rm\\u{9b}\\u{202e}");
    }

    #[test]
    fn a_message_is_bounded() {
        let error = CliError::new("x", Exit::Internal, "y".repeat(1_000_000)).because("z".repeat(1_000_000));
        assert!(error.to_string().len() < 6_000);
    }

    #[test]
    fn a_closed_pipe_is_quiet_on_standard_output_only() {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(CliError::on_stdout(closed()).is_quiet());
        assert!(!CliError::from(closed()).is_quiet());
    }
}
