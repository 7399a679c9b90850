//! One fault of a spec: which kind, where, what was expected, what helps.

use std::fmt;

use schemas::codec::DecodeError;
use serde_json::Value;
use service_kit::error::CliError;
use service_kit::exit::Exit;

/// Findings shown at once; more would scroll the first one away.
const MAX_SHOWN: usize = 20;

/// A fault of a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stable name in kebab-case, such as `unknown-dataset`.
    pub code: &'static str,
    /// Where in the spec, such as `budget.max_trials`; empty for the spec as a whole.
    pub path: String,
    /// What was expected and what was found.
    pub reason: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Finding {
    pub(super) fn new(code: &'static str, path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { code, path: path.into(), reason: reason.into(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What the contract said about the field `key`, in words for whoever wrote the spec.
    pub(super) fn of_decoding(error: &DecodeError, key: &str) -> Self {
        let reason = error.reason.strip_prefix("at the top level: ").unwrap_or(&error.reason);
        let (path, reason) =
            reason.strip_prefix("at `").and_then(|rest| rest.split_once("`: ")).unwrap_or((key, reason));
        // The field was decoded alone: line and column are not those of the spec.
        let reason = reason.rsplit_once(" at line ").map_or(reason, |(reason, _)| reason);
        let code = if reason.starts_with("invalid type") { "wrong-type" } else { "out-of-range" };
        Self::new(code, path, plain(reason))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.reason),
            path => write!(f, "{path}: {}", self.reason),
        }
    }
}

/// `invalid type: string "x", expected u32` as `expected a whole number, found string "x"`.
fn plain(reason: &str) -> String {
    let wrong = ["invalid type: ", "invalid value: "].iter().find_map(|prefix| reason.strip_prefix(prefix));
    let Some((found, expected)) = wrong.and_then(|rest| rest.rsplit_once(", expected ")) else {
        return reason.to_owned();
    };
    let expected = match expected {
        "u32" => "a whole number above 0",
        "i32" | "i64" => "a whole number",
        "struct Budget" | "a map" => "an object",
        "a string" => "a text",
        other => other,
    };
    format!("expected {expected}, found {found}")
}

/// What a value is, for a person.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The error a command ends with when a spec has faults. The first finding names the error.
pub fn refusal(findings: &[Finding]) -> CliError {
    let code = findings.first().map_or("spec-invalid", |finding| finding.code);
    let mut lines: Vec<String> = findings.iter().take(MAX_SHOWN).map(Finding::to_string).collect();
    if findings.len() > MAX_SHOWN {
        lines.push(format!("and {} more", findings.len() - MAX_SHOWN));
    }
    let what = match findings.len() {
        1 => "the spec is not valid; nothing was published".to_owned(),
        count => format!("the spec has {count} faults; nothing was published"),
    };
    let mut helps: Vec<&str> = findings.iter().filter_map(|finding| finding.help.as_deref()).collect();
    helps.dedup();
    let error = CliError::new(code, Exit::InvalidInput, what).because(lines.join("\n"));
    if helps.is_empty() {
        return error.help("`submit --dry-run` shows what would be published");
    }
    error.help(helps.join("\n"))
}
