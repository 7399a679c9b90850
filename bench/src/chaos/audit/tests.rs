use schemas::event::{MlRunStarted, RunStarted, TrialStatus};
use schemas::{Real, Timestamp, TrialId};

use super::*;

fn run() -> RunId {
    RunId::parse("r").unwrap()
}

fn trial(number: u32, attempt: u32) -> Event {
    let id = TrialId::numbered(&run(), number.into());
    let mut trial = TrialReported::new(run(), id, TrialStatus::Succeeded);
    (trial.number, trial.attempt) = (Some(number), Some(attempt));
    trial.into()
}

fn started(attempt: u32) -> Event {
    RunStarted {
        run_id: run(),
        attempt,
        worker_id: "w".to_owned(),
        dataset_id: "digits".to_owned(),
        objective: "accuracy".to_owned(),
        resumed_trials: 0,
    }
    .into()
}

fn opened() -> Event {
    let json = serde_json::json!({"run_id": "r", "timestamp": Timestamp::from_micros(0)});
    serde_json::from_value::<MlRunStarted>(json).unwrap().into()
}

fn completed(attempt: u32, best: f64) -> Event {
    RunCompleted {
        run_id: run(),
        attempt,
        status: "succeeded".to_owned(),
        completed_trials: 2,
        failed_trials: 0,
        best_trial_id: Some("r-t00001".to_owned()),
        best_metric: Some(Real(best)),
        best_model: schemas::Json::object(),
        population_history: schemas::Json::object(),
        duration_ms: 1,
        artifact_refs: Vec::new(),
    }
    .into()
}

fn said(events: Vec<(u32, Event)>) -> Vec<Said> {
    (1..).zip(events).map(|(sequence, (attempt, event))| Said { sequence, attempt, event }).collect()
}

fn broken(events: Vec<(u32, Event)>) -> Vec<String> {
    broken_by(&run(), &said(events).iter().collect::<Vec<_>>(), 2)
}

/// A run whose first attempt was lost after one trial.
fn good() -> Vec<(u32, Event)> {
    vec![
        (1, started(1)),
        (1, opened()),
        (1, trial(0, 1)),
        (2, started(2)),
        (2, trial(1, 2)),
        (2, completed(2, 0.5)),
    ]
}

#[test]
fn a_run_that_was_taken_over_and_completed_broke_nothing() {
    assert_eq!(broken(good()), Vec::<String>::new());
}

#[test]
fn a_trial_told_twice_and_a_trial_never_told_are_named() {
    let mut events = good();
    events[4] = (2, trial(0, 2));
    assert_eq!(broken(events), ["run r: never reported: trial 1", "run r: trial 0 was reported 2 times"]);
}

#[test]
fn a_word_of_a_stale_attempt_is_named_with_its_place() {
    let mut events = good();
    events.insert(4, (1, trial(1, 1)));
    events.remove(5);
    assert_eq!(
        broken(events),
        ["run r: ml.run.trial (trial 1) of attempt 1 was stored at 5, after attempt 2 had started"]
    );
}

#[test]
fn a_second_end_and_a_missing_end_are_named() {
    let mut twice = good();
    twice.push((2, completed(2, 0.5)));
    assert!(broken(twice).contains(&"run r: 2 terminal events instead of one".to_owned()));
    let mut never = good();
    never.pop();
    assert_eq!(broken(never), ["run r: 0 terminal events instead of one"]);
}

#[test]
fn runs_of_the_same_request_differ_in_what_was_trained_not_in_who_trained_it() {
    let compare = |left: Vec<(u32, Event)>, right: Vec<(u32, Event)>| {
        let (left, right) = (said(left), said(right));
        differences(&left.iter().collect::<Vec<_>>(), &right.iter().collect::<Vec<_>>())
    };
    let calm = vec![(1, trial(0, 1)), (1, trial(1, 1)), (1, completed(1, 0.5))];
    assert_eq!(compare(calm.clone(), good()), Vec::<String>::new());
    let mut other = vec![(1, trial(0, 1)), (1, trial(1, 1)), (1, completed(1, 0.25))];
    let Event::TrialReported(second) = &mut other[1].1 else { panic!("it is a trial") };
    second.seed = Some(3);
    assert_eq!(
        compare(calm, other),
        ["trial 1: seed 3 instead of none", "the best is t00001, 0.25, {} instead of t00001, 0.5, {}"]
    );
}
