//! The words of `report_trial` as the event of a trial.
//!
//! Pure. A function may give any field of the event; who speaks, and under which number, is not its to say.

use schemas::event::{TrialReported, TrialStatus};
use schemas::{Failure, FailureClass, RunId, Stage, Timestamp, TrialId};
use serde_json::{Map, Value};

use super::sayable::check_event;
use crate::script::{status_of, words_of_failure};

/// What is known of a trial besides its function's words.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) run: &'a RunId,
    pub(super) attempt: u32,
    pub(super) worker_id: &'a str,
    pub(super) pulse_id: Option<&'a str>,
    /// When the one before it was told.
    pub(super) since: Timestamp,
    pub(super) now: Timestamp,
}

/// Fields that are ours to fill in.
const OURS: [&str; 6] = ["run_id", "number", "attempt", "worker_id", "artifact_refs", "mlflow_run_id"];

/// The number a trial is told with, if it is.
///
/// # Errors
/// It is none.
pub(super) fn number_of(fields: &Map<String, Value>) -> Result<Option<u32>, String> {
    match fields.get("number") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .map(Some)
            .ok_or_else(|| format!("report_trial: `number` is {value}, not a whole number from 0")),
    }
}

/// The event.
///
/// # Errors
/// Which field makes no sense.
pub(super) fn event_of(
    mut fields: Map<String, Value>,
    id: TrialId,
    number: u32,
    frame: &Frame<'_>,
) -> Result<TrialReported, String> {
    let status = match fields.get("status").map(|status| status.as_str().unwrap_or_default()) {
        None => TrialStatus::Succeeded,
        Some(word) => status_of(word).ok_or_else(|| format!("report_trial: there is no status {word:?}"))?,
    };
    for name in OURS {
        fields.remove(name);
    }
    // Its own name for the trial is kept as that of the candidate; ids are the same in every attempt.
    if let Some(name) = fields.remove("trial_id").filter(|_| !fields.contains_key("candidate_id")) {
        fields.insert("candidate_id".to_owned(), name);
    }
    let told = failure_of(&mut fields, status);
    fields.retain(|_, value| !value.is_null());
    // Taken as it is: it was read once.
    let parameters = fields.remove("parameters");
    for (name, value) in [
        ("trial_id", id.to_string().into()),
        ("run_id", frame.run.to_string().into()),
        ("status", serde_json::to_value(status).expect("a status is a word")),
    ] {
        fields.insert(name.to_owned(), value);
    }
    let mut trial: TrialReported = serde_json::from_value(Value::Object(fields))
        .map_err(|error| format!("report_trial: the fields are not those of a trial: {error}"))?;
    if let Some(parameters) = parameters {
        trial.parameters = parameters.into();
    }
    trial.number = Some(number);
    trial.attempt = Some(frame.attempt);
    trial.worker_id = Some(frame.worker_id.to_owned());
    trial.pulse_id = trial.pulse_id.or_else(|| frame.pulse_id.map(str::to_owned));
    trial.finished_at = trial.finished_at.or(Some(frame.now));
    trial.started_at = trial.started_at.or(Some(frame.since));
    trial.duration_ms = trial.duration_ms.or_else(|| {
        let (from, to) = (trial.started_at?.micros(), trial.finished_at?.micros());
        Some((to - from).max(0) / 1000)
    });
    trial.failure = told.map(|words| {
        let words = words.or_else(|| trial.warnings.first().cloned());
        let words = words.unwrap_or_else(|| "the trial failed without saying why".to_owned());
        Failure::new(FailureClass::UserCode, Stage::Execute, words)
    });
    Ok(trial)
}

/// Whether the fields are those of a trial that can be told.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn check_trial(fields: &Map<String, Value>) -> Result<(), String> {
    let run = RunId::parse("r").expect("a letter is an id");
    let number = number_of(fields)?.unwrap_or_default();
    let (since, now) = (Timestamp::from_micros(0), Timestamp::from_micros(0));
    let frame = Frame { run: &run, attempt: 1, worker_id: "w", pulse_id: None, since, now };
    let trial = event_of(fields.clone(), TrialId::numbered(&run, number.into()), number, &frame)?;
    check_event(&trial.into(), None)
}

/// Takes the words about a failure out of the fields; they are the function's own, in any of the usual places.
fn failure_of(fields: &mut Map<String, Value>, status: TrialStatus) -> Option<Option<String>> {
    let told = fields.remove("failure");
    let of_failure = told.as_ref().and_then(|failure| match failure {
        Value::String(words) => Some(words.as_str()),
        Value::Object(failure) => words_of_failure(failure),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    });
    let words = of_failure.or_else(|| words_of_failure(fields)).map(str::to_owned);
    (status == TrialStatus::Failed).then_some(words)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(fields: Value) -> Result<TrialReported, String> {
        let run = RunId::parse("r").unwrap();
        let frame = Frame {
            run: &run,
            attempt: 2,
            worker_id: "w",
            pulse_id: Some("p"),
            since: Timestamp::from_micros(1_000_000),
            now: Timestamp::from_micros(3_000_000),
        };
        let Value::Object(fields) = fields else { panic!("an object") };
        event_of(fields, TrialId::numbered(&run, 4), 4, &frame)
    }

    #[test]
    fn a_trial_has_its_function_s_fields_and_our_identity() {
        let trial =
            told(json!({"trial_id": "a", "run_id": "forged", "attempt": 9, "metrics": {"accuracy": "NaN"},
            "parameters": {"n": 1}, "candidate_id": null, "unheard_of": 1}))
            .unwrap();
        assert_eq!((trial.trial_id.as_str(), trial.run_id.as_str()), ("r-t00004", "r"));
        assert_eq!((trial.number, trial.attempt, trial.status), (Some(4), Some(2), TrialStatus::Succeeded));
        assert!(trial.metrics["accuracy"].0.is_nan());
        assert_eq!((trial.duration_ms, trial.pulse_id.as_deref()), (Some(2000), Some("p")));
        assert_eq!(told(json!({"trial_id": "a"})).unwrap().candidate_id.as_deref(), Some("a"));
    }

    #[test]
    fn a_failed_trial_says_why_in_its_own_words() {
        let why = |fields| told(fields).unwrap().failure.unwrap().message;
        assert_eq!(why(json!({"status": "failed", "error": "no memory"})), "no memory");
        assert_eq!(why(json!({"status": "failed", "failure": {"message": "no disk"}})), "no disk");
        assert_eq!(why(json!({"status": "failed", "warnings": ["too hot", "x"]})), "too hot");
        assert!(why(json!({"status": "failed"})).contains("without saying why"));
        assert_eq!(told(json!({"status": "success", "error": "x"})).unwrap().failure, None);
    }

    #[test]
    fn fields_that_make_no_sense_are_named() {
        for (fields, words) in [
            (json!({"status": "fine"}), "fine"),
            (json!({"metrics": {"accuracy": "good"}}), "metrics"),
            (json!({"duration_ms": "long"}), "invalid type"),
        ] {
            let complaint = told(fields).unwrap_err();
            assert!(complaint.contains("report_trial"), "{complaint} {words}");
        }
        let number = |value: Value| number_of(json!({"number": value}).as_object().unwrap());
        assert_eq!((number(json!(3)), number(json!(null))), (Ok(Some(3)), Ok(None)));
        assert!(number(json!(-1)).is_err() && number(json!(1.5)).is_err() && number(json!("1")).is_err());
    }
}
