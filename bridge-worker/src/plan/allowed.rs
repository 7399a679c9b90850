//! What code a request may name, by the operator's word.
//!
//! Pure.

use schemas::{Failure, FailureClass, Stage};

use super::invalid;
use crate::script::{RUN_NAS, START_RUN, names_script, operation};

/// What the operator of this worker allows.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// Patterns of `module:function` that requests may name; `*` stands for any text.
    pub entrypoints: Vec<String>,
    /// The operator has named a script: it may be called by its two operations, because that is what it is there for.
    pub has_script: bool,
}

impl Allowed {
    /// True when a request may name this function.
    pub fn permits(&self, entry: &str) -> bool {
        self.entrypoints.iter().any(|pattern| matches(pattern, entry))
    }

    /// True when a request may have this search for it.
    fn permits_search(&self, entry: &str) -> bool {
        let is_scripts = self.has_script && names_script(entry);
        (is_scripts && matches!(operation(entry), RUN_NAS | START_RUN)) || self.permits(entry)
    }
}

/// The entry point of a search, if a request may have it.
pub(super) fn check_search(entry: &str, allowed: &Allowed) -> Result<String, Failure> {
    if !allowed.permits_search(entry) {
        return Err(refused(format!(
            "at `entrypoint`: this worker does not allow \"{entry}\"; its operator can with --allow-entrypoint"
        )));
    }
    if !is_entry(entry) {
        return Err(invalid(format!("at `entrypoint`: expected `module:function`, found \"{entry}\"")));
    }
    Ok(entry.to_owned())
}

/// The form of `module:function`, which is what is imported and called.
fn is_entry(entry: &str) -> bool {
    let is_name = |name: &str| {
        let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        starts_well && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    entry
        .split_once(':')
        .is_some_and(|(module, function)| module.split('.').all(is_name) && is_name(function))
}

/// Holds a trainer against those there are and those that may be named.
pub(super) fn check_trainer(trainer: &str, allowed: &Allowed) -> Result<(), Failure> {
    if search::TRAINERS.contains(&trainer) || allowed.permits(trainer) {
        return Ok(());
    }
    if trainer.contains(':') {
        return Err(refused(format!(
            "at `trainer`: this worker does not allow \"{trainer}\"; its operator can with --allow-entrypoint"
        )));
    }
    Err(invalid(format!(
        "at `trainer`: unknown trainer \"{trainer}\"; there are {}, or `module:function` where the operator allows it",
        search::TRAINERS.join(", ")
    )))
}

fn refused(message: impl Into<String>) -> Failure {
    Failure::new(FailureClass::EntrypointRefused, Stage::Validate, message)
}

/// Matches a pattern in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text_and_nothing_else_is_special() {
        assert!(matches("a:b", "a:b") && !matches("a:b", "a:bc") && !matches("a:b", "xa:b"));
        assert!(matches("a.*:t", "a.b.c:t") && !matches("a.*:t", "a:t") && matches("*", "anything"));
        assert!(!matches("a*bc*d", "abd") && matches("a*b*d", "axbyd"));
    }
}
