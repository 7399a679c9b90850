use schemas::event::{RunCancelled, RunCompleted, RunFailed, RunInterrupted, TrialReported, TrialStatus};
use schemas::{FailureClass, Json, Stage, TrialId};
use serde_json::json;

use super::*;

fn run() -> RunId {
    RunId::parse("r").unwrap()
}

fn seen(event: impl Into<Event>) -> Seen {
    Seen {
        event: event.into(),
        at: Timestamp::from_micros(9_000_000),
        schema: None,
        attempt: None,
        sequence: 1,
    }
}

fn start(extra: Value) -> MlRunStarted {
    MlRunStarted {
        run_id: run(),
        timestamp: Timestamp::from_micros(1_000_000),
        dataset_id: Some("digits".into()),
        search_space: Json(json!({"layers": [1, 2]})),
        objective: "accuracy".into(),
        pulse_id: None,
        budget: Json(json!({"max_trials": 10, "max_seconds": null})),
        parameters: Json::object(),
        tau: None,
        correlation_id: None,
        extra: Json(extra),
    }
}

fn finalized(status: FinalStatus) -> MlRunFinalized {
    MlRunFinalized {
        run_id: run(),
        status,
        timestamp: Timestamp::from_micros(5_000_000),
        pulse_id: None,
        correlation_id: None,
        metrics: BTreeMap::new(),
        best_trial_id: Some("t".into()),
        duration_ms: None,
        returncode: None,
        artifact_refs: Vec::new(),
        warnings: vec!["a".into(), "b".into()],
        stdout_excerpt: None,
        payload: Json::object(),
    }
}

#[test]
fn the_experiment_is_the_one_that_was_asked_for() {
    let named = start(json!({"experiment": "mine"}));
    let silent = start(json!({"experiment": null}));
    let spec = json!({"experiment": "of the request"});
    assert_eq!(experiment(Some(&named), Some(&spec)).as_deref(), Some("mine"));
    assert_eq!(experiment(None, Some(&spec)).as_deref(), Some("of the request"));
    assert_eq!(experiment(Some(&silent), None), None);
    assert_eq!(experiment(None, Some(&json!({"experiment": ""}))), None);
    let odd = json!({"experiment": format!("a\0{}", "b".repeat(600))});
    let name = experiment(None, Some(&odd)).unwrap();
    assert!(name.starts_with("a\u{2400}b") && name.chars().count() == EXPERIMENT_CHARS, "{name}");
}

#[test]
fn a_start_tells_the_settings_and_keeps_the_labels() {
    let extra = json!({"strategy": "ga", "seed": 7, "direction": "minimize", "experiment": "x", "note": {"a": 1},
        "tags": {"team": "vision", "mlflow.parentRunId": "stolen"}});
    let event = start(extra);
    let writes = started(&event, Some("cerebros:MlRunStarted:3:ab"));
    let param = |name: &str| writes.params.get(name).map(String::as_str);
    assert_eq!(param("search_space.layers"), Some("[1,2]"));
    assert_eq!(param("budget.max_trials"), Some("10"));
    assert_eq!(param("note.a"), Some("1"));
    assert_eq!((param("strategy"), writes.tags["cerebros.strategy"].as_str()), (Some("ga"), "ga"));
    assert_eq!((param("experiment"), param("tags.team")), (None, None));
    assert_eq!(writes.tags["team"], "vision");
    assert!(!writes.tags.contains_key("mlflow.parentRunId"));
    assert_eq!(writes.tags["cerebros.correlation_id"], "r");
    assert_eq!(writes.tags["cerebros.schema_version"], "cerebros:MlRunStarted:3:ab");
    assert_eq!(writes.tags["cerebros.experiment"], "x");
    let later = MlRunStarted { timestamp: Timestamp::from_micros(7), ..event.clone() };
    assert_eq!(started(&later, None).tags[SPEC_TAG], writes.tags[SPEC_TAG], "what was asked for is the same");
    let other = MlRunStarted { objective: "loss".into(), ..event.clone() };
    assert_ne!(started(&other, None).tags[SPEC_TAG], writes.tags[SPEC_TAG]);
    assert_eq!(direction_of(&event), Some(Direction::Minimize));
    assert_eq!(direction_of(&start(json!({}))), None);
}

#[test]
fn every_ending_is_told_as_it_was() {
    let failure = Failure::new(FailureClass::Dependency, Stage::Execute, "the gate is shut");
    let failed = RunFailed { run_id: run(), attempt: 2, failure, completed_trials: 3, duration_ms: 4 };
    let told = ending(&seen(failed)).unwrap();
    assert_eq!(
        (told.attempt, told.closing.status, told.closing.end_time),
        (Some(2), RunStatus::Failed, 9_000)
    );
    assert_eq!(told.writes.tags["cerebros.failure.message"], "the gate is shut");
    assert_eq!(told.writes.tags["cerebros.completed_trials"], "3");

    let reason = Some("enough".to_owned());
    let cancelled = RunCancelled { run_id: run(), attempt: 1, reason, completed_trials: 0, duration_ms: 0 };
    let told = ending(&seen(cancelled)).unwrap();
    assert_eq!(
        (told.closing.status, told.writes.tags["cerebros.reason"].as_str()),
        (RunStatus::Killed, "enough")
    );

    let completed: RunCompleted =
        serde_json::from_value(json!({"run_id": "r", "attempt": 1, "status": "max_seconds"})).unwrap();
    let told = ending(&seen(completed)).unwrap();
    assert_eq!(
        (told.closing.status, told.writes.tags["cerebros.ended_by"].as_str()),
        (RunStatus::Finished, "max_seconds")
    );
}

#[test]
fn the_machine_learning_record_ends_with_its_own_time() {
    for (status, expected) in [
        (FinalStatus::Succeeded, RunStatus::Finished),
        (FinalStatus::Failed, RunStatus::Failed),
        (FinalStatus::Timeout, RunStatus::Failed),
        (FinalStatus::Cancelled, RunStatus::Killed),
    ] {
        let told = ending(&seen(finalized(status))).unwrap();
        assert_eq!((told.attempt, told.closing.status, told.closing.end_time), (None, expected, 5_000));
    }
}

#[test]
fn an_interruption_and_a_trial_end_nothing() {
    let interrupted =
        RunInterrupted { run_id: run(), attempt: 1, reason: None, completed_trials: 0, duration_ms: 0 };
    let seen_interruption = seen(interrupted);
    assert_eq!((ending(&seen_interruption), seen_interruption.run()), (None, None));
    let trial = seen(TrialReported::new(run(), TrialId::from_text("t"), TrialStatus::Failed));
    assert_eq!(ending(&trial), None);
}

#[test]
fn a_parent_begins_when_the_first_thing_known_of_it_began() {
    assert_eq!(birth(&run(), &seen(start(json!({}))), None).start_time, 1_000);
    let mut trial = TrialReported::new(run(), TrialId::from_text("t"), TrialStatus::Failed);
    assert_eq!(birth(&run(), &seen(trial.clone()), None).start_time, 9_000);
    trial.started_at = Some(Timestamp::from_micros(2_000_000));
    let born = birth(&run(), &seen(trial), None);
    assert_eq!((born.start_time, born.name.as_str(), born.tags[KIND_TAG].as_str()), (2_000, "r", "run"));
}
