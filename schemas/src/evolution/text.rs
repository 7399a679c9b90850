//! What was published stays: the files of an earlier state of the project held against those of today.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Candidate, Finding, Rule};

/// What an earlier state had published: schemas, and recorded bytes by their path.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// Its schemas.
    pub schemas: Vec<Candidate>,
    /// Its recorded bytes: path below the corpus, content.
    pub golden: BTreeMap<String, Vec<u8>>,
}

/// What was published then and is gone or altered now. A schema may change its documentation, nothing else.
pub fn alterations(then: &Published, now: &Published) -> Vec<Finding> {
    let mut findings = Vec::new();
    for old in &then.schemas {
        let same = |new: &&Candidate| new.record == old.record && new.version == old.version;
        let (rule, reason) = match now.schemas.iter().find(same) {
            None => (Rule::VersionRemoved, "it was published; whoever kept its events still needs it"),
            Some(new) if meaning(&new.text) != meaning(&old.text) => (
                Rule::VersionAltered,
                "it was published and now says something else; make the change a new version",
            ),
            Some(_) => continue,
        };
        findings.push(finding(&old.record, old.version, rule, "", reason));
    }
    for (path, old) in &then.golden {
        let (rule, reason) = match now.golden.get(path) {
            None => {
                (Rule::GoldenRemoved, "recorded bytes of a published version stay for every later reader")
            }
            Some(new) if Sha256::digest(new) != Sha256::digest(old) => {
                (Rule::GoldenAltered, "recorded bytes of a published version stay as they were written")
            }
            Some(_) => continue,
        };
        let (record, version) = golden_place(path);
        findings.push(finding(record, version, rule, path, reason));
    }
    findings
}

fn finding(record: &str, version: u32, rule: Rule, field: &str, reason: &str) -> Finding {
    Finding {
        record: record.to_owned(),
        version,
        against: Some(version),
        rule,
        field: field.to_owned(),
        reason: reason.to_owned(),
    }
}

/// `trial_reported.v1/full.json` belongs to version 1 of `trial_reported`.
fn golden_place(path: &str) -> (&str, u32) {
    let folder = path.split('/').next().unwrap_or(path);
    let (record, version) = folder.rsplit_once(".v").unwrap_or((folder, "0"));
    (record, version.parse().unwrap_or(0))
}

/// A schema without its documentation.
fn meaning(text: &str) -> Option<Value> {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.remove("doc");
                // A default is a value, whatever its members are called.
                map.iter_mut().filter(|(word, _)| *word != "default").for_each(|(_, value)| strip(value));
            }
            Value::Array(list) => list.iter_mut().for_each(strip),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut value = serde_json::from_str(text).ok()?;
    strip(&mut value);
    Some(value)
}
