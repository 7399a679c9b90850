//! Whatever user code does: the right class, a usable slot, no process left.

use schemas::event::{TrialReported, TrialStatus};
use schemas::lifecycle::RunState;
use schemas::{Event, FailureClass};
use serde_json::json;

use crate::house::{GONE, House, WorkerProcess};

async fn house_with_worker() -> (House, WorkerProcess) {
    let house = House::open().await;
    let arguments = ["--slots", "1", "--allow-entrypoint", "faulty_trainers:*", "--retry-backoff-ms", "20"];
    let worker = house.worker(&arguments).await;
    (house, worker)
}

/// Trains one trial of a fixture and returns its event.
async fn trial_of(house: &House, fixture: &str, budget: serde_json::Value) -> TrialReported {
    let mut full = json!({"max_trials": 1});
    full.as_object_mut().unwrap().extend(budget.as_object().cloned().unwrap_or_default());
    house
        .request(
            json!({"run_id": fixture, "dataset_id": "digits", "trainer": format!("faulty_trainers:{fixture}"),
        "search_space": {"x": [1]}, "budget": full}),
        )
        .await;
    house.ended(fixture).await;
    house.trials(fixture).await.pop().unwrap_or_else(|| panic!("{fixture} reported no trial"))
}

/// The slot still trains: the same worker, after the fault, on the real thing.
async fn assert_usable(house: &House, after: &str) {
    let run = format!("after-{after}");
    house
        .request(json!({"run_id": run, "dataset_id": "iris", "search_space": {"layers": [4], "epochs": 1},
        "budget": {"max_trials": 1}}))
        .await;
    assert_eq!(house.ended(&run).await.state, RunState::Completed, "{after}");
}

#[tokio::test]
async fn every_fault_of_user_code_gets_its_class_and_the_slot_stays_usable() {
    let (house, worker) = house_with_worker().await;
    for (fixture, class) in [
        ("raises", FailureClass::UserCode),
        ("calls_sys_exit", FailureClass::UserCode),
        ("raises_memory_error", FailureClass::Oom),
        ("returns_nan", FailureClass::NanObjective),
        ("returns_nothing", FailureClass::UserCode),
        ("returns_bytes", FailureClass::UserCode),
        ("returns_a_date", FailureClass::UserCode),
        ("returns_too_much", FailureClass::UserCode),
        ("uses_parameters_that_contain_themselves", FailureClass::UserCode),
        ("reports_a_metric_without_a_name", FailureClass::UserCode),
        ("returns_a_metric_without_a_name", FailureClass::UserCode),
        ("imports_a_missing_package", FailureClass::Dependency),
        ("exits_at_once", FailureClass::SubprocessExit),
        ("kills_itself", FailureClass::SubprocessExit),
        ("segfaults", FailureClass::SubprocessExit),
        ("no_such_function", FailureClass::Validation),
    ] {
        let trial = trial_of(&house, fixture, json!({})).await;
        assert_eq!(trial.status, TrialStatus::Failed, "{fixture}");
        let failure = trial.failure.unwrap();
        assert_eq!(failure.class, class, "{fixture}: {}", failure.message);
        let events = house.events(fixture).await;
        assert!(events.iter().any(
            |event| matches!(event, Event::RunException(exception) if exception.failure.class == class)
        ));
        assert!(
            matches!(events.last(), Some(Event::RunFailed(end)) if end.failure.class == class),
            "{fixture}"
        );
    }
    assert_usable(&house, "faults").await;
    worker.stop().await;
}

#[tokio::test]
async fn a_dead_process_is_described_by_its_exit_status_or_signal() {
    let (house, worker) = house_with_worker().await;
    let exited = trial_of(&house, "exits_at_once", json!({})).await.failure.unwrap();
    assert_eq!((exited.exit_code, exited.signal), (Some(7), None), "{}", exited.message);
    let killed = trial_of(&house, "kills_itself", json!({})).await.failure.unwrap();
    assert_eq!((killed.exit_code, killed.signal), (None, Some(9)), "{}", killed.message);
    worker.stop().await;
}

