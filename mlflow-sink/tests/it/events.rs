//! What a worker says about a run.

use std::collections::BTreeMap;

use schemas::event::{
    FinalStatus, MetricReported, MlRunFinalized, MlRunStarted, RunCompleted, TrialReported, TrialStatus,
};
use schemas::{Event, Json, Real, RunId, Timestamp, TrialId};
use serde_json::json;

/// 2023-11-14T22:13:20Z, in milliseconds.
pub(crate) const BEGAN: i64 = 1_700_000_000_000;

pub(crate) fn run(name: &str) -> RunId {
    RunId::parse(name).unwrap()
}

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_micros((BEGAN + millis) * 1000)
}

/// Everything that is said about a search of so many trials that went well.
pub(crate) fn search(run: &RunId, experiment: &str, trials: u32) -> Vec<Event> {
    let mut events = vec![started(run, experiment)];
    for number in 0..trials {
        events.extend(values(run, number));
        events.push(reported(run, number).into());
    }
    events.extend(ended(run, trials));
    events
}

pub(crate) fn started(run: &RunId, experiment: &str) -> Event {
    MlRunStarted {
        run_id: run.clone(),
        timestamp: at(0),
        dataset_id: Some("digits".into()),
        search_space: Json(json!({"layers": [16, 32]})),
        objective: "accuracy".into(),
        pulse_id: None,
        budget: Json(json!({"max_trials": 10})),
        parameters: Json(json!({"mutation_rate": 0.1})),
        tau: Some(Real(1.0)),
        correlation_id: None,
        extra: Json(json!({
            "strategy": "ga", "trainer": "mlp", "direction": "maximize", "seed": 7, "experiment": experiment,
            "tags": {"team": "vision"},
        })),
    }
    .into()
}

/// Three epochs of a trial.
pub(crate) fn values(run: &RunId, number: u32) -> Vec<Event> {
    (0..3)
        .flat_map(|step| {
            ["accuracy", "loss"]
                .map(|name| value(run, number, name, step, f64::from(number) + step as f64 / 10.0))
        })
        .collect()
}

pub(crate) fn value(run: &RunId, number: u32, name: &str, step: i64, value: f64) -> Event {
    MetricReported {
        run_id: run.clone(),
        trial_id: TrialId::numbered(run, number.into()),
        name: name.into(),
        value: Real(value),
        step,
        recorded_at: at(i64::from(number) * 100 + step * 10),
        attempt: Some(1),
    }
    .into()
}

pub(crate) fn reported(run: &RunId, number: u32) -> TrialReported {
    let metrics = BTreeMap::from([("accuracy".to_owned(), Real(f64::from(number) + 0.5))]);
    TrialReported {
        number: Some(number),
        attempt: Some(1),
        metrics,
        parameters: Json(json!({"layers": [16, number], "optimizer": {"lr": 0.01}})),
        spectral_norm: true,
        spectral_norm_value: Some(Real(1.25)),
        started_at: Some(at(i64::from(number) * 100)),
        finished_at: Some(at(i64::from(number) * 100 + 50)),
        worker_id: Some("w1".into()),
        ..TrialReported::new(run.clone(), TrialId::numbered(run, number.into()), TrialStatus::Succeeded)
    }
}

pub(crate) fn ended(run: &RunId, trials: u32) -> Vec<Event> {
    let best = trials.checked_sub(1).map(|number| TrialId::numbered(run, number.into()).to_string());
    let finalized = MlRunFinalized {
        run_id: run.clone(),
        status: FinalStatus::Succeeded,
        timestamp: at(100_000),
        pulse_id: None,
        correlation_id: None,
        metrics: BTreeMap::from([("accuracy".to_owned(), Real(f64::from(trials) - 0.5))]),
        best_trial_id: best.clone(),
        duration_ms: Some(100_000),
        returncode: None,
        artifact_refs: Vec::new(),
        warnings: Vec::new(),
        stdout_excerpt: None,
        payload: Json::object(),
    };
    let completed = RunCompleted {
        run_id: run.clone(),
        attempt: 1,
        status: "succeeded".into(),
        completed_trials: trials,
        failed_trials: 0,
        best_trial_id: best,
        best_metric: Some(Real(f64::from(trials) - 0.5)),
        best_model: Json::object(),
        population_history: Json::list(),
        duration_ms: 100_000,
        artifact_refs: Vec::new(),
    };
    vec![finalized.into(), completed.into()]
}
