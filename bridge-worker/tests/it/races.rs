//! What breaks the worker: races, losses, and what comes at the wrong moment. Every test here states what should hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bridge_worker::fault::{Fault, Faults};
use bridge_worker::steps::Step;
use schemas::event::{RunRequested, TrialStatus};
use schemas::lifecycle::RunState;
use schemas::{Event, RunId, Timestamp};
use serde_json::json;
use service_kit::fence::Fence;
use service_kit::registry::record::{self, Claim, Claimant, claim};
use testkit::wait_until;

use crate::house::{House, PATIENCE, PROMISED, least};
use crate::steps::{once, serve, set_ack_wait, shorten_ack_wait, slots, worker};
use crate::tries::request;

const ARGUMENTS: [&str; 6] =
    ["--slots", "2", "--allow-entrypoint", "searching:*", "--allow-entrypoint", "faulty_trainers:*"];

async fn cancel(house: &House, run: &str) {
    let body = json!({"run_id": run, "reason": "enough"}).to_string();
    house.publish_plain("cerebros.nas.run.cancel_requested", body).await;
}

#[tokio::test]
async fn a_trial_that_reports_without_pause_is_killed_at_its_limit() {
    let house = House::open().await;
    let worker = house.worker(&ARGUMENTS).await;
    let budget = json!({"max_trials": 1, "max_trial_seconds": 2.0});
    house.request(request("chatty", "reports_without_pause", json!({"seconds": [60]}), budget)).await;
    house.ended("chatty").await;
    let trial = house.trials("chatty").await.pop().unwrap();
    let took = trial.duration_ms.unwrap();
    // The start of a child on a busy machine is in it; left alone it would go on for a minute.
    assert!(took < 40_000, "max_trial_seconds is 2 and it took {took} ms: {:?}", trial.status);
    worker.stop().await;
}

#[tokio::test]
async fn a_run_whose_registry_key_vanishes_trains_no_trial_twice() {
    let house = House::open().await;
    // Whoever lost the run gives no word about its request any more: it comes again when the lease has run out.
    set_ack_wait(&house, Duration::from_secs(5)).await;
    let worker = house.worker(&ARGUMENTS).await;
    let space = json!({"seconds": [0.5], "x": {"low": 0.0, "high": 1.0}});
    house.request(request("keyless", "sleeps", space, json!({"max_trials": 30, "parallelism": 2}))).await;
    house.trained("keyless", 6).await;
    let bucket = house.broker.jetstream.get_key_value("cerebros_runs").await.unwrap();
    bucket.purge("keyless").await.unwrap();
    let before = house.trials("keyless").await.len();
    let record = house.ended("keyless").await;
    assert_eq!(record.state, RunState::Completed);
    let starts: Vec<_> = house
        .events("keyless")
        .await
        .into_iter()
        .filter_map(|event| {
            if let Event::RunStarted(start) = event {
                Some((start.attempt, start.resumed_trials))
            } else {
                None
            }
        })
        .collect();
    // Trained twice within the duplicate window is not to be seen as an event; the start says what was resumed.
    assert!(
        starts.len() < 2 || starts[1].1 as usize >= before,
        "{before} trials were confirmed; starts (attempt, resumed): {starts:?}"
    );
    worker.stop().await;
}

#[tokio::test]
async fn files_of_an_interrupted_run_that_is_cancelled_are_marked() {
    let house = House::open().await;
    let first = house.worker(&ARGUMENTS).await;
    let space = json!({"kind": ["good"], "score": {"low": 0.0, "high": 1.0}});
    house
        .request(request("files", "leaves_a_file", space, json!({"max_trials": 100_000, "parallelism": 1})))
        .await;
    house.trained("files", 3).await;
    first.stop().await;
    assert_eq!(house.record("files").await.unwrap().state, RunState::Interrupted);
    cancel(&house, "files").await;
    let second = house.worker(&["--slots", "2", "--allow-entrypoint", "searching:*"]).await;
    assert_eq!(house.ended("files").await.state, RunState::Cancelled);
    let best = house.record("files").await.unwrap().best_trial_id.unwrap();
    let store = house.broker.jetstream.get_object_store("cerebros_artifacts").await.unwrap();
    let info = store.info(format!("files/{best}/model.bin")).await.unwrap();
    assert_eq!(info.description.as_deref(), Some("of a run that ended as cancelled"));
    second.stop().await;
}

