use proptest::prelude::*;
use schemas::event::{MetricReported, RunCompleted, RunFailed, RunInterrupted, RunStarted};
use schemas::{Failure, FailureClass, RunId, Stage};
use serde_json::json;
use service_kit::event_line::EventLine;

use super::*;

fn run() -> RunId {
    RunId::parse("r").unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn requested(objective: &str) -> Event {
    let mut request = RunRequested::new("digits");
    objective.clone_into(&mut request.objective);
    request.into()
}

fn started(attempt: u32, objective: &str) -> Event {
    RunStarted {
        run_id: run(),
        attempt,
        worker_id: "w".into(),
        dataset_id: "digits".into(),
        objective: objective.into(),
        resumed_trials: 0,
    }
    .into()
}

fn trial(number: u64, status: TrialStatus, metrics: &[(&str, f64)], attempt: Option<u32>) -> Event {
    let mut trial = TrialReported::new(run(), TrialId::numbered(&run(), number), status);
    trial.metrics = metrics.iter().map(|(name, value)| ((*name).to_owned(), Real(*value))).collect();
    trial.parameters = Json(json!({ "n": number }));
    trial.attempt = attempt;
    trial.into()
}

fn metric(number: u64) -> Event {
    MetricReported {
        run_id: run(),
        trial_id: TrialId::numbered(&run(), number),
        name: "accuracy".into(),
        value: Real(0.5),
        step: 1,
        recorded_at: at(0),
        attempt: Some(1),
    }
    .into()
}

fn failed(attempt: u32) -> Event {
    let failure = Failure::new(FailureClass::UserCode, Stage::Execute, "x");
    RunFailed { run_id: run(), attempt, failure, completed_trials: 0, duration_ms: 0 }.into()
}

fn interrupted(attempt: u32) -> Event {
    RunInterrupted { run_id: run(), attempt, reason: None, completed_trials: 0, duration_ms: 0 }.into()
}

fn folded(events: &[Event]) -> Progress {
    let mut progress = Progress::default();
    for (second, event) in (0..).zip(events) {
        progress.apply(event, at(second));
    }
    progress
}

const OK: TrialStatus = TrialStatus::Succeeded;

#[test]
fn trials_are_counted_once_and_the_best_is_kept_with_its_parameters() {
    let progress = folded(&[
        requested("accuracy"),
        started(1, "accuracy"),
        metric(0),
        metric(1),
        metric(3),
        trial(0, OK, &[("accuracy", 0.7)], Some(1)),
        trial(0, OK, &[("accuracy", 0.99)], Some(1)),
        trial(1, TrialStatus::Failed, &[("accuracy", 1.0)], Some(1)),
        trial(2, OK, &[("accuracy", f64::NAN)], Some(1)),
    ]);
    assert_eq!((progress.done, progress.failed, progress.running, progress.total), (3, 1, 1, Some(10)));
    assert_eq!((progress.best, progress.best_parameters.0), (Some(0.7), json!({"n": 0})));
    assert_eq!(progress.best_trial, Some(TrialId::numbered(&run(), 0)));
    assert_eq!(progress.state, RunState::Running);
}

#[test]
fn a_loss_is_better_when_it_is_smaller() {
    let trials = [trial(0, OK, &[("loss", 0.7)], None), trial(1, OK, &[("loss", 0.2)], None)];
    let [first, second] = trials;
    let progress = folded(&[requested("loss"), started(1, "loss"), first, second]);
    assert_eq!(progress.best, Some(0.2));
}

#[test]
fn the_direction_of_the_request_stands_against_the_name_of_the_objective() {
    let mut request = RunRequested::new("digits");
    request.direction = Some(Direction::Minimize);
    let trials = [0.7, 0.2].map(|value| trial((value * 10.0) as u64, OK, &[("accuracy", value)], None));
    let [first, second] = trials;
    assert_eq!(folded(&[request.into(), started(1, "accuracy"), first, second]).best, Some(0.2));
}

#[test]
fn an_older_attempt_changes_nothing() {
    let before = [requested("accuracy"), started(1, "accuracy"), interrupted(1), started(2, "accuracy")];
    let mut late = before.to_vec();
    late.extend([trial(9, OK, &[("accuracy", 1.0)], Some(1)), failed(1)]);
    assert_eq!(folded(&late), folded(&before));
}

#[test]
fn a_run_that_is_asked_for_again_goes_on_from_what_it_has() {
    let end = [
        requested("accuracy"),
        started(1, "accuracy"),
        trial(0, OK, &[("accuracy", 0.5)], Some(1)),
        trial(1, TrialStatus::Failed, &[], Some(1)),
        failed(1),
    ];
    let counts = |progress: &Progress| (progress.state, progress.done, progress.failed, progress.attempt);
    assert_eq!(counts(&folded(&end)), (RunState::Failed, 2, 1, 1));
    let mut again = end.to_vec();
    again.push(requested("accuracy"));
    assert_eq!(counts(&folded(&again)), (RunState::Requested, 1, 0, 1));
    again.extend([
        started(2, "accuracy"),
        trial(0, OK, &[("accuracy", 0.9)], Some(2)),
        trial(1, OK, &[("accuracy", 0.6)], Some(2)),
    ]);
    let progress = folded(&again);
    assert_eq!(counts(&progress), (RunState::Running, 2, 0, 2));
    assert_eq!(progress.best, Some(0.6));
}

#[test]
fn a_completed_run_names_its_best_trial_even_to_who_saw_no_trial() {
    let completed = RunCompleted {
        run_id: run(),
        attempt: 1,
        status: "succeeded".into(),
        completed_trials: 3,
        failed_trials: 0,
        best_trial_id: Some("r-t00002".into()),
        best_metric: Some(Real(0.9)),
        best_model: Json(json!({"n": 2})),
        population_history: Json::list(),
        duration_ms: 1,
        artifact_refs: vec![],
    };
    let progress = folded(&[completed.into(), trial(7, OK, &[("accuracy", 1.0)], Some(1))]);
    assert_eq!((progress.state, progress.best, progress.done), (RunState::Completed, Some(0.9), 0));
    assert_eq!(progress.best_parameters.0, json!({"n": 2}));
}

#[test]
fn the_rate_counts_this_attempt_only() {
    let progress = folded(&[
        requested("accuracy"),
        started(1, "accuracy"),
        trial(0, OK, &[], Some(1)),
        interrupted(1),
        started(2, "accuracy"),
        trial(1, OK, &[], Some(2)),
        trial(2, OK, &[], Some(2)),
    ]);
    assert_eq!(progress.rate(at(8)), Some(0.5));
    assert_eq!(progress.seconds_left(at(8)), Some(14.0));
    assert_eq!(progress.rate(at(4)), None);
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(requested("accuracy")),
        (1_u32..4).prop_map(|attempt| started(attempt, "accuracy")),
        (1_u32..4).prop_map(failed),
        (1_u32..4).prop_map(interrupted),
        (0_u64..8).prop_map(metric),
        (0_u64..8, 0.0..1.0_f64, 1_u32..4).prop_map(|(number, value, attempt)| trial(
            number,
            OK,
            &[("accuracy", value)],
            Some(attempt)
        )),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_the_counts_agree_and_the_best_never_falls(events in prop::collection::vec(any_event(), 0..60)) {
        let mut progress = Progress::default();
        let mut best = f64::NEG_INFINITY;
        for event in &events {
            progress.apply(event, at(1));
            prop_assert!(progress.failed <= progress.done && progress.done <= 8);
            prop_assert!(progress.best.unwrap_or(best) >= best);
            best = progress.best.unwrap_or(best);
            let once = progress.clone();
            if matches!(event, Event::TrialReported(_) | Event::MetricReported(_)) {
                prop_assert!(!progress.apply(event, at(2)));
                prop_assert_eq!(&progress, &once);
            }
        }
    }
}

fn completed(attempt: u32) -> Event {
    RunCompleted {
        run_id: run(),
        attempt,
        status: "succeeded".into(),
        completed_trials: 0,
        failed_trials: 0,
        best_trial_id: None,
        best_metric: None,
        best_model: Json::object(),
        population_history: Json::list(),
        duration_ms: 0,
        artifact_refs: vec![],
    }
    .into()
}

/// One trial of each kind, and an end.
fn mixed(end: Event) -> Vec<Event> {
    let statuses =
        [OK, TrialStatus::Failed, TrialStatus::Pruned, TrialStatus::Cancelled, TrialStatus::Skipped];
    let trials = (0..).zip(statuses).map(|(number, status)| trial(number, status, &[], Some(1)));
    [requested("accuracy"), started(1, "accuracy")].into_iter().chain(trials).chain([end]).collect()
}

fn request_for_failed_trials() -> RunEvent {
    let event = requested("accuracy");
    let line = EventLine {
        seq: 9,
        subject: String::new(),
        time: at(9),
        run_id: Some(run()),
        kind: None,
        data: serde_json::Value::Null,
        error: None,
    };
    RunEvent { line, event, is_for_failed_trials: true }
}

#[test]
fn a_request_for_the_failed_trials_forgets_failed_and_cancelled_ones_whatever_the_end_was() {
    for end in [completed(1), failed(1)] {
        let mut progress = folded(&mixed(end));
        assert_eq!((progress.done, progress.failed), (5, 1));
        assert!(progress.take(&request_for_failed_trials()));
        assert_eq!((progress.done, progress.failed, progress.state), (3, 0, RunState::Requested));
        assert!(progress.apply(&started(2, "accuracy"), at(10)));
        assert!(progress.apply(&trial(1, OK, &[], Some(2)), at(11)));
        assert_eq!((progress.done, progress.state), (4, RunState::Running));
    }
}

#[test]
fn a_completed_run_is_opened_by_a_later_attempt_and_by_no_plain_request() {
    let mut progress = folded(&mixed(completed(1)));
    assert!(!progress.apply(&requested("accuracy"), at(9)));
    assert!(!progress.apply(&started(1, "accuracy"), at(9)));
    assert!(progress.apply(&started(2, "accuracy"), at(10)));
    assert_eq!((progress.done, progress.failed, progress.state), (3, 0, RunState::Running));
}
