//! Who waits for whom, and at whose cost: a trial for the broker, a cancel for a start, cancels for each other, a drain for
//! a result, a trial for a child that is gone.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use schemas::event::{RunRequested, TrialReported, TrialStatus};
use schemas::lifecycle::RunState;
use schemas::subject::STREAM;
use schemas::{Event, RunId, TrialId};
use serde_json::{Value, json};
use service_kit::clock;
use service_kit::registry::RunRecord;
use service_kit::registry::record::{Claimant, claim};
use testkit::processes::{descendants, wait_until_gone};
use testkit::{Fault, Proxy, wait_until};

use crate::house::{GONE, House, PATIENCE};
use crate::tries::request;

const ARGUMENTS: [&str; 10] = [
    "--slots",
    "1",
    "--preload",
    "noop",
    "--allow-entrypoint",
    "searching:*",
    "--allow-entrypoint",
    "searches:*",
    "--retry-backoff-ms",
    "20",
];

#[tokio::test]
async fn an_outage_of_the_broker_takes_none_of_a_trial_s_time() {
    let house = House::open().await;
    let proxy = Proxy::start(&house.nats.url()).await;
    let worker = house.worker_at(&proxy.url(), &ARGUMENTS).await;
    let mark = house.scratch.join("report");
    let budget = json!({"max_trials": 1, "max_trial_seconds": 6.0});
    house.request(request("outage", "reports_at_a_mark", json!({"mark": [mark]}), budget)).await;
    house.training("outage").await;
    let before = proxy.accepted();
    proxy.set(Fault::Cut);
    std::fs::write(&mark, "").unwrap();
    // The pauses between thirteen tries to reconnect take eight seconds: the trial's own six are over by then.
    wait_until("the worker has tried to reconnect", PATIENCE, async || {
        (proxy.accepted() >= before + 14).then_some(())
    })
    .await;
    proxy.set(Fault::Pass);
    let record = house.ended("outage").await;
    assert_eq!((record.state, record.attempt), (RunState::Completed, 1), "{:?}", record.failure);
    let trials = house.trials("outage").await;
    assert_eq!((trials.len(), trials[0].status), (1, TrialStatus::Succeeded));
    let is_exception = |event: &Event| matches!(event, Event::RunException(_));
    assert!(!house.events("outage").await.iter().any(is_exception), "at the first try");
    worker.stop().await;
}

#[tokio::test]
async fn a_search_with_heavy_trials_waits_for_the_broker_before_they_fill_the_worker() {
    let house = House::open().await;
    let proxy = Proxy::start(&house.nats.url()).await;
    let worker = house.worker_at(&proxy.url(), &ARGUMENTS).await;
    let [go, told] = ["go", "told"].map(|name| house.scratch.join(name));
    let space = json!({"go": go, "told": told, "count": 100});
    house.request(search("heavy", "tells_heavy_ones", space, json!({"max_trials": 100}))).await;
    wait_until("the search is under way", PATIENCE, async || {
        let events = house.events("heavy").await;
        events.iter().any(|event| matches!(event, Event::MetricReported(_))).then_some(())
    })
    .await;
    let before = proxy.accepted();
    proxy.set(Fault::Cut);
    std::fs::write(&go, "").unwrap();
    // Five seconds, and a trial takes milliseconds.
    wait_until("the worker has tried to reconnect", PATIENCE, async || {
        (proxy.accepted() >= before + 11).then_some(())
    })
    .await;
    // 4 MiB that are on their way, as many that are kept, and what the pipe holds.
    let count: usize = std::fs::read_to_string(&told).unwrap().parse().unwrap();
    assert!((5..60).contains(&count), "{count} trials of 200 kB");
    proxy.set(Fault::Pass);
    let record = house.ended("heavy").await;
    assert_eq!((record.state, record.completed_trials), (RunState::Completed, 100), "{:?}", record.failure);
    assert_eq!(house.trials("heavy").await.len(), 100);
    worker.stop().await;
}

