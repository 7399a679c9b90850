//! What was found, a row each.

use schemas::Record;
use schemas::evolution::{Candidate, Finding, Rule};
use schemas::json_schema;
use serde::Serialize;
use serde_json::Value;
use service_kit::output::Row;

/// A broken rule, with the record's own name instead of its files'.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    record: String,
    version: u32,
    against: Option<u32>,
    rule: Rule,
    field: String,
    reason: String,
}

impl Line {
    /// The row of a finding among what was checked.
    pub(super) fn of(finding: &Finding, checked: &[Candidate]) -> Self {
        let Finding { record, version, against, rule, field, reason } = finding.clone();
        Self { record: name_of(&record, version, checked), version, against, rule, field, reason }
    }
}

/// The name in the schema; if that cannot be read, the name we know the file by, else the file's.
fn name_of(file: &str, version: u32, checked: &[Candidate]) -> String {
    let texts = || checked.iter().filter(|candidate| candidate.record == file);
    let exact = texts().find(|candidate| candidate.version == version);
    let named = exact.into_iter().chain(texts()).find_map(|candidate| name_in(&candidate.text));
    let known = || Record::ALL.into_iter().find(|record| record.file_name() == file).map(Record::name);
    named.or_else(|| known().map(str::to_owned)).unwrap_or_else(|| file.to_owned())
}

fn name_in(text: &str) -> Option<String> {
    let schema: Value = serde_json::from_str(text).ok()?;
    Some(json_schema::short(schema.get("name")?.as_str()?).to_owned())
}

impl Row for Line {
    fn headings() -> &'static [&'static str] {
        &["record", "version", "against", "rule", "field", "reason"]
    }

    fn cells(&self) -> Vec<String> {
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        vec![
            self.record.clone(),
            self.version.to_string(),
            self.against.map_or_else(|| "-".to_owned(), |version| version.to_string()),
            self.rule.to_string(),
            or_dash(&self.field),
            self.reason.clone(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_bears_the_name_in_the_schema_and_else_what_is_known_of_the_file() {
        let candidate = |record: &str, text: &str| Candidate {
            record: record.to_owned(),
            version: 1,
            text: text.to_owned(),
        };
        let checked = [candidate("thing_made", r#"{"name": "a.b.ThingMade"}"#), candidate("run_failed", "{")];
        assert_eq!(name_of("thing_made", 7, &checked), "ThingMade");
        assert_eq!(name_of("run_failed", 1, &checked), "RunFailed");
        assert_eq!(name_of("other", 1, &checked), "other");
    }
}
