//! A section per record: who, when, versions, fields, examples.

use schemas::Record;
use schemas::record::Version;
use schemas::shape::{FieldShape, RecordShape};
use service_kit::error::CliError;

use super::{code, fields, headers, row, table};
use crate::schemas::{corpus, facts};

pub(super) fn section(record: Record) -> Result<String, CliError> {
    let (_, headers) = headers::example(record)?;
    let shape = shape_of(record.latest());
    let mut text = format!("### {}\n\n", record.name());
    text += &format!("{} {}\n\n", shape.doc.as_deref().unwrap_or_default(), facts::occasion(record));
    let consumers: Vec<String> = facts::consumers_of(record.subject())
        .iter()
        .filter_map(|consumer| consumer.durable_name.as_deref())
        .map(code)
        .collect();
    text += &format!("- Subject: `{}`\n", record.subject());
    text += &format!("- Published by: {}\n", facts::published_by(record));
    text += &format!("- Taken by: {}\n", consumers.join(", "));
    text += &format!("- Type: `{}`\n", record.ce_type());
    text += &format!("- Message id, for example: `{}`\n", headers.get("Nats-Msg-Id").unwrap_or_default());
    text += "- Versions:\n";
    let mut older: Option<&Version> = None;
    for version in record.versions() {
        text += &format!("  - {}, fingerprint `{}`: ", version.number, version.fingerprint);
        text += &older.map_or_else(|| "the first".to_owned(), |older| changes(older, version));
        text.push('\n');
        older = Some(version);
    }
    text += &format!("\n{}", table(["field", "type", "default", "what it is"]));
    for field in fields::of(shape) {
        let default = if is_word(&field.default) { field.default.clone() } else { code(&field.default) };
        text += &row([&code(&field.path), &field.kind, &default, &field.doc]);
    }
    text += &format!("\nThe smallest:\n\n```json\n{}\n```\n", corpus::minimal(record).trim());
    text += &format!("\nComplete:\n\n```json\n{}\n```\n", corpus::full(record).trim());
    Ok(text)
}

/// `required` and `as below` are words of ours, everything else is JSON.
fn is_word(default: &str) -> bool {
    matches!(default, "required" | "as below")
}

fn shape_of(version: &Version) -> &RecordShape {
    version.shape.as_record().expect("every version is a record")
}

/// What a version has that the one before had not, and the other way round.
fn changes(older: &Version, newer: &Version) -> String {
    let (old, new) = (shape_of(older), shape_of(newer));
    let added = new.fields.iter().filter(|field| !has(old, field)).map(|field| {
        let default =
            field.default.as_ref().map_or_else(String::new, |value| format!(" (default `{value}`)"));
        format!("adds `{}`{default}", field.name)
    });
    let removed = old.fields.iter().filter(|field| !has(new, field));
    let removed = removed.map(|field| format!("no longer writes `{}`", field.name));
    let changed = new.fields.iter().filter(|field| {
        old.fields.iter().any(|other| other.name == field.name && other.shape != field.shape)
    });
    let changed = changed.map(|field| format!("changes inside `{}`", field.name));
    let all: Vec<String> = added.chain(removed).chain(changed).collect();
    if all.is_empty() { "documents it better".to_owned() } else { all.join("; ") }
}

fn has(record: &RecordShape, field: &FieldShape) -> bool {
    record.fields.iter().any(|other| other.name == field.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_version_changed_is_said() {
        let [first, second] = Record::TrialReported.versions() else { panic!("two versions") };
        assert_eq!(changes(first, second), "adds `artifact_refs` (default `[]`)");
        assert_eq!(changes(second, first), "no longer writes `artifact_refs`");
    }
}
