//! Whether what a function said can be told: written as an event, and read again by everybody.
//!
//! Pure. What cannot be is the function's failure, with the reason; found out later it would hold up the end of the run.

use schemas::cloudevents::Headers;
use schemas::event::{FinalStatus, MlRunFinalized};
use schemas::{Encoding, Event, Failure, FailureClass, RunId, Stage, Timestamp};

use super::checks::Told;
use crate::ending;

/// Bytes a result may have as JSON; the rest of what an event may have is for warnings, files and what was printed.
const MAX_RESULT_BYTES: usize = 416 * 1024;

/// Words of up to so many bytes make no event that is too large for any reader, neither as text nor in memory.
const FEW_BYTES: usize = 4 * 1024;

/// Checks one event, made of words of so many bytes if that is known.
///
/// # Errors
/// Why it cannot be told.
pub(super) fn check_event(event: &Event, words: Option<usize>) -> Result<(), String> {
    if words.is_some_and(|bytes| bytes <= FEW_BYTES) {
        return event.validate().map_err(|invalid| invalid.to_string());
    }
    written(event).map(drop)
}

fn written(event: &Event) -> Result<usize, String> {
    event.validate().map_err(|invalid| invalid.to_string())?;
    let payload = schemas::codec::encode(event, Encoding::Json).map_err(|error| error.to_string())?;
    schemas::codec::decode(event.record().subject(), &Headers::default(), &payload)
        .map_err(|error| error.to_string())?;
    Ok(payload.len())
}

/// Checks the result of a run.
///
/// # Errors
/// Why it cannot be told, as a failure whose origin is the function.
pub(super) fn check_result(run: &RunId, told: &Told) -> Result<(), Failure> {
    let bytes = written(&end_with(run, told)).and_then(|bytes| {
        let is_small = bytes <= MAX_RESULT_BYTES;
        is_small
            .then_some(())
            .ok_or_else(|| format!("{bytes} bytes as JSON are over the limit of {MAX_RESULT_BYTES}"))
    });
    bytes.map_err(|reason| {
        let message =
            format!("the result of the run cannot be told: {reason}; save large values as artefacts");
        Failure::new(FailureClass::ParseError, Stage::Execute, message)
    })
}

/// The event the whole result is in.
fn end_with(run: &RunId, told: &Told) -> Event {
    MlRunFinalized {
        run_id: run.clone(),
        status: FinalStatus::Succeeded,
        timestamp: Timestamp::from_micros(0),
        pulse_id: None,
        correlation_id: None,
        metrics: Default::default(),
        best_trial_id: None,
        duration_ms: None,
        returncode: None,
        artifact_refs: Vec::new(),
        warnings: Vec::new(),
        stdout_excerpt: None,
        payload: ending::payload(told),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(metadata: Value, artifacts: Vec<Value>) -> Told {
        Told {
            best_model: json!({"layers": [8]}),
            best_metric: 0.5,
            completed_trials: 1,
            population_history: json!([]),
            artifacts,
            metadata,
            left_out: Vec::new(),
        }
    }

    fn check(told: &Told) -> Result<(), Failure> {
        check_result(&RunId::parse("r").unwrap(), told)
    }

    #[test]
    fn a_result_nobody_could_read_is_the_function_s_failure() {
        assert!(check(&told(json!({"a": 1}), vec![])).is_ok());
        let deep = (0..110).fold(json!(0), |value, _| json!([value]));
        let heavy: Vec<Value> = (0..40_000).map(|_| json!({})).collect();
        let long = vec![json!("x".repeat(450 * 1024))];
        for told in [
            told(json!({"deep": deep}), vec![]),
            told(json!({"heavy": heavy}), vec![]),
            told(json!({}), long),
        ] {
            let failure = check(&told).unwrap_err();
            assert_eq!(failure.class, FailureClass::ParseError);
            assert!(failure.message.contains("cannot be told"), "{}", failure.message);
        }
    }

    /// The densest and the most growing words there are: nothing that is checked in short may be refused by a reader.
    #[test]
    fn what_few_words_make_is_read_by_everybody() {
        let run = RunId::parse("r").unwrap();
        let fill = |entry: &str| format!("[{}]", vec![entry; FEW_BYTES / (entry.len() + 1)].join(","));
        for entry in ["{}", "[]", "1e9", "{\"\":0}", "\"\\u0001\"", "-1e-9", "\"\u{7f}\""] {
            let mut trial = schemas::event::TrialReported::new(
                run.clone(),
                schemas::TrialId::numbered(&run, 0),
                schemas::event::TrialStatus::Succeeded,
            );
            let values: Value = serde_json::from_str(&fill(entry)).unwrap();
            trial.parameters = json!({ "values": values }).into();
            let event = trial.into();
            assert_eq!(check_event(&event, Some(FEW_BYTES)), Ok(()), "{entry}");
            assert_eq!(check_event(&event, None), Ok(()), "{entry}");
        }
    }
}
