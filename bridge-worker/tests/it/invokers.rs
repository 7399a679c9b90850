//! The ways to call Python, chosen and fallen back to.

use schemas::event::{MlRunFinalized, TrialStatus};
use schemas::lifecycle::RunState;
use schemas::{Event, FailureClass};
use serde_json::json;

use crate::house::House;

const BUDGET: &str = r#"{"max_trials": 3, "parallelism": 1}"#;

fn noop(run: &str) -> serde_json::Value {
    let budget: serde_json::Value = serde_json::from_str(BUDGET).unwrap();
    json!({"run_id": run, "dataset_id": "digits", "trainer": "noop", "seed": 3, "budget": budget})
}

/// A child runtime that fails as soon as it is started.
fn break_the_runtime(house: &House) {
    let runtime = bridge_worker::runtime::lay_out(&house.scratch.join("runtime")).unwrap();
    let session = runtime.join("cerebros_worker/session.py");
    std::fs::write(session, "raise RuntimeError('somebody broke the runtime')\n").unwrap();
}

async fn finalized(house: &House, run: &str) -> MlRunFinalized {
    let is_end = |event| if let Event::MlRunFinalized(end) = event { Some(end) } else { None };
    house.events(run).await.into_iter().find_map(is_end).unwrap_or_else(|| panic!("{run} has no end"))
}

#[tokio::test]
async fn a_worker_whose_children_do_not_start_completes_its_runs_by_subprocess_and_says_why() {
    let house = House::open().await;
    break_the_runtime(&house);
    let worker = house.worker(&["--slots", "1", "--allow-entrypoint", "opaque_runs:*"]).await;
    house.request(noop("trained")).await;
    let record = house.ended("trained").await;
    assert_eq!((record.state, record.completed_trials), (RunState::Completed, 3));
    let warnings = finalized(&house, "trained").await.warnings;
    let names_why =
        |warning: &String| warning.contains("subprocess") && warning.contains("somebody broke the runtime");
    assert!(warnings.iter().any(names_why), "{warnings:?}");
    assert!(house.trials("trained").await.iter().all(|trial| trial.warnings.iter().any(names_why)));
    let log = std::fs::read_to_string(house.scratch.join("worker.log")).unwrap();
    assert!(log.contains("WARN") && log.contains("each call gets a process of its own"), "{log}");

    house
        .request(
            json!({"run_id": "searched", "dataset_id": "iris", "entrypoint": "opaque_runs:runs_a_search"}),
        )
        .await;
    assert_eq!(house.ended("searched").await.state, RunState::Completed);
    let statuses: Vec<_> = house.trials("searched").await.iter().map(|trial| trial.status).collect();
    assert_eq!(statuses, [TrialStatus::Succeeded, TrialStatus::Failed, TrialStatus::Succeeded]);
    assert!(finalized(&house, "searched").await.warnings.iter().any(names_why));
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_that_may_not_fall_back_takes_no_run_while_no_child_starts() {
    let house = House::open().await;
    break_the_runtime(&house);
    let worker = house.worker(&["--slots", "1", "--fallback", "none"]).await;
    house.request(noop("given-up")).await;
    house.says_in_its_log("somebody broke the runtime").await;
    assert!(house.record("given-up").await.is_none(), "it is left to workers that can train");
    worker.stop().await;
    let other = house.worker(&["--slots", "1"]).await;
    assert_eq!(house.ended("given-up").await.state, RunState::Completed);
    other.stop().await;
}

#[tokio::test]
async fn our_own_script_trains_the_same_trials_as_warm_children() {
    let house = House::open().await;
    let body = |run: &str| {
        json!({"run_id": run, "dataset_id": "iris", "seed": 3, "search_space": {"layers": [4, 8], "epochs": [2]},
            "budget": {"max_trials": 2, "parallelism": 1}})
    };
    let pool = house.worker(&["--slots", "1"]).await;
    house.request(body("pool")).await;
    house.ended("pool").await;
    pool.stop().await;
    // The limit of a call is for scripts that hang; importing scikit-learn on a busy machine takes its time.
    let once = house.worker(&["--slots", "1", "--invoker", "subprocess", "--timeout-ms", "80000"]).await;
    house.request(body("once")).await;
    house.ended("once").await;
    let told = |trials: Vec<schemas::event::TrialReported>| -> Vec<_> {
        trials.into_iter().map(|trial| (trial.number, trial.parameters, trial.metrics, trial.seed)).collect()
    };
    assert_eq!(told(house.trials("pool").await), told(house.trials("once").await));
    let end = finalized(&house, "once").await;
    assert!(end.warnings.is_empty(), "{:?}", end.warnings);
    assert!(!end.artifact_refs.is_empty(), "the best model was kept");
    let values =
        house.events("once").await.into_iter().filter(|event| matches!(event, Event::MetricReported(_)));
    assert!(values.count() >= 4, "what was reported on the way is told at the end");
    once.stop().await;
}

#[tokio::test]
async fn our_own_script_stops_a_search_at_its_budget_and_on_request() {
    let house = House::open().await;
    let arguments = ["--slots", "1", "--invoker", "subprocess", "--allow-entrypoint", "searches:*"];
    let worker = house.worker(&arguments).await;
    house
        .request(json!({"run_id": "many", "dataset_id": "x", "entrypoint": "searches:tells_without_end",
            "budget": {"max_trials": 6}}))
        .await;
    let record = house.ended("many").await;
    assert_eq!((record.completed_trials, record.ended_by.as_deref()), (6, Some("max_trials")));
    assert_eq!(record.state, RunState::Completed);
    for (run, function) in [("failed", "says_it_failed"), ("raised", "raises")] {
        house
            .request(json!({"run_id": run, "dataset_id": "x", "entrypoint": format!("searches:{function}")}))
            .await;
        assert_eq!(house.ended(run).await.failure.unwrap().class, FailureClass::UserCode);
    }
    worker.stop().await;
}