#[tokio::test]
async fn a_slot_is_passed_on_while_the_broker_has_not_heard_what_its_trial_said() {
    let house = House::open().await;
    let proxy = Proxy::start(&house.nats.url()).await;
    let worker = house.worker_at(&proxy.url(), &ARGUMENTS).await;
    let (marks, go) = (house.scratch.path(), house.scratch.join("go"));
    let space = json!({"marks": [marks], "go": [go], "x": {"low": 0.0, "high": 1.0}});
    let body = request("passed", "says_that_it_began", space, json!({"max_trials": 2, "parallelism": 2}));
    house.request(body).await;
    // Whichever of the two is first.
    let have_begun = async |count: usize| {
        let begun = || ["passed-t00000", "passed-t00001"].iter().filter(|id| marks.join(id).exists()).count();
        wait_until(&format!("{count} trials have begun"), PATIENCE, async || {
            (begun() == count).then_some(())
        })
        .await;
    };
    have_begun(1).await;
    proxy.set(Fault::Cut);
    std::fs::write(&go, "").unwrap();
    have_begun(2).await;
    proxy.set(Fault::Pass);
    let record = house.ended("passed").await;
    assert_eq!((record.state, record.completed_trials), (RunState::Completed, 2), "{:?}", record.failure);
    let events = house.events("passed").await;
    let reports = events.iter().filter(|event| matches!(event, Event::MetricReported(_))).count();
    assert_eq!(reports, 2, "what the first said before it ended is not lost, nor stored twice");
    worker.stop().await;
}

