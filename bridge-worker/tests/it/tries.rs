//! Trials that fail, that take their process down, that are not worth going on with.

use schemas::event::TrialStatus;
use schemas::lifecycle::RunState;
use schemas::{Event, FailureClass};
use serde_json::json;

use crate::house::{ALL, House};

const ARGUMENTS: [&str; 6] =
    ["--slots", "2", "--allow-entrypoint", "searching:*", "--retry-backoff-ms", "20"];

/// A search by one of the fixtures in `searching.py`.
pub(crate) fn request(
    run: &str,
    trainer: &str,
    space: serde_json::Value,
    budget: serde_json::Value,
) -> serde_json::Value {
    json!({"run_id": run, "dataset_id": "digits", "trainer": format!("searching:{trainer}"), "seed": 11,
        "strategy": "random", "search_space": space, "budget": budget})
}

#[tokio::test]
async fn a_trial_that_takes_its_process_down_is_given_up_after_three_tries_and_the_run_goes_on() {
    let house = House::open().await;
    let worker = house.worker(&ARGUMENTS).await;
    let space = json!({"kind": ["fatal", "good"], "x": {"low": 0.0, "high": 1.0}});
    house.request(request("fatal", "dies_if_fatal", space, json!({"max_trials": 6}))).await;
    let record = house.ended("fatal").await;
    assert_eq!((record.state, record.completed_trials, record.worker_losses), (RunState::Completed, 6, 0));
    let trials = house.trials("fatal").await;
    let failed: Vec<_> = trials.iter().filter(|trial| trial.status == TrialStatus::Failed).collect();
    assert!(!failed.is_empty() && failed.len() < 6, "the seed draws both kinds");
    for trial in &failed {
        let failure = trial.failure.as_ref().unwrap();
        assert_eq!((failure.class, failure.signal), (FailureClass::SubprocessExit, Some(9)));
        assert!(failure.message.contains("3 times"), "{}", failure.message);
        assert!(failure.stdout_excerpt.as_ref().unwrap().contains("about to take"), "{failure:?}");
    }
    let retries = house
        .events("fatal")
        .await
        .into_iter()
        .filter(|event| matches!(event, Event::RunException(exception) if exception.will_retry));
    assert_eq!(retries.count(), failed.len() * 2, "two more tries each, every one said");
    worker.stop().await;
}

#[tokio::test]
async fn a_trial_whose_process_died_once_succeeds_at_its_second_try() {
    let house = House::open().await;
    let worker = house.worker(&ARGUMENTS).await;
    let marks = house.scratch.path().to_str().unwrap();
    let space = json!({"marks": [marks]});
    house.request(request("once", "dies_the_first_time", space, json!({"max_trials": 2}))).await;
    let record = house.ended("once").await;
    assert_eq!((record.state, record.failed_trials), (RunState::Completed, 0));
    worker.stop().await;
}

#[tokio::test]
async fn failures_in_a_row_end_the_run_and_are_named() {
    let house = House::open().await;
    let worker = house.worker(&ARGUMENTS).await;
    let budget = json!({"max_trials": 50, "max_consecutive_failures": 3, "parallelism": 1});
    house.request(request("row", "fails_if_told", json!({"kind": ["bad"]}), budget)).await;
    let record = house.ended("row").await;
    assert_eq!(record.ended_by.as_deref(), Some("max_consecutive_failures"));
    assert_eq!((record.state, record.completed_trials), (RunState::Failed, 3), "never overshot");
    worker.stop().await;
}

#[tokio::test]
async fn the_failed_trials_of_a_completed_run_are_trained_again_and_no_other() {
    let house = House::open().await;
    let worker = house.worker(&ARGUMENTS).await;
    let space = json!({"kind": ["bad", "good"]});
    let body = request("again", "fails_if_told", space, json!({"max_trials": 8, "parallelism": 1}));
    house.request(body.clone()).await;
    let before = house.ended("again").await;
    assert!(before.failed_trials > 0 && before.state == RunState::Completed, "the seed draws both kinds");
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Cerebros-Retry", "failed");
    let subject = "cerebros.nas.run.requested";
    house.broker.client.publish_with_headers(subject, headers, body.to_string().into()).await.unwrap();
    testkit::wait_until("the run completed again", crate::house::PATIENCE, async || {
        house.record("again").await.filter(|record| record.attempt == 2 && record.state.is_final())
    })
    .await;
    let trials = house.trials("again").await;
    let count = usize::try_from(before.failed_trials).unwrap();
    assert_eq!(trials.iter().filter(|trial| trial.attempt == Some(2)).count(), count);
    assert_eq!(trials.len(), 8 + count);
    worker.stop().await;
}

async fn pruned(house: &House, run: &str, pruner: serde_json::Value) -> Vec<(u32, TrialStatus)> {
    let space = json!({"slope": {"low": 0.0, "high": 1.0}, "seconds": [0.01], "free": [house.held()]});
    let mut body = request(run, "learns_in_steps", space, json!({"max_trials": 16, "parallelism": 2}));
    body["parameters"] = json!({"pruner": pruner});
    house.request(body).await;
    house.ended(run).await;
    house.trials(run).await.iter().map(|trial| (trial.number.unwrap(), trial.status)).collect()
}

#[tokio::test]
async fn pruned_trials_are_the_same_whoever_is_killed_in_between() {
    let house = House::open().await;
    for pruner in [json!({"name": "median", "startup_trials": 2}), json!("halving")] {
        let name = pruner.get("name").unwrap_or(&pruner).as_str().unwrap().to_owned();
        house.free(ALL);
        let victim = house.worker(&ARGUMENTS).await;
        let whole = pruned(&house, &format!("whole-{name}"), pruner.clone()).await;
        let count = whole.iter().filter(|(_, status)| *status == TrialStatus::Pruned).count();
        assert!((1..16).contains(&count), "{name}: {whole:?}");
        let run = format!("killed-{name}");
        house.free(4);
        let killing = async {
            house.trained(&run, 4).await;
            victim.kill_hard().await;
            house.free(ALL);
            house.worker(&ARGUMENTS).await
        };
        let (killed, worker) = tokio::join!(pruned(&house, &run, pruner), killing);
        assert_eq!(killed, whole, "{name}");
        let reported =
            house.events(&run).await.into_iter().filter(|event| matches!(event, Event::MetricReported(_)));
        assert!(reported.count() < 160, "a pruned trial learns of it and stops");
        assert_eq!(house.record(&run).await.unwrap().worker_losses, 1);
        worker.stop().await;
    }
}
