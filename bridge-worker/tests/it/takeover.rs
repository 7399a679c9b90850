//! Workers that are killed, stopped, frozen: the run goes on, nothing is trained twice, nothing is said twice.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use schemas::Event;
use schemas::event::TrialReported;
use schemas::lifecycle::RunState;
use serde_json::json;

use crate::house::House;

fn forty(run: &str) -> serde_json::Value {
    json!({"run_id": run, "dataset_id": "digits", "trainer": "faulty_trainers:sleeps_in_slices", "seed": 5,
        "search_space": {"seconds": [0.05], "x": {"low": 0.0, "high": 1.0}},
        "budget": {"max_trials": 20, "population_size": 5, "parallelism": 2}})
}

const ARGUMENTS: [&str; 4] = ["--slots", "2", "--allow-entrypoint", "faulty_trainers:*"];

fn told(trials: &[TrialReported]) -> BTreeMap<u32, (serde_json::Value, Option<i64>)> {
    trials.iter().map(|trial| (trial.number.unwrap(), (trial.parameters.0.clone(), trial.seed))).collect()
}

#[tokio::test]
async fn a_killed_worker_s_run_is_finished_by_the_next_with_the_same_trials() {
    let house = House::open().await;
    let first = house.worker(&ARGUMENTS).await;
    house.request(forty("killed")).await;
    house.trained("killed", 6).await;
    first.kill_hard().await;
    // The broker hands the request over again once the dead worker's lease has run out.
    let second = house.worker(&ARGUMENTS).await;
    let record = house.ended("killed").await;
    assert_eq!((record.state, record.attempt), (RunState::Completed, 2));
    assert_eq!((record.worker_losses, record.interruptions, record.failures), (1, 0, 0));
    house.request(forty("undisturbed")).await;
    house.ended("undisturbed").await;
    let trials = house.trials("killed").await;
    assert_eq!(trials.len(), 20, "each trial exactly once");
    assert_eq!(told(&trials), told(&house.trials("undisturbed").await));
    let ends = house.events("killed").await.iter().filter(|event| event.is_terminal()).count();
    assert_eq!(ends, 1);
    second.stop().await;
}

#[tokio::test]
async fn a_stopped_worker_interrupts_its_run_at_no_cost_and_the_next_goes_on_at_once() {
    let house = House::open().await;
    let first = house.worker(&ARGUMENTS).await;
    house.request(forty("drained")).await;
    house.trained("drained", 4).await;
    first.stop().await;
    let record = house.record("drained").await.unwrap();
    assert_eq!((record.state, record.interruptions), (RunState::Interrupted, 1));
    let second = house.worker(&ARGUMENTS).await;
    let record = house.ended("drained").await;
    assert_eq!((record.state, record.attempt, record.worker_losses), (RunState::Completed, 2, 0));
    assert_eq!(house.trials("drained").await.len(), 20);
    let started: Vec<u32> = house
        .events("drained")
        .await
        .iter()
        .filter_map(
            |event| if let Event::RunStarted(started) = event { Some(started.resumed_trials) } else { None },
        )
        .collect();
    assert!(started[0] == 0 && started[1] >= 4, "{started:?}");
    second.stop().await;
}

#[tokio::test]
async fn a_frozen_worker_s_events_are_refused_when_another_has_taken_over() {
    let house = House::open().await;
    let frozen = house.worker(&ARGUMENTS).await;
    house.request(forty("frozen")).await;
    house.trained("frozen", 3).await;
    frozen.signal(Signal::SIGSTOP);
    let second = house.worker(&ARGUMENTS).await;
    let record = house.ended("frozen").await;
    assert_eq!((record.state, record.attempt), (RunState::Completed, 2));
    let before = house.events("frozen").await.len();
    frozen.signal(Signal::SIGCONT);
    // The thawed worker learns from the registry that it is stale; stopping it proves that it let the run go.
    frozen.stop().await;
    assert_eq!(house.events("frozen").await.len(), before, "a stale attempt said nothing more");
    assert_eq!(house.trials("frozen").await.len(), 20);
    second.stop().await;
}

#[tokio::test]
async fn a_broker_that_is_killed_and_restarted_mid_run_costs_nothing() {
    let mut house = House::open().await;
    let worker = house.worker(&ARGUMENTS).await;
    house.request(forty("outage")).await;
    house.trained("outage", 4).await;
    house.nats.kill().await;
    house.nats.restart().await;
    let record = house.ended("outage").await;
    assert_eq!((record.state, record.completed_trials), (RunState::Completed, 20));
    assert_eq!(house.trials("outage").await.len(), 20);
    tokio::time::timeout(Duration::from_secs(60), worker.stop()).await.unwrap();
}
