//! A trial as a search of ordinary size reports it: the event that is written and read more often than any other.

use std::collections::BTreeMap;

use schemas::cloudevents::{Context, Voice};
use schemas::event::{MlRunStarted, TrialReported, TrialStatus};
use schemas::{Event, Json, Real, RunId, Timestamp, TrialId};
use service_kit::clock;
use service_kit::error::CliError;

/// 2026-01-31T12:00:00.123456Z; what follows is counted from there.
const EPOCH_MICROS: i64 = 1_769_860_800_123_456;

/// Who reports trials of a run.
pub(crate) fn voice(run: &str) -> Voice {
    let run = RunId::parse(run).expect("the run ids written here are legal");
    let source = "/cerebros/bridge-worker/worker-7f3a".to_owned();
    Voice { run, attempt: 1, epoch: 0, context: Context { source, ..Context::default() } }
}

/// The start of a run, without which nobody believes in its trials.
pub(crate) fn run_started(voice: &Voice) -> Result<Event, CliError> {
    let fields = serde_json::json!({
        "run_id": voice.run.as_str(), "timestamp": clock::now(), "objective": "accuracy", "direction": "maximize",
        "dataset_id": "digits",
    });
    let started: MlRunStarted = serde_json::from_value(fields).map_err(CliError::internal)?;
    Ok(started.into())
}

/// So many trials of a run, each with an id and figures of its own.
pub(crate) fn trials(voice: &Voice, count: u32) -> Vec<Event> {
    (0..count).map(|number| trial(&voice.run, number).into()).collect()
}

fn trial(run: &RunId, number: u32) -> TrialReported {
    let noise = f64::from(number % 997) / 9973.0;
    let began = EPOCH_MICROS + i64::from(number) * 1_250_017;
    TrialReported {
        number: Some(number),
        attempt: Some(1),
        candidate_id: Some(format!("{:016x}", u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15))),
        parent_ids: vec![format!("t{:05}", number / 2), format!("t{:05}", number / 3)],
        metrics: metrics(noise),
        parameters: parameters(number),
        artifact_uri: Some(format!("nats://cerebros_artifacts/{run}/{number:05}/model.joblib")),
        duration_ms: Some(1250),
        seed: Some(i64::from(number) * 7919),
        started_at: Some(Timestamp::from_micros(began)),
        finished_at: Some(Timestamp::from_micros(began + 1_249_731)),
        worker_id: Some("worker-7f3a".to_owned()),
        ..TrialReported::new(run.clone(), TrialId::numbered(run, u64::from(number)), TrialStatus::Succeeded)
    }
}

/// Six, with as many digits as a mean over folds has.
fn metrics(noise: f64) -> BTreeMap<String, Real> {
    [
        ("accuracy", 0.9371 + noise),
        ("f1", 0.9288 + noise),
        ("loss", 0.2214 - noise),
        ("precision", 0.9413 + noise),
        ("recall", 0.9166 + noise),
        ("train_seconds", 1.249_731 + noise),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), Real(value)))
    .collect()
}

/// Eight of the types a search space has.
fn parameters(number: u32) -> Json {
    Json(serde_json::json!({
        "activation": "relu",
        "batch_size": 64,
        "dropout": 0.1 + f64::from(number % 7) * 0.05,
        "early_stopping": true,
        "epochs": 20 + number % 10,
        "layers": 2,
        "learning_rate": 0.001 + f64::from(number % 13) * 0.0003,
        "neurons": 128,
    }))
}

#[cfg(test)]
mod tests {
    use schemas::Encoding;

    use super::*;

    #[test]
    fn the_specimen_is_valid_and_of_the_size_it_claims() {
        let voice = voice("bench-specimen");
        for event in trials(&voice, 100) {
            event.validate().unwrap();
            let json = schemas::codec::encode(&event, Encoding::Json).unwrap().len();
            assert!((700..1100).contains(&json), "{json} bytes of JSON");
        }
    }
}
