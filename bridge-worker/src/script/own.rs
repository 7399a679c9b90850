//! What of a script's result is meant for us: a key is taken only in the form that is documented for it.
//!
//! Pure. The result is the script's own, and so may be its keys: a count under `trials`, or a link under `reports`, is
//! part of it and nothing else. A list of another form may have been meant for us; it stays, and a warning says so.

use schemas::event::TrialStatus;
use serde_json::{Map, Value};

use super::reply::{CALL, message};
use super::status_of;
use crate::child::protocol::{ChildFailure, FromChild};
use crate::opaque::check_trial;

/// Fields of a trial's result that may be left out. Those that are none of ours are the script's.
const OPTIONAL: [&str; 8] = [
    "spectral_norm",
    "spectral_norm_value",
    "warnings",
    "parameters",
    "duration_ms",
    "max_rss_bytes",
    "source",
    "other_datasets",
];

/// What was taken out of a result, and why some was not.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) messages: Vec<FromChild>,
    pub(super) warnings: Vec<String>,
}

impl Taken {
    /// Takes a list, if every entry of it is one of a kind.
    pub(super) fn list(
        &mut self,
        answer: &mut Map<String, Value>,
        list: &str,
        read: impl Fn(&Map<String, Value>) -> Result<FromChild, String>,
    ) {
        let Some(Value::Array(entries)) = answer.get(list) else { return };
        let read_entry = |entry: &Value| match entry {
            Value::Object(entry) => read(entry),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err("it is no object".to_owned())
            }
        };
        let entries = entries.iter().enumerate();
        let read: Result<Vec<_>, _> = entries
            .map(|(index, entry)| read_entry(entry).map_err(|reason| format!("entry {index}: {reason}")))
            .collect();
        match read {
            Ok(messages) => {
                answer.remove(list);
                self.messages.extend(messages);
            }
            Err(reason) => {
                let reason = schemas::failure::bounded_head(&reason, 200);
                self.warnings.push(format!(
                    "`{list}` of the script's result is not a list as documented, and is left to it: {reason}"
                ));
            }
        }
    }
}

/// Values on the way of a trial.
pub(super) fn report(entry: &Map<String, Value>) -> Result<FromChild, String> {
    of_kind("report", entry)
}

/// A file of a trial.
pub(super) fn artifact(entry: &Map<String, Value>) -> Result<FromChild, String> {
    of_kind("artifact", entry)
}

fn of_kind(kind: &str, entry: &Map<String, Value>) -> Result<FromChild, String> {
    let mut entry = entry.clone();
    entry.insert("type".to_owned(), kind.into());
    entry.insert("id".to_owned(), CALL.into());
    message(Value::Object(entry))
}

/// A trial of a search, which has metrics or says how it ended.
pub(super) fn trial(entry: &Map<String, Value>) -> Result<FromChild, String> {
    if !entry.get("metrics").is_some_and(Value::is_object) && !entry.contains_key("status") {
        return Err("it has neither metrics nor a status".to_owned());
    }
    check_trial(entry).map(|()| FromChild::Trial { id: CALL, trial: entry.clone(), bytes: None })
}

/// The failure in a result that says it failed, in the words of a child.
pub(super) fn failure(answer: &Map<String, Value>) -> Option<Value> {
    let status = answer.get("status").and_then(Value::as_str).and_then(status_of);
    let told = answer.get("failure").filter(|_| status == Some(TrialStatus::Failed))?;
    serde_json::from_value::<ChildFailure>(told.clone()).is_ok().then(|| told.clone())
}

/// The other fields of a trial's result.
pub(super) fn optional(answer: &mut Map<String, Value>) -> Map<String, Value> {
    let mut fields = Map::new();
    for name in OPTIONAL {
        let Some(value) = answer.remove(name) else { continue };
        let probe = serde_json::json!({"type": "result", "id": CALL, "status": "succeeded", name: value});
        if message(probe).is_ok() {
            fields.insert(name.to_owned(), value);
        }
    }
    fields
}
