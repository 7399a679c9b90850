//! `run` as the entry point of a pod: its broker goes away, its run id is known already, somebody watches, it dies.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use schemas::lifecycle::RunState;
use serde_json::{Value, json};
use service_kit::topology;
use testkit::processes::{descendants, wait_until_gone};
use testkit::{Scratch, wait_until};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use crate::house::{GONE, House, PATIENCE, WorkerProcess, page};
use crate::oneshot::{NOBODY, command, json_of, noop};

/// A search whose trials end one by one, each when the file of its name is there.
fn waiting(marks: &Path, max_trials: u32) -> Value {
    json!({"dataset_id": "digits", "trainer": "searching:waits_for_its_mark", "seed": 1,
        "search_space": {"marks": [marks], "x": {"low": 0.0, "high": 1.0}},
        "budget": {"max_trials": max_trials, "parallelism": 1}})
}

#[tokio::test]
async fn one_signal_ends_a_search_whose_broker_is_away_within_half_a_minute() {
    let house = House::open().await;
    let spec = waiting(house.scratch.path(), 1);
    let child =
        command(&house.scratch, &house.nats.url(), &spec, &["--run-id", "alone"]).await.spawn().unwrap();
    let process = WorkerProcess { child };
    house.training("alone").await;
    let family = descendants(process.pid());
    house.nats.kill().await;
    process.signal(Signal::SIGTERM);
    // What the search itself waits for takes 27 s of the half minute; the rest is the machine's, which may be slow.
    let ended = tokio::time::timeout(Duration::from_secs(45), process.child.wait_with_output()).await;
    let output = ended.expect("it ends within the grace of an orchestrator").unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(143), "{told}");
    assert!(told.contains("--run-id alone"), "how to go on is said: {told}");
    wait_until_gone("the children of the search", &family, GONE).await;
}

#[tokio::test]
async fn a_run_id_is_told_again_for_the_same_spec_and_refused_for_another() {
    let house = House::open().await;
    let url = house.nats.url();
    let first = command(&house.scratch, &url, &noop(2), &["--run-id", "pod"]).await.output().await.unwrap();
    assert_eq!(first.status.code(), Some(0), "{}", String::from_utf8_lossy(&first.stderr));

    let same = command(&house.scratch, &url, &noop(2), &["--run-id", "pod"]).await.output().await.unwrap();
    assert_eq!(json_of(&same)["best_metric"], json_of(&first)["best_metric"]);
    assert!(String::from_utf8_lossy(&same.stderr).contains("is over already"), "an earlier result says so");

    let other = command(&house.scratch, &url, &noop(3), &["--run-id", "pod"]).await.output().await.unwrap();
    let told = String::from_utf8_lossy(&other.stderr);
    assert_eq!(other.status.code(), Some(5), "{told}");
    assert!(told.contains("another spec") && told.contains("another --run-id"), "{told}");
    assert!(other.stdout.is_empty(), "the result of another search is not its own");
}

#[tokio::test]
async fn a_run_that_is_under_way_goes_on_for_its_own_spec_alone() {
    let house = House::open().await;
    let url = house.nats.url();
    let spec = waiting(house.scratch.path(), 1);
    let child = command(&house.scratch, &url, &spec, &["--run-id", "pod"]).await.spawn().unwrap();
    house.training("pod").await;
    WorkerProcess { child }.kill_hard().await;
    let other = command(&house.scratch, &url, &noop(3), &["--run-id", "pod"]).await.output().await.unwrap();
    assert_eq!(other.status.code(), Some(5), "{}", String::from_utf8_lossy(&other.stderr));
    assert_eq!(house.record("pod").await.unwrap().attempt, 1, "nobody has touched it");
}

#[tokio::test]
async fn a_request_the_registry_has_forgotten_is_not_carried_out_with_another_spec() {
    let house = House::open().await;
    let url = house.nats.url();
    let first = command(&house.scratch, &url, &noop(2), &["--run-id", "pod"]).await.output().await.unwrap();
    assert_eq!(first.status.code(), Some(0), "{}", String::from_utf8_lossy(&first.stderr));
    let runs = house.broker.jetstream.get_key_value(topology::RUNS_BUCKET).await.unwrap();
    runs.purge("pod").await.unwrap();
    let other = command(&house.scratch, &url, &noop(3), &["--run-id", "pod"]).await.output().await.unwrap();
    assert_eq!(other.status.code(), Some(5), "{}", String::from_utf8_lossy(&other.stderr));
    let same = command(&house.scratch, &url, &noop(2), &["--run-id", "pod"]).await.output().await.unwrap();
    assert_eq!(same.status.code(), Some(0), "{}", String::from_utf8_lossy(&same.stderr));
    assert_eq!(json_of(&same)["best_metric"], json_of(&first)["best_metric"]);
    assert_eq!(house.trials("pod").await.len(), 2, "no trial is trained twice");
}

