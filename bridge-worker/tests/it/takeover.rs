//! Workers that are killed, stopped, frozen: the run goes on, nothing is trained twice, nothing is said twice.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use schemas::Event;
use schemas::event::TrialReported;
use schemas::lifecycle::RunState;
use serde_json::json;
use testkit::{Fault, Proxy, wait_until};

use crate::house::{ALL, House, PATIENCE};
use crate::steps::set_ack_wait;

/// Twenty trials, which end as the house frees them.
fn twenty(house: &House, run: &str) -> serde_json::Value {
    json!({"run_id": run, "dataset_id": "digits", "trainer": "faulty_trainers:sleeps_in_slices", "seed": 5,
        "search_space": {"seconds": [0.05], "x": {"low": 0.0, "high": 1.0}, "free": [house.held()]},
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
    house.free(6);
    house.request(twenty(&house, "killed")).await;
    house.trained("killed", 6).await;
    first.kill_hard().await;
    house.free(ALL);
    // The broker hands the request over again once the dead worker's lease has run out.
    let second = house.worker(&ARGUMENTS).await;
    let record = house.ended("killed").await;
    assert_eq!((record.state, record.attempt), (RunState::Completed, 2));
    assert_eq!((record.worker_losses, record.interruptions, record.failures), (1, 0, 0));
    house.request(twenty(&house, "undisturbed")).await;
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
    house.free(4);
    house.request(twenty(&house, "drained")).await;
    house.trained("drained", 4).await;
    first.stop_held(&house, 6).await;
    let record = house.record("drained").await.unwrap();
    assert_eq!((record.state, record.interruptions), (RunState::Interrupted, 1));
    house.free(ALL);
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
    // How soon the broker gives the frozen worker up.
    set_ack_wait(&house, Duration::from_secs(5)).await;
    let frozen = house.worker(&ARGUMENTS).await;
    house.free(3);
    house.request(twenty(&house, "frozen")).await;
    house.trained("frozen", 3).await;
    frozen.signal(Signal::SIGSTOP);
    house.free(ALL);
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
    house.free(4);
    house.request(twenty(&house, "outage")).await;
    house.trained("outage", 4).await;
    house.nats.kill().await;
    house.free(ALL);
    house.nats.restart().await;
    let record = house.ended("outage").await;
    assert_eq!((record.state, record.completed_trials), (RunState::Completed, 20));
    assert_eq!(house.trials("outage").await.len(), 20);
    tokio::time::timeout(Duration::from_secs(60), worker.stop()).await.unwrap();
}

/// Twice as many trials, twice as long each.
fn long(house: &House, run: &str) -> serde_json::Value {
    let mut request = twenty(house, run);
    request["search_space"]["seconds"] = json!([0.15]);
    request["budget"]["max_trials"] = json!(40);
    request
}

/// A worker that is up soon: its children import nothing.
const QUICK: [&str; 6] = ["--slots", "2", "--preload", "noop", "--allow-entrypoint", "faulty_trainers:*"];

/// The run has the trials of an undisturbed one, each said once, and one end.
async fn same_as_undisturbed(house: &House, run: &str) {
    let whole = format!("{run}-undisturbed");
    house.free(ALL);
    house.request(long(house, &whole)).await;
    house.ended(&whole).await;
    let (trials, undisturbed) = (house.trials(run).await, house.trials(&whole).await);
    assert_eq!(trials.len(), 40, "each trial exactly once");
    assert_eq!(told(&trials), told(&undisturbed));
    let best = async |run: &str| house.record(run).await.unwrap().best_metric;
    assert_eq!(best(run).await, best(&whole).await);
    let ends = house.events(run).await.iter().filter(|event| event.is_terminal()).count();
    assert_eq!(ends, 1);
}

#[tokio::test]
async fn a_run_whose_worker_is_killed_twenty_times_ends_like_an_undisturbed_one() {
    let house = House::open().await;
    house.free(0);
    house.request(long(&house, "killed-often")).await;
    for number in 0..20_u32 {
        // Two more for each worker: the last one, too, takes a run that is not over.
        house.free(2 * number);
        let worker = house.worker(&QUICK).await;
        // At once, when it has claimed the run, after a trial, after two. Something has to come of it now and then: a
        // run that only takes workers down is given up. `bench chaos` has moments nobody chose.
        let before = house.trials("killed-often").await.len();
        match number % 4 {
            0 => {}
            1 => {
                wait_until("the run is claimed", PATIENCE, async || {
                    let its = format!("worker-{}-", worker.pid());
                    house.record("killed-often").await?.worker_id?.starts_with(&its).then_some(())
                })
                .await;
            }
            one_or_two => house.trained("killed-often", before + one_or_two as usize - 1).await,
        }
        worker.kill_hard().await;
    }
    house.free(ALL);
    let worker = house.worker(&QUICK).await;
    let record = house.ended("killed-often").await;
    assert_eq!((record.state, record.failures, record.interruptions), (RunState::Completed, 0, 0));
    assert!((10..=20).contains(&record.worker_losses), "{}", record.worker_losses);
    same_as_undisturbed(&house, "killed-often").await;
    worker.stop().await;
}

#[tokio::test]
async fn a_run_that_is_interrupted_five_times_has_failed_not_once() {
    let house = House::open().await;
    house.free(0);
    house.request(long(&house, "interrupted")).await;
    for attempt in 1..=5 {
        house.free(5 * attempt);
        let worker = house.worker(&QUICK).await;
        wait_until(&format!("attempt {attempt}"), PATIENCE, async || {
            house
                .record("interrupted")
                .await
                .filter(|record| record.attempt == attempt && record.state == RunState::Running)
        })
        .await;
        worker.stop_held(&house, 5 * attempt + 2).await;
    }
    house.free(ALL);
    let worker = house.worker(&QUICK).await;
    let record = house.ended("interrupted").await;
    assert_eq!((record.failures, record.interruptions, record.worker_losses), (0, 5, 0));
    same_as_undisturbed(&house, "interrupted").await;
    worker.stop().await;
}

#[tokio::test]
async fn a_connection_that_is_cut_black_holed_and_throttled_costs_no_trial_and_doubles_none() {
    let house = House::open().await;
    let proxy = Proxy::start(&house.nats.url()).await;
    let worker = house.worker_at(&proxy.url(), &QUICK).await;
    house.free(12);
    house.request(long(&house, "network")).await;
    for (number, fault) in [Fault::Cut, Fault::BlackHole, Fault::Throttle(20_000)].into_iter().enumerate() {
        house.trained("network", 4 + 8 * number).await;
        let (accepted, before) = (proxy.accepted(), house.trials("network").await.len());
        proxy.set(fault);
        if let Fault::Throttle(_) = fault {
            house.free(ALL);
            house.trained("network", before + 4).await;
        } else {
            wait_until("the worker has noticed and tries again", PATIENCE, async || {
                (proxy.accepted() >= accepted + 2).then_some(())
            })
            .await;
        }
        proxy.set(Fault::Pass);
        // No more than the next fault needs, for it to find them under way.
        house.free([20, 28, ALL][number]);
    }
    let record = house.ended("network").await;
    assert_eq!((record.state, record.failures), (RunState::Completed, 0));
    let second = house.worker(&QUICK).await;
    same_as_undisturbed(&house, "network").await;
    second.stop().await;
    worker.stop().await;
}

#[tokio::test]
async fn a_thousand_queued_runs_complete_exactly_once_while_workers_are_killed() {
    const RUNS: usize = 1000;
    let house = House::open().await;
    for number in 0..RUNS {
        let request = json!({"run_id": format!("q-{number}"), "dataset_id": "digits", "trainer": "noop",
            "budget": {"max_trials": 1}});
        house.request(request).await;
    }
    let mut workers = [house.worker(&QUICK).await, house.worker(&QUICK).await];
    let mut kills = 0;
    loop {
        let done = house.count("cerebros.nas.run.completed").await;
        if done == RUNS {
            break;
        }
        // About once a second here; `bench chaos` goes by the clock.
        wait_until("some more runs complete", PATIENCE, async || {
            (house.count("cerebros.nas.run.completed").await >= (done + 60).min(RUNS)).then_some(())
        })
        .await;
        let next = house.worker(&QUICK).await;
        std::mem::replace(&mut workers[kills % 2], next).kill_hard().await;
        kills += 1;
        assert!(
            kills < 120,
            "{} of {RUNS} after {kills} kills",
            house.count("cerebros.nas.run.completed").await
        );
    }
    assert!(kills >= 2, "it was over before anybody was killed");
    wait_until("every request is settled", PATIENCE, async || (house.unsettled().await == 0).then_some(()))
        .await;
    for (subject, what) in [("cerebros.nas.run.completed", "ends"), ("ml.run.trial", "trials")] {
        let runs = house.runs_on(subject).await;
        assert_eq!(runs.len(), RUNS, "{what}, {kills} kills");
        let distinct: std::collections::BTreeSet<_> = runs.into_iter().collect();
        assert_eq!(distinct.len(), RUNS, "{what}: one for each");
    }
    assert_eq!(house.count("cerebros.nas.run.failed").await, 0);
    for worker in workers {
        worker.stop().await;
    }
}