#[tokio::test]
async fn an_error_of_user_code_is_told_with_its_traceback_and_what_was_printed() {
    let (house, worker) = house_with_worker().await;
    let raised = trial_of(&house, "raises", json!({})).await.failure.unwrap();
    let traceback = raised.traceback.unwrap();
    assert!(traceback.contains("faulty_trainers.py") && traceback.contains("in _divide"), "{traceback}");
    assert!(!traceback.contains("cerebros_worker"), "frames of the runtime tell a user nothing: {traceback}");
    let exited = trial_of(&house, "exits_at_once", json!({})).await.failure.unwrap();
    assert_eq!(exited.stdout_excerpt.as_deref(), Some("last words\n"));
    worker.stop().await;
}

#[tokio::test]
async fn values_of_numpy_arrive_as_plain_numbers() {
    let (house, worker) = house_with_worker().await;
    let trial = trial_of(&house, "returns_values_of_numpy", json!({})).await;
    assert_eq!(trial.status, TrialStatus::Succeeded, "{:?}", trial.failure);
    let metric = |name: &str| trial.metrics[name].finite();
    assert_eq!([metric("accuracy"), metric("count"), metric("flag")], [Some(0.75), Some(3.0), Some(1.0)]);
    worker.stop().await;
}

#[tokio::test]
async fn a_process_that_shows_no_sign_of_life_is_replaced_and_its_trial_tried_again() {
    let (house, worker) = house_with_worker().await;
    let marks = house.scratch.path().to_str().unwrap();
    house
        .request(json!({"run_id": "silent", "dataset_id": "digits", "budget": {"max_trials": 1},
            "trainer": "faulty_trainers:hangs_silently_the_first_time", "search_space": {"marks": [marks]}}))
        .await;
    assert_eq!(house.ended("silent").await.state, RunState::Completed);
    let exception = |event| if let Event::RunException(exception) = event { Some(exception) } else { None };
    let exceptions: Vec<_> = house.events("silent").await.into_iter().filter_map(exception).collect();
    let [lost] = exceptions.as_slice() else { panic!("{exceptions:?}") };
    assert_eq!((lost.failure.class, lost.will_retry), (FailureClass::HeartbeatLost, true));
    worker.stop().await;
}

#[tokio::test]
async fn a_hanging_trial_is_killed_at_its_limit() {
    let (house, worker) = house_with_worker().await;
    let trial = trial_of(&house, "hangs_with_signals_blocked", json!({"max_trial_seconds": 1.0})).await;
    assert_eq!(trial.failure.unwrap().class, FailureClass::TimeoutTrial);
    assert_usable(&house, "hang").await;
    worker.stop().await;
}

#[tokio::test]
async fn what_user_code_prints_never_reaches_the_protocol_and_is_kept_bounded() {
    let (house, worker) = house_with_worker().await;
    for fixture in
        ["prints_a_megabyte", "prints_frames", "closes_low_descriptors", "writes_to_low_descriptors"]
    {
        let trial = trial_of(&house, fixture, json!({})).await;
        assert_eq!(trial.status, TrialStatus::Succeeded, "{fixture}: {:?}", trial.failure);
    }
    assert_usable(&house, "print").await;
    worker.stop().await;
}

#[tokio::test]
async fn a_grandchild_that_ignores_sigterm_does_not_outlive_its_trial() {
    let (house, worker) = house_with_worker().await;
    let trial = trial_of(&house, "forks_a_grandchild", json!({})).await;
    assert_eq!(trial.status, TrialStatus::Succeeded, "{:?}", trial.failure);
    assert_usable(&house, "fork").await;
    // One worker, one child: whoever else is below the worker was left behind.
    testkit::wait_until("only the slot's child is left", GONE, async || {
        (testkit::processes::descendants(worker.pid()).len() <= 1).then_some(())
    })
    .await;
    worker.stop().await;
}