/// A search that prints a line for each trial, and its lines.
async fn lines_of(
    scratch: &Scratch,
    url: &str,
    spec: &Value,
    more: &[&str],
) -> (Child, Lines<BufReader<ChildStdout>>) {
    let arguments = [&["-o", "ndjson"], more].concat();
    let mut command = command(scratch, url, spec, &arguments).await;
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    (child, stdout.lines())
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> Value {
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
    serde_json::from_str(&line.unwrap()).unwrap()
}

#[tokio::test]
async fn each_trial_is_printed_as_it_comes_and_once() {
    let house = House::open().await;
    for (url, run, more) in [
        (NOBODY, "here", &["--run-id", "here", "--offline"][..]),
        (&house.nats.url(), "there", &["--run-id", "there"][..]),
    ] {
        let marks = house.scratch.path();
        let (mut child, mut lines) = lines_of(&house.scratch, url, &waiting(marks, 2), more).await;
        for number in 0..2 {
            // The next trial waits until this one's line was read.
            let id = format!("{run}-t0000{number}");
            std::fs::write(marks.join(&id), "").unwrap();
            assert_eq!(next(&mut lines).await["trial_id"], json!(id));
        }
        let result = next(&mut lines).await;
        assert_eq!((&result["state"], &result["trials"]), (&json!("completed"), &Value::Null), "{run}");
        assert!(lines.next_line().await.unwrap().is_none(), "{run}");
        assert!(child.wait().await.unwrap().success(), "{run}");
    }
}

#[tokio::test]
async fn a_reader_that_leaves_ends_a_search_that_nobody_else_sees() {
    let scratch = Scratch::new();
    let spec = waiting(scratch.path(), 3);
    let (mut child, mut lines) = lines_of(&scratch, NOBODY, &spec, &["--run-id", "here", "--offline"]).await;
    std::fs::write(scratch.join("here-t00000"), "").unwrap();
    assert_eq!(next(&mut lines).await["trial_id"], json!("here-t00000"));
    drop(lines);
    // The third trial is never let go.
    std::fs::write(scratch.join("here-t00001"), "").unwrap();
    let status = tokio::time::timeout(Duration::from_secs(30), child.wait()).await.unwrap().unwrap();
    assert!(status.success(), "quietly: {status}");
}

#[tokio::test]
async fn a_pod_that_goes_on_prints_the_trials_of_the_one_before_it_too() {
    let house = House::open().await;
    let (url, marks) = (house.nats.url(), house.scratch.path());
    let spec = waiting(marks, 2);
    std::fs::write(marks.join("pod-t00000"), "").unwrap();
    let child = command(&house.scratch, &url, &spec, &["--run-id", "pod"]).await.spawn().unwrap();
    house.trained("pod", 1).await;
    WorkerProcess { child }.kill_hard().await;
    std::fs::write(marks.join("pod-t00001"), "").unwrap();
    let (mut child, mut lines) = lines_of(&house.scratch, &url, &spec, &["--run-id", "pod"]).await;
    let mut told = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        told.push(serde_json::from_str::<Value>(&line).unwrap()["trial_id"].clone());
    }
    assert_eq!(told, [json!("pod-t00000"), json!("pod-t00001"), Value::Null]);
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_search_answers_for_its_health_where_it_was_asked_to() {
    let house = House::open().await;
    for (url, run, more) in [(NOBODY, "here", &["--offline"][..]), (&house.nats.url(), "there", &[])] {
        let arguments = [&["--run-id", run, "--http", "127.0.0.1:0"], more].concat();
        let mut command = command(&house.scratch, url, &waiting(house.scratch.path(), 1), &arguments).await;
        let mut child = command.env("RUST_LOG", "info").spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = tokio::time::timeout(PATIENCE, log.next_line()).await.unwrap().unwrap().unwrap();
            if let Some((_, address)) = line.split_once("bound=").filter(|_| line.contains("health answers"))
            {
                break address.trim().to_owned();
            }
        };
        let draining = tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        wait_until("the search is ready", PATIENCE, async || {
            page(&address, "/readyz").await.starts_with("HTTP/1.1 200").then_some(())
        })
        .await;
        wait_until("its trial is counted", PATIENCE, async || {
            let shown = page(&address, "/metrics").await;
            let lines = [
                "cerebros_invocations_started_total{attempt=\"1\"} 1",
                "cerebros_slots_busy 1",
                "cerebros_runs_active 1",
            ];
            lines.iter().all(|line| shown.lines().any(|shown| shown == *line)).then_some(())
        })
        .await;
        std::fs::write(house.scratch.join(format!("{run}-t00000")), "").unwrap();
        assert!(child.wait().await.unwrap().success());
        draining.await.unwrap();
    }
}

#[tokio::test]
async fn a_cancel_ends_the_run_of_a_pod_that_is_gone() {
    let house = House::open().await;
    let url = house.nats.url();
    let spec = waiting(house.scratch.path(), 1);
    let worker = house.worker(&["--slots", "1", "--preload", "noop"]).await;
    let child = command(&house.scratch, &url, &spec, &["--run-id", "pod"]).await.spawn().unwrap();
    house.training("pod").await;
    WorkerProcess { child }.kill_hard().await;
    house.publish_plain("cerebros.nas.run.cancel_requested", r#"{"run_id": "pod", "reason": "late"}"#).await;
    let record = house.ended("pod").await;
    assert_eq!((record.state, record.attempt), (RunState::Cancelled, 2));
    let again = command(&house.scratch, &url, &spec, &["--run-id", "pod"]).await.output().await.unwrap();
    assert_eq!(again.status.code(), Some(8), "{}", String::from_utf8_lossy(&again.stderr));
    assert_eq!(json_of(&again)["reason"], json!("late"));
    worker.stop().await;
}

#[tokio::test]
async fn a_cancel_for_a_pod_that_lives_is_heard_there() {
    let house = House::open().await;
    let spec = waiting(house.scratch.path(), 1);
    let worker = house.worker(&["--slots", "1", "--preload", "noop"]).await;
    let child = command(&house.scratch, &house.nats.url(), &spec, &["--run-id", "pod"]).await;
    let child = { child }.spawn().unwrap();
    house.training("pod").await;
    house.publish_plain("cerebros.nas.run.cancel_requested", r#"{"run_id": "pod"}"#).await;
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(8), "{}", String::from_utf8_lossy(&output.stderr));
    let record = house.ended("pod").await;
    assert_eq!((record.state, record.attempt), (RunState::Cancelled, 1));
    worker.stop().await;
}
