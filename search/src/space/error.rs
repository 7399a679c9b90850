//! What is wrong with a search space, where, and what to do about it.

use serde_json::Value;

/// Text of the request that is repeated in an error; longer text is cut.
const SHOWN_CHARS: usize = 40;

/// A fault in a search space.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: expected {expected}, found {found}")]
pub struct SpaceError {
    /// Where in the request, for example `search_space.layers[1]`.
    pub path: String,
    /// What would be right there.
    pub expected: String,
    /// What was there.
    pub found: String,
    /// What to do about it, in one line.
    pub help: String,
}

impl SpaceError {
    pub(super) fn new(
        path: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { path: path.into(), expected: expected.into(), found: found.into(), help: help.into() }
    }
}

/// A value in words short enough for an error line, whatever the sender put there.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("{:?}", shorten(text)),
        Value::Array(entries) if entries.is_empty() => "an empty list".to_owned(),
        Value::Array(entries) => format!("a list of {}", entries.len()),
        Value::Object(fields) if fields.is_empty() => "an empty object".to_owned(),
        Value::Object(fields) => format!("an object with {} keys", fields.len()),
    }
}

/// The path of a key: `parent.key`, or `parent["key"]` when the key is no plain word.
pub(crate) fn key_path(parent: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    if plain && key.chars().count() <= SHOWN_CHARS {
        format!("{parent}.{key}")
    } else {
        format!("{parent}[{:?}]", shorten(key))
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}
