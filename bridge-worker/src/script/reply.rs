//! What a script has printed, read as the messages a child would have sent.
//!
//! Pure. The answer is the last JSON object on standard output; what is printed around it is chatter. A child reports
//! while it works, a script tells everything at its end: reports, files and trials are in its answer.

mod answer;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemas::Real;
use schemas::event::TrialStatus;
use serde_json::{Map, Value, json};

use super::own::{self, Taken};
use crate::child::protocol::{CallResult, FromChild};

use answer::{last_object, no_answer};

/// A script answers one call.
pub(super) const CALL: u64 = 1;
/// What a function returned, in the answer of our own script: its keys are its own.
const OURS: &str = "cerebros_call";

/// Reads the answer to a search, or to the training of a trial. `is_cut` says that the beginning of the output is lost.
///
/// # Errors
/// Why there is none, for a person.
pub(super) fn read(text: &str, is_cut: bool, is_search: bool) -> Result<Vec<FromChild>, String> {
    let answer = last_object(text, is_cut).ok_or_else(|| no_answer(text, is_cut))?;
    if is_search { search(answer) } else { training(answer) }
}

/// A search says its result; what it tells of its trials comes before it, as if it had been told on the way.
fn search(mut answer: Map<String, Value>) -> Result<Vec<FromChild>, String> {
    if let Some(Value::Object(result)) = answer.remove(OURS) {
        return our_search(answer, result);
    }
    let mut taken = Taken::default();
    taken.list(&mut answer, "reports", own::report);
    taken.list(&mut answer, "trials", own::trial);
    let failure = own::failure(&answer);
    let status = if failure.is_some() { "failed" } else { "succeeded" };
    let result = json!({"type": "result", "id": CALL, "status": status, "value": answer, "failure": failure,
        "warnings": taken.warnings});
    taken.messages.push(message(result)?);
    Ok(taken.messages)
}

/// Our own script keeps what was told apart from what the function returned.
fn our_search(
    mut answer: Map<String, Value>,
    mut result: Map<String, Value>,
) -> Result<Vec<FromChild>, String> {
    let mut messages = told(&mut answer, "reports", "report")?;
    if let Some(Value::Array(trials)) = answer.remove("trials") {
        for trial in trials {
            let trial = trial.as_object().ok_or("a trial of the result is no object")?.clone();
            messages.push(FromChild::Trial { id: CALL, trial, bytes: None });
        }
    }
    result.insert("type".to_owned(), "result".into());
    result.insert("id".to_owned(), CALL.into());
    messages.push(message(Value::Object(result))?);
    Ok(messages)
}

/// The entries of a list as messages of a kind.
fn told(answer: &mut Map<String, Value>, list: &str, kind: &str) -> Result<Vec<FromChild>, String> {
    let Some(Value::Array(entries)) = answer.remove(list) else { return Ok(Vec::new()) };
    let as_message = |entry| {
        let Value::Object(mut entry) = entry else {
            return Err(format!("an entry of `{list}` is no object"));
        };
        entry.insert("type".to_owned(), kind.into());
        entry.insert("id".to_owned(), CALL.into());
        message(Value::Object(entry))
    };
    entries.into_iter().map(as_message).collect()
}

/// A trial's result: metrics alone, or the fields of its event.
fn training(mut answer: Map<String, Value>) -> Result<Vec<FromChild>, String> {
    if !answer.contains_key("status") && !answer.contains_key("metrics") {
        let metrics: BTreeMap<String, Real> = serde_json::from_value(Value::Object(answer))
            .map_err(|error| format!("the script's result is neither metrics nor has it any: {error}"))?;
        return Ok(vec![FromChild::Result(Box::new(measured(metrics)))]);
    }
    let mut taken = Taken::default();
    taken.list(&mut answer, "reports", own::report);
    taken.list(&mut answer, "artifacts", own::artifact);
    let status = answer.get("status").and_then(Value::as_str).unwrap_or("succeeded");
    let status =
        status_of(status).ok_or_else(|| format!("the status of the result, {status:?}, is none there is"))?;
    let failure = (status == TrialStatus::Failed).then(|| {
        own::failure(&answer).unwrap_or_else(|| {
            let words =
                words_of_failure(&answer).unwrap_or("the script says that the trial failed, and not why");
            json!({"class": "user_code", "message": words})
        })
    });
    let mut result = own::optional(&mut answer);
    let metrics = answer.remove("metrics").unwrap_or_else(|| json!({}));
    for (name, value) in [
        ("type", "result".into()),
        ("id", CALL.into()),
        ("status", serde_json::to_value(status).expect("a status is a word")),
        ("metrics", metrics),
        ("failure", failure.unwrap_or_default()),
    ] {
        result.insert(name.to_owned(), value);
    }
    let FromChild::Result(mut result) = message(Value::Object(result))? else {
        return Err("the script's result cannot be read".to_owned());
    };
    result.warnings.extend(taken.warnings);
    taken.messages.push(FromChild::Result(result));
    Ok(taken.messages)
}

/// What a result that says it failed gives as the reason.
pub(crate) fn words_of_failure(result: &Map<String, Value>) -> Option<&str> {
    ["error", "message", "reason"].into_iter().find_map(|name| result.get(name)?.as_str())
}

/// A status in any of the spellings scripts use.
pub(crate) fn status_of(word: &str) -> Option<TrialStatus> {
    match word.to_ascii_lowercase().as_str() {
        "succeeded" | "success" | "completed" | "ok" => Some(TrialStatus::Succeeded),
        "failed" | "failure" | "error" => Some(TrialStatus::Failed),
        "cancelled" | "canceled" => Some(TrialStatus::Cancelled),
        "skipped" => Some(TrialStatus::Skipped),
        "pruned" => Some(TrialStatus::Pruned),
        _ => None,
    }
}

pub(super) fn message(value: Value) -> Result<FromChild, String> {
    serde_json::from_value(value).map_err(|error| format!("the script's result cannot be read: {error}"))
}

fn measured(metrics: BTreeMap<String, Real>) -> CallResult {
    CallResult { metrics, ..CallResult::new(CALL, TrialStatus::Succeeded) }
}
