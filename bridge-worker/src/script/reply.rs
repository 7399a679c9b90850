//! What a script has printed, read as the messages a child would have sent.
//!
//! Pure. The answer is the last JSON object on standard output; what is printed around it is chatter. A child reports
//! while it works, a script tells everything at its end: reports, files and trials are in its answer.

use std::collections::BTreeMap;

use schemas::Real;
use schemas::event::TrialStatus;
use serde_json::{Map, Value, json};

use super::own::{self, Taken};
use crate::child::protocol::{CallResult, FromChild};

/// A script answers one call.
pub(super) const CALL: u64 = 1;
/// What a function returned, in the answer of our own script: its keys are its own.
const OURS: &str = "cerebros_call";
/// Text quoted in a complaint.
const QUOTED_BYTES: usize = 120;

/// Reads the answer to a search, or to the training of a trial. `is_cut` says that the beginning of the output is lost.
///
/// # Errors
/// Why there is none, for a person.
pub(super) fn read(text: &str, is_cut: bool, is_search: bool) -> Result<Vec<FromChild>, String> {
    let answer = last_object(text, is_cut).ok_or_else(|| no_answer(text, is_cut))?;
    if is_search { search(answer) } else { training(answer) }
}

fn no_answer(text: &str, is_cut: bool) -> String {
    let what = if text.trim().is_empty() {
        "the script printed nothing on standard output".to_owned()
    } else {
        let end = schemas::failure::bounded_tail(text.trim_end(), QUOTED_BYTES);
        format!("no JSON object is on the script's standard output, which ends with {end:?}")
    };
    let why = if is_cut { " (its beginning is not kept: too much was printed)" } else { "" };
    format!("{what}{why}; it has to print its result there as its last JSON object")
}