/// An interpreter that starts when `go` is there, and says by `waiting` that it waits for it.
fn slow_interpreter(at: &Path, python: &Path, go: &Path, waiting: &Path) {
    let [python, go, waiting] = [python, go, waiting].map(|path| path.display().to_string());
    let script = format!(
        "#!/bin/sh\nwhile ! [ -e '{go}' ]; do : > '{waiting}'; sleep 0.05; done\nexec '{python}' \"$@\"\n"
    );
    std::fs::write(at, script).unwrap();
    std::fs::set_permissions(at, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_cancel_is_heard_while_a_child_starts() {
    let house = House::open().await;
    let [script, go, waiting] = ["python", "go", "waiting"].map(|name| house.scratch.join(name));
    slow_interpreter(&script, &testkit::trainer_python().await, &go, &waiting);
    std::fs::write(&go, "").unwrap();
    let arguments = [&ARGUMENTS[..], &["--python", script.to_str().unwrap()]].concat();
    let worker = house.worker(&arguments).await;
    let marks = house.scratch.path();
    house
        .request(request("first", "waits_for_its_mark", json!({"marks": [marks]}), json!({"max_trials": 1})))
        .await;
    house.training("first").await;
    std::fs::remove_file(&go).unwrap();
    std::fs::write(marks.join("first-t00000"), "").unwrap();
    house.ended("first").await;
    // The first try takes the child down; the next one does not start.
    house
        .request(request("held", "dies_the_first_time", json!({"marks": [marks]}), json!({"max_trials": 1})))
        .await;
    wait_until("a child is being started", PATIENCE, async || waiting.exists().then_some(())).await;
    house.publish_plain("cerebros.nas.run.cancel_requested", r#"{"run_id": "held"}"#).await;
    assert_eq!(house.ended("held").await.state, RunState::Cancelled);
    assert!(!go.exists(), "and it has not started");
    std::fs::write(&go, "").unwrap();
    worker.stop().await;
}

/// A run that a worker has claimed that is no more.
async fn claimed(house: &House, body: Value, sequence: u64, state: RunState) {
    let request: RunRequested = serde_json::from_value(body).unwrap();
    let run_id = request.run_id.clone().unwrap();
    let dead = |known: Option<&RunRecord>| {
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
        (record.map(|record| RunRecord { state, ..record }), ())
    };
    house.registry.change(&run_id, dead).await.unwrap();
}

#[tokio::test]
async fn sixteen_cancels_do_not_wait_for_each_other() {
    let house = House::open().await;
    let body = |run: &str| request(run, "sleeps", json!({"seconds": [600]}), json!({"max_trials": 1}));
    let lost: Vec<String> = (0..15).map(|number| format!("lost-{number}")).collect();
    for run in &lost {
        // Its request is not on the stream: its owner is looked for, which takes seconds.
        claimed(&house, body(run), 1_000_000, RunState::Running).await;
    }
    claimed(&house, body("waiting"), 1_000_000, RunState::Interrupted).await;
    for run in lost.iter().map(String::as_str).chain(["waiting"]) {
        house.publish_plain("cerebros.nas.run.cancel_requested", json!({"run_id": run}).to_string()).await;
    }
    let worker = house.worker(&ARGUMENTS).await;
    assert_eq!(house.ended("waiting").await.state, RunState::Cancelled);
    for run in &lost {
        let record = house.record(run).await.unwrap();
        assert_eq!(record.state, RunState::Running, "the owner of {run} is still being looked for");
    }
    for run in &lost {
        assert_eq!(house.ended(run).await.state, RunState::Cancelled);
    }
    worker.stop().await;
}

fn search(run: &str, function: &str, space: Value, budget: Value) -> Value {
    json!({"run_id": run, "dataset_id": "mine", "entrypoint": format!("searches:{function}"),
        "search_space": space, "budget": budget})
}

#[tokio::test]
async fn a_drain_while_the_result_of_a_search_is_kept_loses_nothing() {
    let house = House::open().await;
    let proxy = Proxy::start(&house.nats.url()).await;
    let mut worker = house.worker_at(&proxy.url(), &ARGUMENTS).await;
    let go = house.scratch.join("go");
    // Eight megabytes, which take a while at one in a second.
    let space = json!({"go": go, "times": 1 << 20});
    house.request(search("kept", "tells_three_and_waits", space, json!({}))).await;
    house.trained("kept", 3).await;
    proxy.set(Fault::Throttle(1 << 20));
    std::fs::write(&go, "").unwrap();
    wait_until("the model is being kept", PATIENCE, async || {
        let stream = house.broker.jetstream.get_stream("OBJ_cerebros_artifacts").await.ok()?;
        (stream.cached_info().state.messages > 0).then_some(())
    })
    .await;
    worker.signal(Signal::SIGTERM);
    house.says_in_its_log("a second signal stops at once").await;
    assert!(!house.record("kept").await.unwrap().state.is_final(), "it is still being kept");
    proxy.set(Fault::Pass);
    let status = tokio::time::timeout(PATIENCE, worker.child.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
    let record = house.record("kept").await.unwrap();
    assert_eq!((record.state, record.attempt, record.interruptions), (RunState::Completed, 1, 0));
    let events = house.events("kept").await;
    let Some(Event::RunCompleted(end)) = events.last() else { panic!("{events:?}") };
    assert_eq!(end.artifact_refs.len(), 1, "with its file");
}

#[tokio::test]
async fn a_search_that_is_over_by_what_it_has_told_is_not_called_again() {
    let house = House::open().await;
    let marks = house.scratch.path();
    let budget = json!({"max_trials": 5, "max_failed_trials": 2});
    let body = search("over", "dies_the_first_time", json!({"marks": marks}), budget);
    house.request(body.clone()).await;
    wait_until("the request is stored", PATIENCE, async || {
        let stream = house.broker.jetstream.get_stream(STREAM).await.unwrap();
        (stream.cached_info().state.last_sequence == 1).then_some(())
    })
    .await;
    claimed(&house, body, 1, RunState::Interrupted).await;
    let run = RunId::parse("over").unwrap();
    for number in 0..2 {
        let id = TrialId::numbered(&run, number.into());
        let trial = TrialReported {
            number: Some(number),
            attempt: Some(1),
            ..TrialReported::new(run.clone(), id, TrialStatus::Failed)
        };
        house.publish_plain("ml.run.trial", serde_json::to_string(&trial).unwrap()).await;
    }
    let worker = house.worker(&ARGUMENTS).await;
    let record = house.ended("over").await;
    assert_eq!((record.state, record.attempt, record.failed_trials), (RunState::Failed, 2, 2));
    assert_eq!(record.ended_by.as_deref(), Some("max_failed_trials"));
    assert!(!marks.join("over").exists(), "the function has not been called");
    worker.stop().await;
}

/// Threads of a process. It is one that has ended to its parent when the last but the first is gone.
fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn a_child_that_ended_between_two_calls_costs_no_trial_a_try() {
    let house = House::open().await;
    let worker = house.worker(&ARGUMENTS).await;
    let body = |run: &str| {
        json!({"run_id": run, "dataset_id": "digits", "trainer": "noop", "search_space": {"x": [0.5]},
            "budget": {"max_trials": 1}})
    };
    house.request(body("before")).await;
    house.ended("before").await;
    let idle = descendants(worker.pid());
    assert_eq!(idle.len(), 1, "the child of the slot: {idle:?}");
    kill(Pid::from_raw(idle[0].cast_signed()), Signal::SIGKILL).unwrap();
    wait_until_gone("the idle child", &idle, GONE).await;
    wait_until("its other threads are gone too", GONE, async || (threads(idle[0]) < 2).then_some(())).await;
    house.request(body("after")).await;
    assert_eq!(house.ended("after").await.state, RunState::Completed);
    let events = house.events("after").await;
    assert!(!events.iter().any(|event| matches!(event, Event::RunException(_))), "{events:?}");
    worker.stop().await;
}
