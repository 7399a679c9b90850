//! Runs that bring their own search: `run_nas(spec, opts)`.

use std::time::Duration;

use schemas::event::{FinalStatus, MlRunFinalized, RunCompleted, TrialStatus};
use schemas::lifecycle::{Lifecycle, RunState};
use schemas::{Event, FailureClass, Origin};
use serde_json::{Value, json};
use testkit::wait_until;
use tokio::io::AsyncReadExt as _;

use crate::house::{ALL, GONE, House, PATIENCE, PROMISED, cancelled, least};

const ARGUMENTS: [&str; 8] =
    ["--slots", "1", "--preload", "noop", "--allow-entrypoint", "searches:*", "--retry-backoff-ms", "20"];

fn request(run: &str, function: &str, space: Value, budget: Value) -> Value {
    json!({"run_id": run, "dataset_id": "whatever it calls its data", "entrypoint": format!("searches:{function}"),
        "seed": 7, "search_space": space, "budget": budget})
}

async fn completed(house: &House, run: &str) -> (MlRunFinalized, RunCompleted) {
    let events = house.events(run).await;
    let [.., Event::MlRunFinalized(finalized), Event::RunCompleted(end)] = &events[..] else {
        panic!("{run} did not complete: {:?}", events.last())
    };
    (finalized.clone(), end.clone())
}

#[tokio::test]
async fn its_trials_come_out_as_events_while_it_runs_and_its_result_at_its_end() {
    let house = House::open().await;
    let worker = house.worker(&ARGUMENTS).await;
    let go = house.scratch.join("go");
    house
        .request(request("mine", "tells_three_and_waits", json!({"go": go}), json!({"max_trials": 5})))
        .await;
    house.trained("mine", 3).await;
    assert!(!house.record("mine").await.unwrap().state.is_final(), "it waits for us");
    std::fs::write(&go, "").unwrap();
    let record = house.ended("mine").await;
    assert_eq!((record.state, record.completed_trials, record.failed_trials), (RunState::Completed, 3, 0));
    let events = house.events("mine").await;
    let mut life = Lifecycle::default();
    events.iter().for_each(|event| life.apply(event).unwrap());
    let trials = house.trials("mine").await;
    for (number, trial) in (0..).zip(&trials) {
        assert_eq!(
            (trial.number, trial.status, trial.attempt),
            (Some(number), TrialStatus::Succeeded, Some(1))
        );
        assert_eq!(trial.parameters.0["n"], number);
        let is_its =
            |event: &&Event| matches!(event, Event::MetricReported(m) if m.trial_id == trial.trial_id);
        assert_eq!(events.iter().filter(is_its).count(), 1, "what it reported on its way");
    }
    let (finalized, end) = completed(&house, "mine").await;
    assert_eq!((end.best_metric.unwrap().0, &end.best_model.0), (0.9, &json!({"layers": [8]})));
    assert_eq!(end.best_trial_id.as_deref(), Some("mine-t00001"));
    assert_eq!(end.population_history.0[0]["best"], 0.9);
    assert_eq!((finalized.status, finalized.returncode), (FinalStatus::Succeeded, Some(0)));
    assert_eq!(finalized.payload.0["metadata"]["tau"], 1.0);
    assert!(
        finalized.warnings.iter().any(|warning| warning.contains("/etc/passwd")),
        "{:?}",
        finalized.warnings
    );
    let [file] = &end.artifact_refs[..] else { panic!("{:?}", end.artifact_refs) };
    assert_eq!(file.uri, "nats://cerebros_artifacts/mine/run/model.txt");
    let store = house.broker.jetstream.get_object_store("cerebros_artifacts").await.unwrap();
    let mut content = String::new();
    store.get("mine/run/model.txt").await.unwrap().read_to_string(&mut content).await.unwrap();
    assert_eq!(content, "a model");
    worker.stop().await;
}