/// The last object that is not part of another.
fn last_object(text: &str, is_cut: bool) -> Option<Map<String, Value>> {
    let mut found = None;
    let mut at = 0;
    while let Some(offset) = text[at..].find('{') {
        let begin = at + offset;
        at = begin + 1;
        // Of a document whose beginning is lost, parts remain that would pass for documents; none begins a line.
        if is_cut && (begin == 0 || text.as_bytes()[begin - 1] != b'\n') {
            continue;
        }
        let mut stream = serde_json::Deserializer::from_str(&text[begin..]).into_iter::<Map<String, Value>>();
        if let Some(Ok(object)) = stream.next() {
            at = begin + stream.byte_offset();
            found = Some(object);
        }
    }
    found
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

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str, is_cut: bool) -> Option<Value> {
        last_object(text, is_cut).map(Value::Object)
    }

    fn result(text: &str) -> CallResult {
        let Some(FromChild::Result(result)) = read(text, false, false).unwrap().pop() else {
            panic!("{text}")
        };
        *result
    }

    #[test]
    fn the_last_object_counts_whatever_is_printed_around_it() {
        for (text, a) in [
            (r#"{"a": 1}"#, 1),
            ("epoch 1 {loss: 3}\n{\"a\": 1}\n{\"a\": 2}\nbye {}x".strip_suffix(" {}x").unwrap(), 2),
            ("{\n  \"b\": [\n    {\n      \"a\": 7\n    }\n  ],\n  \"a\": 3\n}\ndone\n", 3),
            ("100 %|####| {\"a\": 4}", 4),
            ("{\"a\": \"{\\\"a\\\": 9}\", \"a\": 5}", 5),
        ] {
            assert_eq!(object(text, false).unwrap()["a"], a, "{text}");
        }
        for text in ["", "{", "[1, 2]", "fine", "{'a': 1}"] {
            assert_eq!(object(text, false), None, "{text}");
        }
    }

    #[test]
    fn part_of_a_document_whose_beginning_is_lost_is_none() {
        assert_eq!(object("1}, {\"a\": 1}]}\n", true), None);
        assert_eq!(object("    {\n      \"a\": 1\n    }\n  ]\n}\n", true), None);
        assert_eq!(object("chatter\n{\"a\": 1}\n", true).unwrap()["a"], 1);
    }

    #[test]
    fn output_without_an_answer_is_quoted() {
        assert!(read("", false, true).unwrap_err().contains("printed nothing"));
        let complaint = read("Traceback\nKilled", true, true).unwrap_err();
        assert!(complaint.contains("Killed") && complaint.contains("too much"), "{complaint}");
    }

    #[test]
    fn a_trial_is_answered_with_metrics_alone_or_with_the_fields_of_its_event() {
        assert_eq!(result(r#"{"accuracy": 0.5}"#).metrics["accuracy"], Real(0.5));
        let told = result(r#"{"status": "success", "metrics": {"accuracy": "NaN"}, "warnings": ["w"]}"#);
        assert_eq!((told.status, told.warnings.len()), (TrialStatus::Succeeded, 1));
        assert!(read(r#"{"accuracy": "good"}"#, false, false).is_err());
        assert!(read(r#"{"status": "fine"}"#, false, false).unwrap_err().contains("fine"));
    }

    #[test]
    fn a_failed_trial_speaks_in_its_own_words() {
        let failed = |text| result(text).failure.unwrap().message;
        assert_eq!(failed(r#"{"status": "failed", "error": "no GPU"}"#), "no GPU");
        assert_eq!(failed(r#"{"status": "error", "failure": {"class": "oom", "message": "full"}}"#), "full");
        assert!(failed(r#"{"status": "failed"}"#).contains("not why"));
    }

    #[test]
    fn what_a_script_tells_at_its_end_comes_in_the_order_of_a_child() {
        let text = r#"{"status": "succeeded", "metrics": {"accuracy": 1.0},
            "reports": [{"metrics": {"loss": 0.5}, "step": 0}],
            "artifacts": [{"name": "m", "path": "/m", "bytes": 1, "sha256": "00", "media_type": "text/plain"}]}"#;
        let messages = read(text, false, false).unwrap();
        assert!(matches!(
            messages[..],
            [FromChild::Report { id: CALL, .. }, FromChild::Artifact { .. }, FromChild::Result(_)]
        ));
        let text = r#"{"status": "success", "trials": [{"metrics": {"a": 1}}, {"status": "failed"}]}"#;
        let messages = read(text, false, true).unwrap();
        assert!(matches!(
            messages[..],
            [FromChild::Trial { .. }, FromChild::Trial { .. }, FromChild::Result(_)]
        ));
    }

    fn searched(text: &str) -> (usize, CallResult) {
        let mut messages = read(text, false, true).unwrap();
        let Some(FromChild::Result(result)) = messages.pop() else { panic!("{text}") };
        (messages.len(), *result)
    }

    #[test]
    fn a_key_that_has_not_the_documented_form_is_part_of_the_result() {
        for (text, is_warned) in [
            (
                r#"{"status": "success", "trials": 3, "reports": {"url": "x"}, "failure": {"rate": 0.1}}"#,
                false,
            ),
            (r#"{"status": "success", "trials": [{"n": 1}]}"#, true),
            (r#"{"status": "success", "trials": ["a", "b"]}"#, true),
            (r#"{"status": "success", "trials": [{"status": "done"}]}"#, true),
            (r#"{"status": "success", "trials": [{"metrics": {"a": 1}, "duration_ms": "long"}]}"#, true),
            (r#"{"status": "success", "reports": [{"metrics": {"a": "good"}, "step": 1}]}"#, true),
            (r#"{"status": "success", "failure": {"class": "oom", "message": "none"}}"#, false),
        ] {
            let (told, result) = searched(text);
            assert_eq!((told, result.status), (0, TrialStatus::Succeeded), "{text}");
            assert_eq!(result.value.unwrap().0, serde_json::from_str::<Value>(text).unwrap(), "{text}");
            assert_eq!(!result.warnings.is_empty(), is_warned, "{text}: {:?}", result.warnings);
        }
        let (_, result) = searched(r#"{"status": "failed", "failure": {"class": "oom", "message": "full"}}"#);
        assert_eq!((result.status, result.failure.unwrap().message.as_str()), (TrialStatus::Failed, "full"));
    }

    #[test]
    fn what_a_function_returns_through_our_script_is_not_looked_into() {
        let text = r#"{"cerebros_call": {"status": "succeeded", "value": {"status": "success", "trials": 3}},
            "trials": [{"metrics": {"a": 1.0}}]}"#;
        let (told, result) = searched(text);
        assert_eq!((told, &result.value.unwrap().0["trials"]), (1, &json!(3)));
    }

    #[test]
    fn a_trial_s_own_keys_do_not_fail_it() {
        let told = result(
            r#"{"metrics": {"a": 1.0}, "reports": 3, "artifacts": ["m"], "failure": {"rate": 1}, "warnings": "w",
            "duration_ms": 1.5, "parameters": {"x": 2}}"#,
        );
        assert_eq!(
            (told.status, told.duration_ms, told.failure.is_none()),
            (TrialStatus::Succeeded, None, true)
        );
        assert_eq!(told.parameters.unwrap().0, json!({"x": 2}));
        assert!(told.warnings.iter().any(|warning| warning.contains("`artifacts`")), "{:?}", told.warnings);
        assert!(read(r#"{"metrics": {"a": "good"}}"#, false, false).is_err());
    }
}
