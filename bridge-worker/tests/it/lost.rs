//! What a run loses on its way, and how it goes on: its request, its worker, its broker, the interpreter, a child.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::pull;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use schemas::dead_letter::REPLAY_OF;
use schemas::event::{RunRequested, TrialStatus};
use schemas::lifecycle::RunState;
use schemas::subject::{ADVISORY_STREAM, STREAM};
use schemas::{Event, FailureClass, RunId};
use serde_json::json;
use service_kit::registry::RunRecord;
use service_kit::registry::record::{Claimant, claim};
use service_kit::topology::WORKER_CONSUMER;
use service_kit::{clock, topology};
use testkit::wait_until;

use crate::house::{GONE, House, PATIENCE};
use crate::tries::request;

const ARGUMENTS: [&str; 6] =
    ["--slots", "2", "--allow-entrypoint", "searching:*", "--retry-backoff-ms", "20"];

fn endless(run: &str) -> serde_json::Value {
    let space = json!({"seconds": [600], "x": {"low": 0.0, "high": 1.0}});
    request(run, "sleeps", space, json!({"max_trials": 4, "parallelism": 1}))
}

fn short(run: &str) -> serde_json::Value {
    let space = json!({"seconds": [0.01], "x": {"low": 0.0, "high": 1.0}});
    request(run, "sleeps", space, json!({"max_trials": 4, "parallelism": 1}))
}

/// Ends a run that goes on by itself for ten minutes: a worker that stops would wait its whole grace for it.
async fn cancelled(house: &House, run: &str) {
    let body = json!({"run_id": run}).to_string();
    house.publish_plain("cerebros.nas.run.cancel_requested", body).await;
    assert_eq!(house.ended(run).await.state, RunState::Cancelled);
}