#[tokio::test]
async fn an_entry_point_nobody_allowed_is_refused_and_becomes_a_dead_letter() {
    let house = House::open().await;
    let worker = house.worker(&ARGUMENTS).await;
    for (run, entry) in [("foreign", "os:system"), ("script", "script:run_nas"), ("nonsense", "searches")] {
        house.request(json!({"run_id": run, "dataset_id": "x", "entrypoint": entry})).await;
        let record = house.ended(run).await;
        let failure = record.failure.unwrap();
        assert_eq!((record.state, failure.class), (RunState::Failed, FailureClass::EntrypointRefused));
        assert!(failure.message.contains("--allow-entrypoint"), "{}", failure.message);
    }
    wait_until("all are dead letters", PATIENCE, async || {
        (house.dead_letters().await.len() == 3).then_some(())
    })
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn what_it_returns_or_raises_is_its_failure_in_its_own_words() {
    let house = House::open().await;
    let worker = house.worker(&ARGUMENTS).await;
    for (function, class, words) in [
        ("says_it_failed", FailureClass::UserCode, "the cluster said no"),
        ("raises", FailureClass::UserCode, "no such thing"),
        ("forgets_the_best", FailureClass::ParseError, "best_metric is missing"),
        ("reports_nonsense", FailureClass::UserCode, "metrics"),
        ("is_not_there", FailureClass::Validation, "has no function"),
    ] {
        house.request(request(function, function, json!({}), json!({}))).await;
        let record = house.ended(function).await;
        let failure = record.failure.unwrap();
        assert_eq!((record.state, failure.class), (RunState::Failed, class), "{function}");
        assert_eq!(failure.origin, Origin::User, "{function}");
        assert!(failure.message.contains(words), "{function}: {}", failure.message);
        let is_said =
            |event: &Event| matches!(event, Event::RunException(e) if e.op.as_deref() == Some("run_nas"));
        assert!(house.events(function).await.iter().any(is_said), "{function}");
    }
    worker.stop().await;
}

#[tokio::test]
async fn budgets_of_trials_and_failures_are_never_overshot() {
    let house = House::open().await;
    let worker = house.worker(&ARGUMENTS).await;
    house.request(request("many", "tells_without_end", json!({}), json!({"max_trials": 24}))).await;
    let record = house.ended("many").await;
    assert_eq!((record.state, record.completed_trials), (RunState::Completed, 24));
    assert_eq!(record.ended_by.as_deref(), Some("max_trials"));
    assert_eq!(house.trials("many").await.len(), 24);
    let (_, end) = completed(&house, "many").await;
    assert_eq!((end.status.as_str(), end.best_metric.unwrap().0), ("max_trials", 23.0 / 10_000.0));
    assert_eq!(end.best_model.0, json!({"n": 23}), "the best of what it told");

    let budget = json!({"max_trials": 50, "max_failed_trials": 3});
    house.request(request("failing", "fails_without_end", json!({}), budget)).await;
    let record = house.ended("failing").await;
    assert_eq!((record.state, record.failed_trials), (RunState::Failed, 3));
    assert_eq!(record.ended_by.as_deref(), Some("max_failed_trials"));
    assert!(record.failure.unwrap().message.contains("it broke"));
    assert_eq!(house.trials("failing").await.len(), 3);
    worker.stop().await;
}

#[tokio::test]
async fn the_time_of_the_run_and_of_a_trial_end_it_and_the_best_so_far_stays() {
    let house = House::open().await;
    let worker = house.worker(&[&["--slots", "2"], &ARGUMENTS[2..]].concat()).await;
    // Both at once, each with time enough to tell its two.
    for (run, budget) in
        [("run-time", json!({"max_seconds": 6.0})), ("trial-time", json!({"max_trial_seconds": 5.0}))]
    {
        house.request(request(run, "tells_two_and_hangs", json!({}), budget)).await;
    }
    let record = house.ended("run-time").await;
    assert_eq!((record.state, record.ended_by.as_deref()), (RunState::Completed, Some("max_seconds")));
    assert_eq!(record.best_metric.unwrap().0, 0.6);
    let record = house.ended("trial-time").await;
    assert_eq!((record.state, record.completed_trials), (RunState::Failed, 2));
    assert_eq!(record.failure.unwrap().class, FailureClass::TimeoutTrial);
    nobody_is_left(worker.pid(), 2).await;
    worker.stop().await;
}

/// Under a worker there is one warm child a slot at most, and nothing a function has started.
async fn nobody_is_left(worker: u32, slots: usize) {
    wait_until("only the children of the slots are left", GONE, async || {
        (testkit::processes::descendants(worker).len() <= slots).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_cancel_stops_the_function_and_what_it_started_within_two_seconds() {
    let house = House::open().await;
    let worker = house.worker(&ARGUMENTS).await;
    let took = least(PROMISED, async |number| {
        let run = format!("long-{number}");
        house.request(request(&run, "tells_two_and_hangs", json!({}), json!({}))).await;
        house.trained(&run, 2).await;
        let (took, record) = cancelled(&house, &run).await;
        assert_eq!((record.state, record.completed_trials), (RunState::Cancelled, 2));
        nobody_is_left(worker.pid(), 1).await;
        took
    })
    .await;
    assert!(took < PROMISED, "{took:?}");
    worker.stop().await;
}

#[tokio::test]
async fn a_process_that_dies_once_is_called_again_and_known_trials_are_stored_once() {
    let house = House::open().await;
    let worker = house.worker(&ARGUMENTS).await;
    let marks = house.scratch.path();
    house.request(request("once", "dies_the_first_time", json!({"marks": marks}), json!({}))).await;
    let record = house.ended("once").await;
    assert_eq!((record.state, record.attempt, record.completed_trials), (RunState::Completed, 1, 1));
    let events = house.events("once").await;
    let retries = events.iter().filter(|event| matches!(event, Event::RunException(e) if e.will_retry));
    assert_eq!((retries.count(), house.trials("once").await.len()), (1, 1));
    let (finalized, _) = completed(&house, "once").await;
    assert_eq!(finalized.payload.0["metadata"]["known"], json!([0]), "the second call is told of it");
    worker.stop().await;
}

fn told(trials: &[schemas::event::TrialReported]) -> Vec<(Option<u32>, Value)> {
    trials.iter().map(|trial| (trial.number, trial.parameters.0.clone())).collect()
}

#[tokio::test]
async fn a_killed_worker_s_run_begins_anew_and_every_trial_is_stored_once() {
    let house = House::open().await;
    let space = json!({"free": house.held()});
    let body = |run| request(run, "draws_from_its_seed", space.clone(), json!({"max_trials": 20}));
    let first = house.worker(&ARGUMENTS).await;
    house.free(6);
    house.request(body("killed")).await;
    house.trained("killed", 6).await;
    first.kill_hard().await;
    house.free(ALL);
    let second = house.worker(&ARGUMENTS).await;
    let record = house.ended("killed").await;
    assert_eq!((record.state, record.attempt, record.worker_losses), (RunState::Completed, 2, 1));
    house.request(body("whole")).await;
    house.ended("whole").await;
    let trials = house.trials("killed").await;
    assert_eq!(told(&trials), told(&house.trials("whole").await));
    let resumed = trials.iter().filter(|trial| trial.attempt == Some(1)).count();
    let (finalized, _) = completed(&house, "killed").await;
    assert_eq!(finalized.payload.0["metadata"]["known"].as_array().unwrap().len(), resumed, "it was told");
    assert!(resumed >= 6);
    second.stop().await;
}

#[tokio::test]
async fn a_worker_that_drains_lets_it_come_to_its_end() {
    let house = House::open().await;
    let worker = house.worker(&ARGUMENTS).await;
    let go = house.scratch.join("go");
    house.request(request("finishing", "tells_three_and_waits", json!({"go": go}), json!({}))).await;
    house.trained("finishing", 3).await;
    worker.signal(nix::sys::signal::Signal::SIGTERM);
    house.says_in_its_log("a second signal stops at once").await;
    std::fs::write(&go, "").unwrap();
    let record = house.ended("finishing").await;
    assert_eq!((record.state, record.attempt, record.interruptions), (RunState::Completed, 1, 0));
}

#[tokio::test]
async fn a_stopped_worker_interrupts_it_and_the_next_begins_anew() {
    let house = House::open().await;
    let first = house.worker(&ARGUMENTS).await;
    house.request(request("drained", "tells_two_and_hangs", json!({}), json!({}))).await;
    house.trained("drained", 2).await;
    let mut first = first;
    // Drain, then now: two signals that do not become one.
    first.signal(nix::sys::signal::Signal::SIGTERM);
    first.signal(nix::sys::signal::Signal::SIGINT);
    tokio::time::timeout(Duration::from_secs(15), first.child.wait()).await.unwrap().unwrap();
    let record = house.record("drained").await.unwrap();
    assert_eq!((record.state, record.interruptions, record.failures), (RunState::Interrupted, 1, 0));
    let second = house.worker(&ARGUMENTS).await;
    wait_until("the second attempt works", PATIENCE, async || {
        house.record("drained").await.filter(|record| record.attempt == 2 && record.running_trials > 0)
    })
    .await;
    house.publish_plain("cerebros.nas.run.cancel_requested", r#"{"run_id": "drained"}"#).await;
    assert_eq!(house.ended("drained").await.state, RunState::Cancelled);
    assert_eq!(house.trials("drained").await.len(), 2, "stored once");
    second.stop().await;
}
