//! `run`: one search, with and without a broker, and how it exits.

use std::process::{Output, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use schemas::event::TrialStatus;
use schemas::lifecycle::RunState;
use serde_json::{Value, json};
use testkit::processes::{descendants, wait_until_gone};
use testkit::{Scratch, wait_until};
use tokio::process::Command;

use crate::house::{ALL, GONE, House, PATIENCE, WorkerProcess};

pub(crate) const NOBODY: &str = "nats://127.0.0.1:1";

pub(crate) fn noop(max_trials: u32) -> Value {
    json!({"dataset_id": "digits", "trainer": "noop", "seed": 3,
        "search_space": {"x": {"low": 0.0, "high": 1.0}}, "budget": {"max_trials": max_trials}})
}

pub(crate) async fn command(scratch: &Scratch, nats: &str, spec: &Value, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bridge-worker"));
    command
        .args(["run", &spec.to_string(), "--slots", "1", "--preload", "noop"])
        .args(["--allow-entrypoint", "*"])
        .args(arguments)
        .env("CEREBROS_ENABLED", "true")
        .env("FEATURES", "ml_nas")
        .env("NATS_URL", nats)
        // What is to be trained is trained.
        .env("CEREBROS_CACHE_ENABLED", "false")
        .env("CEREBROS_DATA_DIR", scratch.path())
        .env("CEREBROS_PYTHON", testkit::trainer_python().await)
        .env("CEREBROS_REPO", testkit::workspace().join("python/tests/fixtures"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

pub(crate) fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test]
async fn without_a_broker_the_same_search_ends_with_its_result_on_standard_output() {
    let scratch = Scratch::new();
    let output = command(&scratch, NOBODY, &noop(5), &["--offline"]).await.output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let result = json_of(&output);
    assert_eq!((&result["state"], &result["completed_trials"]), (&json!("completed"), &json!(5)));
    let trials = result["trials"].as_array().unwrap();
    let best = trials.iter().find(|trial| trial["trial_id"] == result["best_trial_id"]).unwrap();
    assert_eq!(best["metrics"]["accuracy"], result["best_metric"]);
    assert_eq!(best["parameters"], result["best_model"]);

    let lines = command(&scratch, NOBODY, &noop(5), &["--offline", "-o", "ndjson"]).await;
    let lines = { lines }.output().await.unwrap();
    let mut lines: Vec<Value> = String::from_utf8(lines.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 6, "five trials and the result");
    // They come in the order in which they end, which is nobody's to say.
    lines[..5].sort_by_key(|trial| trial["number"].as_u64());
    let told = |trial: &Value| (trial["parameters"].clone(), trial["metrics"].clone());
    assert!(lines.iter().zip(trials).all(|(one, other)| told(one) == told(other)), "the same seed");
    assert_eq!(lines[5]["best_metric"], result["best_metric"]);
}

#[tokio::test]
async fn the_best_model_of_a_search_without_a_broker_stays_on_this_machine() {
    let scratch = Scratch::new();
    let spec = json!({"dataset_id": "iris", "budget": {"max_trials": 1},
        "search_space": {"layers": [4], "activation": ["relu"], "epochs": 2}});
    let output = command(&scratch, NOBODY, &spec, &["--offline"]).await.output().await.unwrap();
    let result = json_of(&output);
    let file = result["artifact_refs"][0]["uri"].as_str().unwrap().strip_prefix("file://").unwrap();
    assert!(std::path::Path::new(file).is_file(), "{file}");
    let work = std::fs::read_dir(scratch.join("work")).map_or(0, Iterator::count);
    assert_eq!(work, 0, "nothing of the trials is left");
}

#[tokio::test]
async fn the_exit_code_follows_the_run() {
    let scratch = Scratch::new();
    for (change, gates, code, words) in [
        (json!({"dataset_id": "mnist"}), "ml_nas", 5, "unknown data set"),
        (json!({"dataset_id": "nowhere.csv"}), "ml_nas", 5, "there is no data set"),
        (json!({"trainer": "no_such_module:train"}), "ml_nas", 8, "no_such_module"),
        (json!({}), "other", 8, "FEATURES=ml_nas"),
    ] {
        let mut spec = noop(1);
        spec.as_object_mut().unwrap().extend(change.as_object().cloned().unwrap());
        let mut command = command(&scratch, NOBODY, &spec, &["--offline"]).await;
        let output = command.env("FEATURES", gates).output().await.unwrap();
        let told = String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(words), "{told}");
    }
}

#[tokio::test]
async fn a_signal_ends_a_search_without_a_broker_cleanly() {
    let scratch = Scratch::new();
    let spec = json!({"dataset_id": "digits", "trainer": "faulty_trainers:hangs_with_signals_blocked",
        "search_space": {"x": [1, 2]}, "budget": {"max_trials": 2}});
    let child = command(&scratch, NOBODY, &spec, &["--offline"]).await.spawn().unwrap();
    let process = WorkerProcess { child };
    let family = wait_until("a child of the search", PATIENCE, async || {
        Some(descendants(process.pid())).filter(|family| !family.is_empty())
    })
    .await;
    process.signal(Signal::SIGTERM);
    let output = tokio::time::timeout(Duration::from_secs(30), process.child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(output.status.code(), Some(143), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(json_of(&output)["state"], "interrupted");
    wait_until_gone("the children of the search", &family, GONE).await;
}

#[tokio::test]
async fn with_a_broker_the_run_is_everybody_s_to_see_and_nobody_else_s_to_take() {
    let house = House::open().await;
    let worker = house.worker(&["--slots", "2", "--preload", "noop"]).await;
    let url = house.nats.url();
    let output = command(&house.scratch, &url, &noop(4), &["--run-id", "pod"]).await.output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(json_of(&output)["trials"].as_array().unwrap().len(), 4);
    let record = house.ended("pod").await;
    assert_eq!((record.state, record.attempt, record.completed_trials), (RunState::Completed, 1, 4));
    wait_until("the request is settled by the worker that serves", PATIENCE, async || {
        (house.unsettled().await == 0).then_some(())
    })
    .await;
    for trial in house.trials("pod").await {
        assert!(trial.worker_id.unwrap().starts_with("job-"), "the worker that serves trained nothing");
    }
    worker.stop().await;

    let again = command(&house.scratch, &url, &noop(4), &["--run-id", "pod"]).await.output().await.unwrap();
    assert_eq!(again.status.code(), Some(0), "a run that is over is told again");
    assert_eq!(json_of(&again)["best_metric"], json_of(&output)["best_metric"]);
    assert_eq!(house.trials("pod").await.len(), 4);
}

#[tokio::test]
async fn a_pod_that_was_killed_goes_on_under_the_same_run_id() {
    let house = House::open().await;
    let url = house.nats.url();
    let spec = json!({"dataset_id": "digits", "trainer": "probes:leaves_a_file", "seed": 1,
        "search_space": {"x": [0.1, 0.2, 0.3, 0.4], "seconds": [0.01], "free": [house.held()]},
        "budget": {"max_trials": 6, "parallelism": 1}});
    house.free(2);
    let child = command(&house.scratch, &url, &spec, &["--run-id", "pod"]).await.spawn().unwrap();
    house.trained("pod", 2).await;
    WorkerProcess { child }.kill_hard().await;
    house.free(ALL);
    let output = command(&house.scratch, &url, &spec, &["--run-id", "pod"]).await.output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let record = house.ended("pod").await;
    assert_eq!((record.attempt, record.worker_losses, record.completed_trials), (2, 1, 6));
    let trials = house.trials("pod").await;
    assert_eq!(trials.len(), 6, "no trial is trained twice");
    assert!(trials.iter().all(|trial| trial.status == TrialStatus::Succeeded));
}

#[tokio::test]
async fn a_run_of_the_workers_that_serve_is_not_taken_from_them() {
    let house = House::open().await;
    let _worker = house.worker(&["--slots", "1", "--allow-entrypoint", "faulty_trainers:*"]).await;
    house
        .request(
            json!({"run_id": "theirs", "dataset_id": "digits", "trainer": "faulty_trainers:sleeps_in_slices",
            "search_space": {"seconds": [60]}, "budget": {"max_trials": 1}}),
        )
        .await;
    house.training("theirs").await;
    let output = command(&house.scratch, &house.nats.url(), &noop(1), &["--run-id", "theirs"]).await;
    let output = { output }.output().await.unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("producer watch theirs"));
    assert_eq!(house.record("theirs").await.unwrap().attempt, 1);
}