#[tokio::test]
async fn a_restart_that_waits_in_the_queue_can_be_cancelled() {
    let house = House::open().await;
    let worker = house.worker(&["--slots", "1", "--allow-entrypoint", "searching:*"]).await;
    let body = request("again", "fails_if_told", json!({"kind": ["bad"]}), json!({"max_trials": 1}));
    house.request(body.clone()).await;
    assert_eq!(house.ended("again").await.state, RunState::Failed);
    for number in 0..30 {
        let budget = json!({"max_trials": 5, "parallelism": 1});
        house.request(request(&format!("busy-{number}"), "sleeps", json!({"seconds": [30]}), budget)).await;
    }
    wait_until("hands full", PATIENCE, async || house.record("busy-12").await).await;
    house.request(body).await;
    cancel(&house, "again").await;
    // The runs before it take much longer.
    wait_until("the restart is cancelled", Duration::from_secs(30), async || {
        house.record("again").await.filter(|record| record.state == RunState::Cancelled)
    })
    .await;
    worker.kill_hard().await;
}

#[tokio::test]
async fn every_retry_is_said_also_without_a_pause() {
    let house = House::open().await;
    let worker =
        house.worker(&[&ARGUMENTS[..], &["--max-retries", "4", "--retry-backoff-ms", "0"]].concat()).await;
    house.request(request("hasty", "lacks_a_package", json!({"x": [1]}), json!({"max_trials": 1}))).await;
    house.ended("hasty").await;
    let retries = house.events("hasty").await.into_iter();
    let count = retries
        .filter(|event| matches!(event, Event::RunException(exception) if exception.will_retry))
        .count();
    assert_eq!(count, 4);
    worker.stop().await;
}

#[tokio::test]
async fn a_run_id_with_a_fence_of_an_older_life_completes() {
    let house = House::open().await;
    shorten_ack_wait(&house).await;
    let slots = slots(&house).await;
    let run = RunId::parse("reborn").unwrap();
    Fence::new(&house.broker, &run, 12).raise().await.unwrap();
    let worker = worker(&house, "w", slots.clone(), Faults::default()).await;
    house.request(json!({"run_id": "reborn", "dataset_id": "digits", "trainer": "noop", "seed": 3, "budget": {"max_trials": 3}})).await;
    serve(&house, &worker, "reborn").await;
    let record = house.record("reborn").await.unwrap();
    assert_eq!(
        (record.state, record.worker_losses),
        (RunState::Completed, 0),
        "attempt {} {:?}",
        record.attempt,
        record.failure
    );
    slots.close().await;
}

#[tokio::test]
async fn a_refused_request_becomes_a_dead_letter_also_when_its_worker_dies_before_it_settles() {
    let house = House::open().await;
    shorten_ack_wait(&house).await;
    let slots = slots(&house).await;
    let dying = worker(&house, "w", slots.clone(), once(Step::Settle, Fault::DieBefore)).await;
    house.request(json!({"run_id": "refused", "dataset_id": "digits", "trainer": "keras"})).await;
    serve(&house, &dying, "refused").await;
    assert_eq!(house.record("refused").await.unwrap().state, RunState::Failed);
    assert_eq!(house.dead_letters().await.len(), 1);
    slots.close().await;
}

