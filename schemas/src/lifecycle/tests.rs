use super::*;
use crate::event::{
    RunCancelled, RunCompleted, RunFailed, RunInterrupted, RunStarted, TrialReported, TrialStatus,
};
use crate::{Failure, FailureClass, Json, RunId, Stage, TrialId};

fn run() -> RunId {
    RunId::parse("r").unwrap()
}

fn started(attempt: u32) -> Event {
    RunStarted {
        run_id: run(),
        attempt,
        worker_id: "w".into(),
        dataset_id: "digits".into(),
        objective: "accuracy".into(),
        resumed_trials: 0,
    }
    .into()
}

fn trial(attempt: u32) -> Event {
    let mut trial = TrialReported::new(run(), TrialId::numbered(&run(), 0), TrialStatus::Succeeded);
    trial.attempt = Some(attempt);
    trial.into()
}

fn completed(attempt: u32) -> Event {
    RunCompleted {
        run_id: run(),
        attempt,
        status: "succeeded".into(),
        completed_trials: 1,
        failed_trials: 0,
        best_trial_id: None,
        best_metric: None,
        best_model: Json::object(),
        population_history: Json::list(),
        duration_ms: 1,
        artifact_refs: vec![],
    }
    .into()
}

fn interrupted(attempt: u32) -> Event {
    RunInterrupted { run_id: run(), attempt, reason: None, completed_trials: 0, duration_ms: 0 }.into()
}

fn failed(attempt: u32) -> Event {
    let failure = Failure::new(FailureClass::Validation, Stage::Validate, "no");
    RunFailed { run_id: run(), attempt, failure, completed_trials: 0, duration_ms: 0 }.into()
}

fn cancelled(attempt: u32) -> Event {
    RunCancelled { run_id: run(), attempt, reason: None, completed_trials: 0, duration_ms: 0 }.into()
}

fn after(events: &[Event]) -> Lifecycle {
    let mut life = Lifecycle::default();
    for event in events {
        life.apply(event).unwrap_or_else(|error| panic!("{error}"));
    }
    life
}

#[test]
fn a_run_starts_reports_trials_and_ends_once() {
    let mut life = after(&[started(1), trial(1), completed(1)]);
    assert_eq!(life.state(), RunState::Completed);
    for late in [completed(1), failed(1), cancelled(2), started(1), trial(1), interrupted(1)] {
        assert!(matches!(life.apply(&late), Err(OrderError::AfterEnd { .. })), "{late:?}");
    }
}

#[test]
fn a_run_that_is_over_goes_on_under_a_later_attempt_only() {
    let mut life = after(&[started(1), trial(1), completed(1), started(2), trial(2), completed(2)]);
    assert!(matches!(life.apply(&completed(3)), Err(OrderError::AfterEnd { .. })));
}

#[test]
fn an_interrupted_run_goes_on_in_a_later_attempt_and_the_older_one_is_stale() {
    let mut life = after(&[started(1), trial(1), interrupted(1), started(2)]);
    assert_eq!(life.apply(&trial(1)), Err(OrderError::Stale { found: 1, current: 2 }));
    life.apply(&completed(2)).unwrap();
}

#[test]
fn a_lost_worker_s_run_is_taken_over_without_an_event_of_its_own() {
    let life = after(&[started(1), trial(1), started(2), trial(2)]);
    assert_eq!((life.state(), life.attempt()), (RunState::Running, 2));
}

#[test]
fn a_rejected_or_queued_run_may_fail_or_be_cancelled_without_a_start() {
    assert_eq!(after(&[failed(1)]).state(), RunState::Failed);
    assert_eq!(after(&[cancelled(1)]).state(), RunState::Cancelled);
}

#[test]
fn a_failed_or_cancelled_run_may_be_restarted_by_a_later_attempt_only() {
    let life = after(&[started(1), failed(1), started(2), trial(2), cancelled(2), started(3), completed(3)]);
    assert_eq!(life.state(), RunState::Completed);
    let mut life = after(&[started(1), failed(1)]);
    assert!(matches!(life.apply(&started(1)), Err(OrderError::AfterEnd { .. })));
    assert!(matches!(life.apply(&trial(1)), Err(OrderError::AfterEnd { .. })));
}

#[test]
fn nothing_is_reported_before_a_start() {
    let mut life = Lifecycle::default();
    assert!(matches!(life.apply(&trial(1)), Err(OrderError::NotStarted { .. })));
    assert!(matches!(life.apply(&completed(1)), Err(OrderError::NotStarted { .. })));
    let mut life = after(&[started(1)]);
    assert!(matches!(life.apply(&started(1)), Err(OrderError::Stale { .. })));
}
