//! The value of one key: a list of choices, one fixed value, or a range.
//!
//! Nothing here recurses: a value is a scalar, a flat list or a flat range, so nesting costs nothing to refuse.

use serde_json::Value;

use super::Domain;
use super::error::{SpaceError, describe, key_path};
use super::range::parse_range;

/// Choices of one parameter.
const MAX_CHOICES: usize = 1_000;
/// Characters of one choice.
const MAX_TEXT_CHARS: usize = 1_000;

const PARAMETER_HELP: &str =
    r#"write a list of choices, one fixed value, or a range {"low": 0.0001, "high": 0.1, "log": true}"#;

/// Something that is counted: what it is called, its largest value, and what to say to a sender who got it wrong.
pub(super) struct Count {
    pub(super) what: &'static str,
    pub(super) max: i64,
    pub(super) help: &'static str,
}

/// A domain whose every value is a whole number from 1 to the count's largest.
pub(super) fn parse_counts(path: &str, value: &Value, count: &Count) -> Result<Domain, SpaceError> {
    let Count { what, max, help } = *count;
    let expected = || format!("{what}, an integer from 1 to {max}");
    let is_count = |value: &Value| value.as_i64().is_some_and(|n| (1..=max).contains(&n));
    let domain = parse_domain(path, value)?;
    match &domain {
        Domain::Choices(_) => {
            // The list of the request, not of the domain: positions must be those the sender wrote.
            let entries = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            if let Some(index) = entries.iter().position(|entry| !is_count(entry)) {
                let path = if value.is_array() { format!("{path}[{index}]") } else { path.to_owned() };
                return Err(SpaceError::new(path, expected(), describe(&entries[index]), help));
            }
        }
        Domain::Integers { low, high, .. } => {
            for (key, bound) in [("low", *low), ("high", *high)] {
                if !(1..=max).contains(&bound) {
                    return Err(SpaceError::new(key_path(path, key), expected(), bound.to_string(), help));
                }
            }
        }
        Domain::Reals { .. } => {
            return Err(SpaceError::new(
                path,
                expected(),
                "a range of fractions",
                "use whole bounds and step",
            ));
        }
    }
    Ok(domain)
}

pub(super) fn parse_domain(path: &str, value: &Value) -> Result<Domain, SpaceError> {
    match value {
        Value::Array(entries) => parse_choices(path, entries),
        Value::Object(fields) if !fields.is_empty() => parse_range(path, fields),
        Value::Null | Value::Object(_) => {
            Err(SpaceError::new(path, "choices, a value or a range", describe(value), PARAMETER_HELP))
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            check_scalar(path, value)?;
            Ok(Domain::Choices(vec![value.clone()]))
        }
    }
}

/// Duplicates are dropped rather than refused: they say nothing wrong, only nothing new.
fn parse_choices(path: &str, entries: &[Value]) -> Result<Domain, SpaceError> {
    if entries.is_empty() {
        return Err(SpaceError::new(path, "at least one choice", "an empty list", PARAMETER_HELP));
    }
    if entries.len() > MAX_CHOICES {
        let expected = format!("at most {MAX_CHOICES} choices");
        let help = r#"use a range: {"low": 1, "high": 5000, "step": 1}"#;
        return Err(SpaceError::new(path, expected, entries.len().to_string(), help));
    }
    let mut choices: Vec<Value> = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        check_scalar(&format!("{path}[{index}]"), entry)?;
        if !choices.contains(entry) {
            choices.push(entry.clone());
        }
    }
    Ok(Domain::Choices(choices))
}

fn check_scalar(path: &str, value: &Value) -> Result<(), SpaceError> {
    match value {
        Value::Array(_) | Value::Object(_) => {
            let help = "a choice is a number, a text, true, false or null; it cannot nest";
            Err(SpaceError::new(path, "a single value", describe(value), help))
        }
        Value::String(text) if text.chars().count() > MAX_TEXT_CHARS => {
            let expected = format!("at most {MAX_TEXT_CHARS} characters");
            Err(SpaceError::new(
                path,
                expected,
                describe(value),
                "name the choice and let the trainer look it up",
            ))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}