#[tokio::test]
async fn a_retried_run_whose_worker_dies_after_its_end_was_said_has_unmarked_files() {
    let house = House::open().await;
    shorten_ack_wait(&house).await;
    let slots = slots(&house).await;
    let asked = Arc::new(AtomicU32::new(0));
    let faults = Faults::new(move |at| {
        let is_first = at == Step::Gate;
        let before = asked.fetch_add(u32::from(is_first), Ordering::Relaxed);
        let attempts = (before - u32::from(!is_first)) / 2;
        let failure = schemas::Failure::new(schemas::FailureClass::Dependency, schemas::Stage::Execute, "x");
        match (at, attempts) {
            (Step::Check, 0) => Some(Fault::Fail(failure)),
            (Step::End, 1) => Some(Fault::DieAfter),
            _ => None,
        }
    });
    let worker = worker(&house, "w", slots.clone(), faults).await;
    let body = json!({"run_id": "files", "dataset_id": "digits", "trainer": "searching:leaves_a_file",
        "search_space": {"kind": ["good"], "score": {"low": 0.0, "high": 1.0}}, "seed": 3,
        "budget": {"max_trials": 3, "parallelism": 1}});
    house.request(body.clone()).await;
    serve(&house, &worker, "files").await;
    assert_eq!(house.record("files").await.unwrap().state, RunState::Failed);
    house.request(body).await;
    serve(&house, &worker, "files").await;
    let record = house.record("files").await.unwrap();
    assert_eq!(record.state, RunState::Completed);
    let store = house.broker.jetstream.get_object_store("cerebros_artifacts").await.unwrap();
    let info = store.info(format!("files/{}/model.bin", record.best_trial_id.unwrap())).await.unwrap();
    assert_eq!(info.description, None, "its run completed");
    slots.close().await;
}

#[test]
fn a_queued_run_that_is_cancelled_and_claimed_at_once_has_lost_no_worker() {
    let (run_id, request) = (RunId::parse("r").unwrap(), RunRequested::new("digits"));
    let now = Timestamp::from_micros(1);
    let asks = |delivery, worker_id| Claimant {
        run_id: &run_id,
        request: &request,
        sequence: 7,
        delivery,
        is_retry_of_failed: false,
        is_owner_gone: false,
        requested_at: now,
        worker_id,
    };
    let cancelled = record::request_cancel(None, &run_id, "x", now);
    let (by_cancel, first) = claim(cancelled.as_ref(), &asks(0, "canceller"), now);
    assert_eq!(first, Claim::Cancelled { attempt: 1 });
    let (by_queue, second) = claim(by_cancel.as_ref(), &asks(1, "taker"), now);
    assert!(
        second == Claim::Stale || by_queue.as_ref().unwrap().worker_losses == 0,
        "{second:?} {:?}",
        by_queue.map(|record| record.worker_losses)
    );
}

#[tokio::test]
async fn failed_trials_are_never_more_than_allowed() {
    let house = House::open().await;
    let worker = house.worker(&["--slots", "2", "--allow-entrypoint", "searching:*"]).await;
    let mut over = Vec::new();
    for number in 0..10 {
        let run = format!("failing-{number}");
        let budget = json!({"max_trials": 60, "parallelism": 8, "max_failed_trials": 3});
        house.request(request(&run, "fails_if_told", json!({"kind": ["bad"]}), budget)).await;
        let record = house.ended(&run).await;
        assert_eq!(record.ended_by.as_deref(), Some("max_failed_trials"));
        over.push(record.failed_trials);
    }
    assert!(over.iter().all(|failed| *failed == 3), "budget.max_failed_trials is 3: {over:?}");
    worker.stop().await;
}

#[tokio::test]
async fn a_run_that_only_waited_for_a_slot_is_not_given_up_for_workers_another_took_down() {
    let house = House::open().await;
    let budget = |trials: u32| json!({"max_trials": trials, "parallelism": 1});
    house.request(request("culprit", "sleeps", json!({"seconds": [600]}), budget(2))).await;
    let mut worker = house.worker(&["--slots", "1", "--allow-entrypoint", "searching:*"]).await;
    wait_until("culprit trains", PATIENCE, async || house.record("culprit").await).await;
    // Enough trials not to be over, should it get the slot first now and then.
    house.request(request("innocent", "sleeps", json!({"seconds": [0.1]}), budget(30))).await;
    for loss in 1..=9 {
        wait_until("both are in hand, and culprit has the slot", PATIENCE, async || {
            let (culprit, innocent) = (house.record("culprit").await?, house.record("innocent").await?);
            let is_training = culprit.running_trials == 1 && innocent.running_trials == 0;
            (is_training && culprit.attempt >= loss && innocent.attempt >= loss).then_some(())
        })
        .await;
        worker.kill_hard().await;
        worker = house.worker(&["--slots", "1", "--allow-entrypoint", "searching:*"]).await;
    }
    let record = house.ended("innocent").await;
    assert_eq!(record.state, RunState::Completed, "{:?}", record.failure);
    assert_eq!((record.worker_losses, record.losses_at_work), (9, 0));
    worker.kill_hard().await;
}

