//! `--set path=value`: one value into a spec.

use std::str::FromStr;

use serde_json::{Map, Value};

use super::finding::{Finding, kind_of};

/// Deepest path; a spec has three levels, and a deeper value could exhaust the stack of whoever reads it.
const MAX_DEPTH: usize = 16;

/// One `path=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Never empty.
    keys: Vec<String>,
    value: String,
}

/// Why an argument is no assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAnAssignment(&'static str);

impl std::fmt::Display for NotAnAssignment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, such as budget.max_trials=24", self.0)
    }
}

impl std::error::Error for NotAnAssignment {}

impl FromStr for Assignment {
    type Err = NotAnAssignment;

    fn from_str(text: &str) -> Result<Self, NotAnAssignment> {
        let (path, value) = text.split_once('=').ok_or(NotAnAssignment("expected path=value"))?;
        let keys: Vec<String> = path.split('.').map(|key| key.trim().to_owned()).collect();
        if keys.iter().any(String::is_empty) {
            return Err(NotAnAssignment("expected a path of names joined by dots"));
        }
        if keys.len() > MAX_DEPTH {
            return Err(NotAnAssignment("expected a path of at most 16 names"));
        }
        Ok(Self { keys, value: value.to_owned() })
    }
}

impl Assignment {
    /// Puts the value into a spec, making the objects on its way.
    pub(super) fn apply(&self, spec: &mut Map<String, Value>) -> Result<(), Finding> {
        let value = self.value()?;
        let (last, way) = self.keys.split_last().expect("a split has at least one part");
        let mut place = spec;
        for (depth, key) in way.iter().enumerate() {
            let next = place.entry(key.clone()).or_insert_with(|| Value::Object(Map::new()));
            let kind = kind_of(next);
            let Value::Object(fields) = next else {
                let reason =
                    format!("{} is {kind}, which has no fields to set", self.keys[..=depth].join("."));
                return Err(Finding::new("wrong-type", self.path(), reason).help("set the whole value"));
            };
            place = fields;
        }
        place.insert(last.clone(), value);
        Ok(())
    }

    /// JSON where it is JSON, else a text; what begins like JSON has to be JSON.
    fn value(&self) -> Result<Value, Finding> {
        match serde_json::from_str(&self.value) {
            Ok(value) => Ok(value),
            Err(error) if self.value.trim_start().starts_with(['{', '[', '"']) => {
                let help = format!("quote it for your shell: --set '{}={}'", self.path(), r#"[64, 128]"#);
                Err(Finding::new("not-json", self.path(), format!("not JSON: {error}")).help(help))
            }
            Err(_) => Ok(Value::String(self.value.clone())),
        }
    }

    fn path(&self) -> String {
        self.keys.join(".")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn applied(texts: &[&str]) -> Value {
        let mut spec = Map::new();
        for text in texts {
            text.parse::<Assignment>().unwrap().apply(&mut spec).unwrap();
        }
        Value::Object(spec)
    }

    #[test]
    fn values_are_json_and_bare_words_are_texts() {
        let spec = applied(&[
            "dataset_id=digits",
            "budget.max_trials=24",
            "tags.a=x=y",
            "search_space.layers=[1, 2]",
        ]);
        let expected = json!({"dataset_id": "digits", "budget": {"max_trials": 24}, "tags": {"a": "x=y"},
            "search_space": {"layers": [1, 2]}});
        assert_eq!(spec, expected);
        assert_eq!(applied(&["a=1", "a=\"1\"", "b="]), json!({"a": "1", "b": ""}));
    }

    #[test]
    fn what_has_no_fields_and_what_is_broken_json_is_a_finding() {
        let mut spec = Map::new();
        spec.insert("budget".to_owned(), json!(3));
        let finding = "budget.max_trials=1".parse::<Assignment>().unwrap().apply(&mut spec).unwrap_err();
        assert_eq!((finding.code, finding.path.as_str()), ("wrong-type", "budget.max_trials"));
        let finding = "search_space={layers".parse::<Assignment>().unwrap().apply(&mut spec).unwrap_err();
        assert_eq!((finding.code, finding.path.as_str()), ("not-json", "search_space"));
    }

    proptest! {
        #[test]
        fn no_assignment_panics_or_nests_without_bound(text in ".{0,200}", depth in 0_usize..2000) {
            for text in [text, format!("{}=1", vec!["a"; depth].join(".")), format!("a={}", "[".repeat(depth))] {
                if let Ok(assignment) = text.parse::<Assignment>() {
                    let _ = super::super::read(Some(r#"{"dataset_id": "digits", "budget": {}}"#), &[assignment]);
                }
            }
        }
    }
}
