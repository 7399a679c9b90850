use schemas::event::{RunCancelRequested, RunCompleted, RunRequested, TrialReported, TrialStatus};
use schemas::{Json, RunId, TrialId};

use super::*;

fn run() -> RunId {
    RunId::parse("r").unwrap()
}

fn requested() -> Event {
    RunRequested { run_id: Some(run()), ..RunRequested::new("digits") }.into()
}

fn registered(state: RunState) -> RunRecord {
    let id = run();
    let request = RunRequested::new("digits");
    let claimant = Claimant {
        run_id: &id,
        request: &request,
        sequence: 3,
        delivery: 1,
        is_retry_of_failed: false,
        is_owner_gone: false,
        requested_at: Timestamp::default(),
        worker_id: "w",
    };
    let record = claim(None, &claimant, Timestamp::default()).0.unwrap();
    RunRecord { state, ..record }
}

fn completed() -> Event {
    RunCompleted {
        run_id: run(),
        attempt: 1,
        status: "succeeded".into(),
        completed_trials: 0,
        failed_trials: 0,
        best_trial_id: None,
        best_metric: None,
        best_model: Json::object(),
        population_history: Json::list(),
        duration_ms: 0,
        artifact_refs: Vec::new(),
    }
    .into()
}

fn of(event: &Event, class: FailureClass, state: Option<RunState>, is_trial_known: bool) -> Effect {
    let record = state.map(registered);
    effect(event, class, World { record: record.as_ref(), is_trial_known }, Timestamp::default())
}

#[test]
fn a_request_starts_a_run_once() {
    let class = FailureClass::Validation;
    assert!(matches!(of(&requested(), class, None, false), Effect::New(_)));
    assert!(matches!(of(&requested(), class, Some(RunState::Failed), false), Effect::New(_)));
    assert!(matches!(of(&requested(), class, Some(RunState::Completed), false), Effect::None(_)));
    assert!(matches!(of(&requested(), class, Some(RunState::Running), false), Effect::None(_)));
}

#[test]
fn a_request_that_expired_starts_its_run_which_had_failed() {
    let class = FailureClass::Expired;
    let again = of(&requested(), class, Some(RunState::Failed), false);
    assert!(matches!(&again, Effect::New(words) if words.contains("attempt 2")), "{again:?}");
    assert!(
        matches!(of(&requested(), class, Some(RunState::Completed), false), Effect::None(_)),
        "asked for again"
    );
    assert!(!may_be_unsafe(&requested(), class));
}

#[test]
fn a_request_that_took_a_worker_down_is_unsafe() {
    assert!(matches!(of(&requested(), FailureClass::WorkerLost, None, false), Effect::Unsafe(_)));
    assert!(matches!(of(&requested(), FailureClass::Oom, Some(RunState::Failed), false), Effect::Unsafe(_)));
}

#[test]
fn what_is_unsafe_may_be_and_what_may_not_be_is_not_looked_at() {
    for event in [requested(), completed()] {
        for class in FailureClass::ALL {
            for state in [None, Some(RunState::Running), Some(RunState::Failed), Some(RunState::Completed)] {
                let is_unsafe = matches!(of(&event, class, state, false), Effect::Unsafe(_));
                assert!(!is_unsafe || may_be_unsafe(&event, class), "{class} {state:?}");
            }
        }
    }
    assert!(!may_be_unsafe(&requested(), FailureClass::Validation));
}

#[test]
fn a_trial_the_stream_has_is_no_news() {
    let trial = TrialReported::new(run(), TrialId::numbered(&run(), 0), TrialStatus::Succeeded).into();
    assert!(matches!(of(&trial, FailureClass::Validation, None, true), Effect::None(_)));
    assert!(matches!(of(&trial, FailureClass::Validation, Some(RunState::Running), false), Effect::New(_)));
}

#[test]
fn the_end_of_a_run_that_goes_on_is_unsafe_and_a_second_end_is_no_news() {
    let completed = completed();
    let class = FailureClass::Validation;
    assert!(matches!(of(&completed, class, Some(RunState::Running), false), Effect::Unsafe(_)));
    assert!(matches!(of(&completed, class, Some(RunState::Completed), false), Effect::None(_)));
    let overtaken = RunRecord { attempt: 2, ..registered(RunState::Running) };
    let world = World { record: Some(&overtaken), is_trial_known: false };
    assert!(
        matches!(effect(&completed, class, world, Timestamp::default()), Effect::None(text) if text.contains("overtaken"))
    );
}

#[test]
fn a_cancel_of_a_run_that_is_over_is_no_news() {
    let cancel = RunCancelRequested { run_id: run(), reason: None }.into();
    assert!(matches!(of(&cancel, FailureClass::Decode, Some(RunState::Running), false), Effect::New(_)));
    assert!(matches!(of(&cancel, FailureClass::Decode, Some(RunState::Cancelled), false), Effect::None(_)));
}