#[tokio::test]
async fn a_stray_event_of_a_high_attempt_does_not_keep_a_run_from_going_on() {
    let house = House::open().await;
    shorten_ack_wait(&house).await;
    let slots = slots(&house).await;
    let dying = worker(&house, "w", slots.clone(), once(Step::Announce, Fault::DieAfter)).await;
    house.request(json!({"run_id": "stray", "dataset_id": "digits", "trainer": "noop", "seed": 3, "budget": {"max_trials": 3}})).await;
    let stray = json!({"run_id": "stray", "attempt": 100_000, "worker_id": "x", "dataset_id": "digits", "objective": "accuracy", "resumed_trials": 0});
    house.publish_plain("cerebros.nas.run.started", stray.to_string()).await;
    let served = tokio::time::timeout(Duration::from_secs(60), serve(&house, &dying, "stray")).await;
    let record = house.record("stray").await.unwrap();
    assert!(
        served.is_ok() && record.state == RunState::Completed,
        "after 60 s: {:?} attempt {} losses {}",
        record.state,
        record.attempt,
        record.worker_losses
    );
    slots.close().await;
}

#[tokio::test]
async fn time_of_an_attempt_whose_worker_was_lost_counts() {
    let house = House::open().await;
    let first = house.worker(&ARGUMENTS).await;
    let budget = json!({"max_trials": 3, "parallelism": 1, "max_seconds": 13.0});
    house.request(request("slow", "sleeps", json!({"seconds": [12.0]}), budget)).await;
    house.training("slow").await;
    wait_until("much of the time is used, and noted", PATIENCE, async || {
        house.record("slow").await.filter(|record| record.active_ms >= 3000)
    })
    .await;
    first.kill_hard().await;
    let second = house.worker(&ARGUMENTS).await;
    let record = house.ended("slow").await;
    let end = house.events("slow").await.into_iter().rev().find(Event::is_terminal).unwrap();
    assert_eq!(record.ended_by.as_deref(), Some("max_seconds"), "{end:?}");
    let started: Vec<_> = house
        .events("slow")
        .await
        .into_iter()
        .filter(|event| matches!(event, Event::RunStarted(_)))
        .collect();
    assert_eq!(started.len(), 2);
    // 3 s and more were used by the first attempt, so that the second has 10 s, too few for a trial of 12 s.
    assert_eq!(
        house.trials("slow").await.iter().filter(|trial| trial.status == TrialStatus::Succeeded).count(),
        0
    );
    second.stop().await;
}

/// Has all of these cancelled; how long that takes.
async fn all_cancelled(house: &House, runs: &[String]) -> Duration {
    let asked = Instant::now();
    for run in runs {
        cancel(house, run).await;
    }
    for run in runs {
        assert_eq!(house.ended(run).await.state, RunState::Cancelled);
    }
    asked.elapsed()
}

#[tokio::test]
async fn ten_queued_runs_are_all_cancelled_within_two_seconds() {
    let house = House::open().await;
    let worker = house.worker(&["--slots", "1", "--allow-entrypoint", "searching:*"]).await;
    for number in 0..16 {
        let budget = json!({"max_trials": 5, "parallelism": 1});
        house.request(request(&format!("busy-{number}"), "sleeps", json!({"seconds": [60]}), budget)).await;
    }
    wait_until("hands full", PATIENCE, async || house.record("busy-15").await).await;
    let took = least(PROMISED, async |round| {
        let queued: Vec<String> = (0..10).map(|number| format!("queued-{round}-{number}")).collect();
        for run in &queued {
            let budget = json!({"max_trials": 5});
            house.request(request(run, "sleeps", json!({"seconds": [1]}), budget)).await;
        }
        all_cancelled(&house, &queued).await
    })
    .await;
    assert!(took < PROMISED, "{took:?}");
    let busy: Vec<String> = (0..16).map(|number| format!("busy-{number}")).collect();
    let took = all_cancelled(&house, &busy).await;
    // A trial takes a minute, and the moment of grace the one that trains has is no other's.
    assert!(took < Duration::from_secs(10), "in hand: {took:?}");
    worker.kill_hard().await;
}
