use schemas::event::{RunCancelled, RunFailed, RunInterrupted, RunStarted};
use schemas::{FailureClass, TrialId};

use super::*;

fn trial(number: u32, status: TrialStatus, value: f64) -> Event {
    let run = RunId::parse("r").unwrap();
    let id = TrialId::numbered(&run, number.into());
    TrialReported {
        number: Some(number),
        metrics: [("loss".to_owned(), Real(value))].into(),
        ..TrialReported::new(run, id, status)
    }
    .into()
}

fn outcome() -> Outcome {
    Outcome::new(&RunId::parse("r").unwrap(), "loss", Direction::Minimize)
}

#[test]
fn the_best_so_far_is_the_first_of_the_best_that_succeeded() {
    let mut outcome = outcome();
    for event in [
        trial(2, TrialStatus::Succeeded, 0.5),
        trial(1, TrialStatus::Succeeded, 0.5),
        trial(3, TrialStatus::Failed, 0.1),
        trial(0, TrialStatus::Succeeded, f64::NAN),
    ] {
        outcome.take(&event);
    }
    assert_eq!((outcome.completed_trials, outcome.failed_trials), (4, 1));
    assert_eq!(outcome.best_trial_id, Some(TrialId::numbered(&outcome.run_id, 1).to_string()));
}

fn started(attempt: u32) -> Event {
    RunStarted {
        run_id: RunId::parse("r").unwrap(),
        attempt,
        worker_id: "w".to_owned(),
        dataset_id: "digits".to_owned(),
        objective: "loss".to_owned(),
        resumed_trials: 0,
    }
    .into()
}

fn failed(attempt: u32) -> Event {
    let failure = Failure::new(FailureClass::UserCode, Stage::Execute, "out of luck");
    let run_id = RunId::parse("r").unwrap();
    RunFailed { run_id, attempt, failure, completed_trials: 1, duration_ms: 7 }.into()
}

fn interrupted(attempt: u32, reason: &str) -> Event {
    let (run_id, reason) = (RunId::parse("r").unwrap(), Some(reason.to_owned()));
    RunInterrupted { run_id, attempt, reason, completed_trials: 1, duration_ms: 5 }.into()
}

fn cancelled(attempt: u32) -> Event {
    let run_id = RunId::parse("r").unwrap();
    RunCancelled { run_id, attempt, reason: None, completed_trials: 0, duration_ms: 9 }.into()
}

fn told(events: impl IntoIterator<Item = Event>) -> Outcome {
    let mut outcome = outcome();
    events.into_iter().for_each(|event| outcome.take(&event));
    outcome
}

#[test]
fn only_the_end_of_the_last_attempt_counts() {
    let end = |outcome: &Outcome| {
        (outcome.state, outcome.failure.is_some(), outcome.reason.clone(), outcome.duration_ms)
    };
    let stopped = || Some("stopped".to_owned());
    let again = told([started(1), failed(1), started(2), interrupted(2, "stopped")]);
    assert_eq!(end(&again), (RunState::Interrupted, false, stopped(), 5));
    let gone_on = told([started(1), interrupted(1, "stopped"), started(2), failed(2)]);
    assert_eq!(end(&gone_on), (RunState::Failed, true, None, 7));
    let silent = told([started(1), interrupted(1, "stopped"), started(2), cancelled(2)]);
    assert_eq!(end(&silent), (RunState::Cancelled, false, None, 9));
    let under_way = told([started(1), failed(1), started(2)]);
    assert_eq!(end(&under_way), (RunState::Running, false, None, 0));
    let late = told([started(1), started(2), interrupted(2, "stopped"), failed(1)]);
    assert_eq!(end(&late), (RunState::Interrupted, false, stopped(), 5), "the first has nothing to say");
}

#[test]
fn an_attempt_after_a_failed_end_trains_again_what_failed_and_one_after_an_interruption_does_not() {
    let trials = || [trial(0, TrialStatus::Failed, 0.1), trial(1, TrialStatus::Succeeded, 0.5)];
    let counts = |end: Event| {
        let outcome = told([started(1)].into_iter().chain(trials()).chain([end, started(2)]));
        (outcome.completed_trials, outcome.failed_trials)
    };
    assert_eq!(counts(failed(1)), (1, 0));
    assert_eq!(counts(interrupted(1, "stopped")), (2, 1));
}

#[test]
fn the_exit_code_tells_a_refusal_from_a_failure_and_an_interruption() {
    let ended = |stage| {
        let failure = Failure::new(FailureClass::Validation, stage, "x");
        let (run_id, attempt) = (RunId::parse("r").unwrap(), 1);
        let mut outcome = outcome();
        outcome.take(&RunFailed { run_id, attempt, failure, completed_trials: 0, duration_ms: 0 }.into());
        outcome.exit()
    };
    assert_eq!(ended(Stage::Validate), Exit::InvalidInput);
    assert_eq!(ended(Stage::Execute), Exit::Unsuccessful);
    assert_eq!(outcome().exit(), Exit::Interrupted);
}
