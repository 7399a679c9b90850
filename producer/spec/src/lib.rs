//! From what a person wrote to a request that can run, or to everything that is wrong with it.
//!
//! Pure: text and assignments in, a [`Spec`] or [`Finding`]s out.
//!
//! Invariants:
//! - nothing that a worker is known to reject leaves here; what only a worker can know (its files, its allow-list)
//!   passes, with a note;
//! - every fault that can be seen is reported at once, each with the path it is at;
//! - the contract itself (types, ranges, limits) is not repeated here: each field is decoded by `schemas`, alone,
//!   so that one fault does not hide the next.
//!
//! Only [`source_text`] reads anything. Deliberately not here: choosing a run id, publishing, running.

mod assignment;
mod finding;
mod known;
mod meaning;
mod source;

use schemas::cloudevents::Headers;
use schemas::codec::{self, DecodeError, MAX_EVENT_BYTES};
use schemas::event::RunRequested;
use schemas::{Encoding, Event, Record};
use serde_json::{Map, Value, json};

pub use assignment::{Assignment, NotAnAssignment};
pub use finding::{Finding, refusal};
pub use source::text_of as source_text;

/// Stands in for the data set while another field is decoded alone.
const ANY_DATASET: &str = "digits";

/// A request that can run.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// The request, every default filled in; the run id only if the spec has one.
    pub request: RunRequested,
    /// What was ignored, for the person who wrote it.
    pub warnings: Vec<String>,
    /// What depends on the worker.
    pub notes: Vec<String>,
}

/// Reads a spec: JSON text (none counts as `{}`), then the assignments over it, in order.
///
/// # Errors
/// Everything that is wrong with it; never an empty list.
pub fn read(text: Option<&str>, assignments: &[Assignment]) -> Result<Spec, Vec<Finding>> {
    let mut fields = text.map_or(Ok(Map::new()), parse).map_err(|finding| vec![finding])?;
    let mut findings = Vec::new();
    for assignment in assignments {
        findings.extend(assignment.apply(&mut fields).err());
    }
    if findings.is_empty() { check(&fields) } else { Err(findings) }
}

fn parse(text: &str) -> Result<Map<String, Value>, Finding> {
    if text.len() > MAX_EVENT_BYTES {
        return Err(too_large(text.len()));
    }
    if text.trim().is_empty() {
        let help = r#"the smallest spec is {"dataset_id": "digits"}"#;
        return Err(Finding::new("not-json", "", "the spec is empty").help(help));
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(other) => {
            let reason = format!("expected a JSON object, found {}", finding::kind_of(&other));
            Err(Finding::new("wrong-type", "", reason))
        }
        Err(error) => Err(Finding::new("not-json", "", format!("not JSON: {error}"))),
    }
}

fn check(fields: &Map<String, Value>) -> Result<Spec, Vec<Finding>> {
    let (mut sound, mut findings) = check_fields(fields);
    let is_partial = !findings.is_empty();
    sound.entry("dataset_id").or_insert_with(|| json!(ANY_DATASET));
    let (request, unknown) = match decode(&Value::Object(sound)) {
        Ok(decoded) => decoded,
        // Each field is sound alone: what is left is the size of them all.
        Err(error) => {
            findings.push(Finding::of_decoding(&error, ""));
            return Err(findings);
        }
    };
    findings.extend(meaning::check(&request, is_partial));
    if let Err(error) = codec::encode(&Event::from(request.clone()), Encoding::Json) {
        findings.push(Finding::new("too-large", "", error.to_string()));
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    let warnings = unknown.iter().map(|path| known::warning(path)).collect();
    let notes = meaning::notes(&request);
    Ok(Spec { request, warnings, notes })
}

/// Decodes every field alone. Returns those that are sound and what is wrong with the others.
fn check_fields(fields: &Map<String, Value>) -> (Map<String, Value>, Vec<Finding>) {
    let mut sound = Map::new();
    let mut findings = Vec::new();
    if !fields.contains_key("dataset_id") {
        let help =
            format!("name one of {}, or a .csv, .npz or .parquet file", schemas::dataset::BUNDLED.join(", "));
        findings.push(Finding::new("missing-field", "dataset_id", "required and missing").help(help));
    }
    for (key, value) in fields {
        let faults: Vec<Finding> = match value.as_object() {
            Some(limits) if key == "budget" => {
                limits.iter().filter_map(|(limit, value)| fault_of(key, &json!({ limit: value }))).collect()
            }
            Some(_) | None => fault_of(key, value).into_iter().collect(),
        };
        if faults.is_empty() {
            sound.insert(key.clone(), value.clone());
        }
        findings.extend(faults);
    }
    (sound, findings)
}

fn fault_of(key: &str, value: &Value) -> Option<Finding> {
    let mut alone = Map::new();
    alone.insert("dataset_id".to_owned(), json!(ANY_DATASET));
    alone.insert(key.to_owned(), value.clone());
    decode(&Value::Object(alone)).err().map(|error| Finding::of_decoding(&error, key))
}

/// Reads a request exactly as every consumer of the contract does.
fn decode(spec: &Value) -> Result<(RunRequested, Vec<String>), DecodeError> {
    let payload = spec.to_string();
    let decoded = codec::decode(Record::RunRequested.subject(), &Headers::default(), payload.as_bytes())?;
    match decoded.event {
        Event::RunRequested(request) => Ok((request, decoded.unknown_fields)),
        Event::RunCancelRequested(_)
        | Event::RunStarted(_)
        | Event::RunCompleted(_)
        | Event::RunFailed(_)
        | Event::RunCancelled(_)
        | Event::RunInterrupted(_)
        | Event::MlRunStarted(_)
        | Event::MlRunFinalized(_)
        | Event::TrialReported(_)
        | Event::MetricReported(_)
        | Event::RunException(_) => unreachable!("the subject of requests carries requests"),
    }
}

fn too_large(bytes: usize) -> Finding {
    let reason = format!("{bytes} bytes or more, over the limit of {MAX_EVENT_BYTES}");
    Finding::new("too-large", "", reason).help("put large values into a file the trainer reads")
}

#[cfg(test)]
mod tests;