/// Resolves when a worker waits for requests, which it does when it can train.
async fn ready(house: &House) {
    wait_until("the worker waits for requests", PATIENCE, async || {
        let stream = house.broker.jetstream.get_stream(STREAM).await.unwrap();
        let info = stream.consumer_info(WORKER_CONSUMER).await.ok()?;
        (info.num_waiting > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_run_that_lost_both_its_worker_and_its_request_is_cancelled_or_asked_for_again() {
    let house = House::open().await;
    let worker = house.worker(&ARGUMENTS).await;
    house.request(endless("cancelled")).await;
    house.request(endless("again")).await;
    let cancelled = house.training("cancelled").await;
    let again = house.training("again").await;
    let stream = house.broker.jetstream.get_stream(STREAM).await.unwrap();
    for record in [&cancelled, &again] {
        stream.delete_message(record.request_sequence).await.unwrap();
    }
    worker.kill_hard().await;
    let worker = house.worker(&ARGUMENTS).await;
    house.publish_plain("cerebros.nas.run.cancel_requested", r#"{"run_id": "cancelled"}"#).await;
    house.request(short("again")).await;
    assert_eq!(house.ended("cancelled").await.state, RunState::Cancelled);
    let again = house.ended("again").await;
    assert_eq!((again.state, again.attempt, again.completed_trials), (RunState::Completed, 2, 4));
    assert_eq!(again.worker_losses, 1);
    worker.stop().await;
}

#[tokio::test]
async fn a_request_for_a_run_in_good_hands_has_no_effect_though_its_first_request_is_gone() {
    let house = House::open().await;
    let worker = house.worker(&ARGUMENTS).await;
    house.request(endless("held")).await;
    let held = house.training("held").await;
    let stream = house.broker.jetstream.get_stream(STREAM).await.unwrap();
    stream.delete_message(held.request_sequence).await.unwrap();
    house.request(short("held")).await;
    wait_until("the second request is settled", PATIENCE, async || {
        let info = stream.consumer_info(WORKER_CONSUMER).await.unwrap();
        (info.num_pending == 0 && info.ack_floor.stream_sequence > held.request_sequence).then_some(())
    })
    .await;
    let record = house.record("held").await.unwrap();
    assert_eq!((record.state, record.attempt), (RunState::Running, 1));
    cancelled(&house, "held").await;
    worker.stop().await;
}

#[tokio::test]
async fn a_replay_of_a_request_that_ran_out_of_deliveries_brings_its_run_back() {
    let house = House::open().await;
    let stream = house.broker.jetstream.get_stream(STREAM).await.unwrap();
    let is_ours = |config: &pull::Config| config.durable_name.as_deref() == Some(WORKER_CONSUMER);
    let ours = topology::consumers().into_iter().find(is_ours).unwrap();
    stream.update_consumer(pull::Config { max_deliver: 1, ..ours }).await.unwrap();
    let worker = house.worker(&ARGUMENTS).await;
    house.request(endless("replayed")).await;
    let died = house.training("replayed").await;
    worker.kill_hard().await;
    let worker = house.worker(&ARGUMENTS).await;
    let advisories = house.broker.jetstream.get_stream(ADVISORY_STREAM).await.unwrap();
    wait_until("the broker gives the request up", PATIENCE, async || {
        (advisories.get_info().await.unwrap().state.messages > 0).then_some(())
    })
    .await;
    let mut headers = HeaderMap::new();
    headers.insert(REPLAY_OF, format!("{}-00000000", died.request_sequence));
    let body = short("replayed").to_string();
    let subject = "cerebros.nas.run.requested";
    let sent = house.broker.jetstream.publish_with_headers(subject, headers, body.into()).await.unwrap();
    sent.await.unwrap();
    let record = house.ended("replayed").await;
    assert_eq!((record.state, record.attempt, record.worker_losses), (RunState::Completed, 2, 1));
    worker.stop().await;
}

#[tokio::test]
async fn hand_overs_that_count_from_one_again_bring_a_dead_worker_s_run_back() {
    let house = House::open().await;
    let worker = house.worker(&ARGUMENTS).await;
    house.request(endless("counted")).await;
    house.training("counted").await;
    worker.kill_hard().await;
    let stream = house.broker.jetstream.get_stream(STREAM).await.unwrap();
    stream.delete_consumer(WORKER_CONSUMER).await.unwrap();
    topology::ensure(&house.broker).await.unwrap();
    let asked = std::time::Instant::now();
    let worker = house.worker(&ARGUMENTS).await;
    wait_until("the run is taken over", PATIENCE, async || {
        house.record("counted").await.filter(|record| record.attempt == 2)
    })
    .await;
    assert!(asked.elapsed() < topology::ACK_WAIT, "no lease has to run out: {:?}", asked.elapsed());
    cancelled(&house, "counted").await;
    worker.stop().await;
}

/// An interpreter that is there as long as `mark` is.
fn interpreter(at: &Path, python: &Path, mark: &Path) {
    let script = format!(
        "#!/bin/sh\nif [ -e '{}' ]; then exec '{}' \"$@\"; fi\necho 'being installed' >&2\nexit 3\n",
        mark.display(),
        python.display()
    );
    std::fs::write(at, script).unwrap();
    std::fs::set_permissions(at, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_worker_that_cannot_start_children_gives_its_runs_back_and_takes_none_until_it_can() {
    let house = House::open().await;
    let (script, mark) = (house.scratch.join("python"), house.scratch.join("installed"));
    std::fs::write(&mark, "").unwrap();
    interpreter(&script, &testkit::trainer_python().await, &mark);
    let python = script.to_str().unwrap();
    let worker = house.worker(&[&ARGUMENTS[..], &["--slots", "1", "--python", python][2..]].concat()).await;
    ready(&house).await;
    let marks = house.scratch.path().to_str().unwrap();
    let budget = json!({"max_trials": 3, "parallelism": 1});
    // The wish for a mark that is not there yet takes the child down, once a trial.
    std::fs::remove_file(&mark).unwrap();
    house.request(request("back", "dies_the_first_time", json!({"marks": [marks]}), budget)).await;
    let given_back = wait_until("the run is given back", PATIENCE, async || {
        house.record("back").await.filter(|record| record.state == RunState::Interrupted)
    })
    .await;
    assert_eq!((given_back.failures, given_back.worker_losses), (0, 0));
    house.request(short("waits")).await;
    std::fs::write(&mark, "").unwrap();
    for run in ["back", "waits"] {
        let record = house.ended(run).await;
        assert_eq!((record.state, record.failures), (RunState::Completed, 0), "{:?}", record.failure);
    }
    let told =
        house.events("back").await.into_iter().filter_map(|event| {
            if let Event::RunException(exception) = event { Some(exception) } else { None }
        });
    let is_dependency = |failure: &schemas::Failure| failure.class == FailureClass::Dependency;
    let told = told.filter(|exception| is_dependency(&exception.failure));
    let told: Vec<_> = told.collect();
    assert!(!told.is_empty() && told.iter().all(|exception| exception.will_retry), "{told:?}");
    assert!(told[0].failure.message.contains("being installed"), "{}", told[0].failure.message);
    worker.stop().await;
}

#[tokio::test]
async fn one_signal_ends_a_worker_whose_broker_is_away_within_half_a_minute() {
    let house = House::open().await;
    let mut worker = house.worker(&ARGUMENTS).await;
    house.request(endless("alone")).await;
    house.training("alone").await;
    let family = testkit::processes::descendants(worker.pid());
    house.nats.kill().await;
    worker.signal(Signal::SIGTERM);
    // What the worker itself waits for takes 27 s of the half minute; the rest is the machine's, which may be slow.
    let status = tokio::time::timeout(Duration::from_secs(45), worker.child.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
    testkit::processes::wait_until_gone("the worker's children", &family, GONE).await;
}

#[tokio::test]
async fn a_second_signal_stops_what_is_training_at_once_and_the_run_goes_on_elsewhere() {
    let house = House::open().await;
    let mut worker = house.worker(&ARGUMENTS).await;
    house.request(endless("twice")).await;
    house.training("twice").await;
    worker.signal(Signal::SIGTERM);
    house.says_in_its_log("a second signal stops at once").await;
    worker.signal(Signal::SIGTERM);
    // A drain without a second signal would wait for twenty.
    let status = tokio::time::timeout(Duration::from_secs(15), worker.child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(143), "it was told not to wait");
    let record = house.record("twice").await.unwrap();
    assert_eq!(
        (record.state, record.interruptions, record.failures, record.worker_losses),
        (RunState::Interrupted, 1, 0, 0)
    );
}

#[tokio::test]
async fn a_stopped_child_is_killed_with_its_whole_group_and_its_trial_is_tried_again() {
    let house = House::open().await;
    let worker = house.worker(&ARGUMENTS).await;
    let marks = house.scratch.join("marks");
    std::fs::create_dir(&marks).unwrap();
    let space = json!({"marks": [marks.to_str().unwrap()]});
    house.request(request("stopped", "trains_beside_a_helper", space, json!({"max_trials": 1}))).await;
    let pids: Vec<u32> = wait_until("the trial has begun", PATIENCE, async || {
        let text = std::fs::read_to_string(marks.join("stopped-t00000")).ok()?;
        let pids: Vec<u32> = text.split(' ').filter_map(|pid| pid.parse().ok()).collect();
        (pids.len() == 2).then_some(pids)
    })
    .await;
    kill(Pid::from_raw(pids[0].cast_signed()), Signal::SIGSTOP).unwrap();
    let record = house.ended("stopped").await;
    assert_eq!((record.state, record.attempt, record.worker_losses), (RunState::Completed, 1, 0));
    let lost = house.events("stopped").await.into_iter().any(|event| {
        matches!(event, Event::RunException(exception) if exception.failure.class == FailureClass::HeartbeatLost && exception.will_retry)
    });
    assert!(lost, "it is said what became of the first try");
    testkit::processes::wait_until_gone("the stopped child and its helper", &pids, GONE).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_pruned_trial_that_never_reports_again_is_pruned_and_not_out_of_time() {
    let house = House::open().await;
    let worker = house.worker(&ARGUMENTS).await;
    let space = json!({"slope": [0.1, 0.6, 0.7, 0.8, 0.9], "x": {"low": 0.0, "high": 1.0}});
    let budget = json!({"max_trials": 10, "parallelism": 1, "max_trial_seconds": 3.0});
    let mut body = request("silent", "falls_silent_if_weak", space, budget);
    body["parameters"] = json!({"pruner": {"name": "median", "startup_trials": 2, "warmup_steps": 0}});
    house.request(body).await;
    house.ended("silent").await;
    let trials = house.trials("silent").await;
    // Stronger ones may be pruned as well; they come to their end.
    let is_weak_and_pruned = |trial: &&schemas::event::TrialReported| {
        trial.status == TrialStatus::Pruned && trial.parameters.0["slope"] == 0.1
    };
    let pruned: Vec<_> = trials.iter().filter(is_weak_and_pruned).collect();
    assert!(!pruned.is_empty(), "{:?}", trials.iter().map(|trial| trial.status).collect::<Vec<_>>());
    for trial in pruned {
        assert!(trial.failure.is_none() && trial.warnings[0].contains("pruned"), "{trial:?}");
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_run_that_takes_worker_after_worker_down_is_given_up() {
    let house = House::open().await;
    for (sequence, run, at_work, losses) in [(1, "trained", 8, 8), (2, "untrained", 0, 32)] {
        let body = short(run);
        house.request(body.clone()).await;
        let request: RunRequested = serde_json::from_value(body).unwrap();
        let run_id = RunId::parse(run).unwrap();
        wait_until("the request is stored", PATIENCE, async || {
            let stream = house.broker.jetstream.get_stream(STREAM).await.unwrap();
            (stream.cached_info().state.last_sequence == sequence).then_some(())
        })
        .await;
        let lost = |known: Option<&RunRecord>| {
            let claimant = Claimant {
                run_id: &run_id,
                request: &request,
                sequence,
                delivery: 1,
                is_retry_of_failed: false,
                is_owner_gone: false,
                requested_at: clock::now(),
                worker_id: "dead",
            };
            let (record, _) = claim(known, &claimant, clock::now());
            let running_trials = u32::from(at_work > 0);
            let record = record.map(|record| RunRecord {
                losses_at_work: at_work,
                worker_losses: losses,
                attempt: losses + 1,
                running_trials,
                ..record
            });
            (record, ())
        };
        house.registry.change(&run_id, lost).await.unwrap();
    }
    let worker = house.worker(&ARGUMENTS).await;
    for run in ["trained", "untrained"] {
        let record = house.ended(run).await;
        assert_eq!(record.state, RunState::Failed, "{run}");
        assert_eq!(record.failure.unwrap().class, FailureClass::WorkerLost);
        let ends = house.events(run).await.into_iter().filter(|event| matches!(event, Event::RunFailed(_)));
        assert_eq!(ends.count(), 1);
    }
    worker.stop().await;
}
