//! Runs that share slots: turns, priorities, more and less at once, and an end for those that wait.

use std::time::Duration;

use schemas::event::TrialStatus;
use schemas::lifecycle::RunState;
use schemas::subject::STREAM;
use schemas::{Event, RunId};
use serde_json::json;
use service_kit::history::History;
use service_kit::registry::{RunRecord, record};

use crate::house::{House, PROMISED, cancelled, least};

const ONE_SLOT: [&str; 6] =
    ["--slots", "1", "--allow-entrypoint", "faulty_trainers:*", "--allow-entrypoint", "searching:*"];

fn slices(run: &str, trials: u32, seconds: f64) -> serde_json::Value {
    json!({"run_id": run, "dataset_id": "digits", "trainer": "faulty_trainers:sleeps_in_slices", "seed": 5,
        "search_space": {"seconds": [seconds]}, "budget": {"max_trials": trials, "parallelism": 8}})
}

/// The runs whose trials ended after this one was asked for, in order.
async fn order_since(house: &House, run: &str) -> Vec<String> {
    let run = RunId::parse(run).unwrap();
    let subjects = ["cerebros.nas.run.requested", "ml.run.trial"];
    let mut history = History::to_the_present(&house.broker, STREAM, &subjects, 1).await.unwrap();
    let mut order = Vec::new();
    while let Some(kept) = history.next().await.unwrap() {
        let event = kept.decode().unwrap().event;
        if let Event::TrialReported(trial) = event {
            order.push(trial.run_id.to_string());
        } else if event.run_id() == Some(&run) {
            order.clear();
        }
    }
    order
}

#[tokio::test]
async fn a_small_run_takes_its_turns_beside_a_big_one_that_keeps_every_slot_busy() {
    let house = House::open().await;
    let worker = house.worker(&ONE_SLOT).await;
    house.request(slices("big", 200, 0.1)).await;
    house.trained("big", 2).await;
    house.request(slices("small", 3, 0.1)).await;
    house.ended("small").await;
    let order = order_since(&house, "small").await;
    let turns: Vec<_> = (0..).zip(&order).filter(|(_, run)| *run == "small").map(|(at, _)| at).collect();
    let [first, _, third] = turns[..] else { panic!("{order:?}") };
    assert!(first < 30, "the big run had {first} trials before the small one had its first");
    assert!(third - first <= 6, "the big run had more than two turns for one of the small one's: {order:?}");
    worker.stop().await;
}

#[tokio::test]
async fn a_run_of_higher_priority_goes_before_those_that_wait() {
    let house = House::open().await;
    let worker = house.worker(&ONE_SLOT).await;
    house.request(slices("low", 60, 0.1)).await;
    house.trained("low", 2).await;
    let mut high = slices("high", 6, 0.1);
    high["priority"] = json!(50);
    house.request(high).await;
    house.ended("high").await;
    let order = order_since(&house, "high").await;
    let first = order.iter().position(|run| run == "high").unwrap();
    let between = order[first..].iter().take_while(|run| *run != "low").count();
    assert!(between >= 5, "once it is there it is not interrupted: {order:?}");
    worker.stop().await;
}

#[tokio::test]
async fn a_run_that_is_scaled_down_has_fewer_trials_under_way() {
    let house = House::open().await;
    let worker = house.worker(&["--slots", "2", "--allow-entrypoint", "faulty_trainers:*"]).await;
    house.request(slices("scaled", 400, 0.1)).await;
    house.trained("scaled", 4).await;
    let run = RunId::parse("scaled").unwrap();
    let one = |known: Option<&RunRecord>| (record::scale(known, &run, None, 1).0, ());
    house.registry.change(&run, one).await.unwrap();
    testkit::wait_until("one trial is under way", crate::house::PATIENCE, async || {
        (house.record("scaled").await?.running_trials == 1).then_some(())
    })
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn a_run_that_waits_in_the_queue_is_cancelled_within_two_seconds() {
    let house = House::open().await;
    // Nobody takes requests: the gates of the queue are those of a worker that is full.
    let worker = house.worker(&ONE_SLOT).await;
    for number in 0..80 {
        house.request(slices(&format!("busy-{number}"), 500, 5.0)).await;
    }
    house.training("busy-0").await;
    let took = least(PROMISED, async |number| {
        let run = format!("queued-{number}");
        house.request(slices(&run, 3, 0.1)).await;
        assert!(house.record(&run).await.is_none(), "it waits");
        let (took, record) = cancelled(&house, &run).await;
        assert_eq!((record.state, record.dataset_id.as_str()), (RunState::Cancelled, "digits"));
        let reason = |event| if let Event::RunCancelled(end) = event { Some(end.reason) } else { None };
        let reasons: Vec<_> = house.events(&run).await.into_iter().filter_map(reason).collect();
        assert_eq!(reasons, [Some("enough".to_owned())]);
        took
    })
    .await;
    assert!(took < PROMISED, "{took:?}");
    // The request is still in the queue, and has no effect when it is handed over.
    worker.kill_hard().await;
}

#[tokio::test]
async fn a_run_is_cancelled_within_two_seconds_while_the_worker_drains() {
    let house = House::open().await;
    let took = least(PROMISED, async |number| {
        let mut worker = house.worker(&ONE_SLOT).await;
        let run = format!("draining-{number}");
        house.request(slices(&run, 10, 60.0)).await;
        house.training(&run).await;
        worker.signal(nix::sys::signal::Signal::SIGTERM);
        let (took, record) = cancelled(&house, &run).await;
        assert_eq!(record.state, RunState::Cancelled);
        let status =
            tokio::time::timeout(Duration::from_secs(30), worker.child.wait()).await.unwrap().unwrap();
        assert!(status.success());
        assert!(house.trials(&run).await.iter().all(|trial| trial.status == TrialStatus::Cancelled));
        took
    })
    .await;
    assert!(took < PROMISED, "{took:?}");
}
