//! Scripts of somebody else's, called by subprocess.

use schemas::event::{RunCompleted, TrialStatus};
use schemas::lifecycle::RunState;
use schemas::{Event, Failure, FailureClass};
use serde_json::{Value, json};
use testkit::{wait_until, workspace};

use crate::house::{GONE, House, WorkerProcess};

async fn house_with_worker(more: &[&str]) -> (House, WorkerProcess) {
    let house = House::open().await;
    let script = workspace().join("bridge-worker/tests/it/scripts/any.py");
    let mut arguments = vec!["--invoker", "subprocess", "--script", script.to_str().unwrap()];
    arguments.extend(["--max-retries", "0", "--retry-backoff-ms", "20"]);
    arguments.extend(if more.contains(&"--slots") { &[][..] } else { &["--slots", "1"] });
    arguments.extend(more);
    let worker = house.worker(&arguments).await;
    (house, worker)
}

async fn request(house: &House, run: &str, op: &str, space: Value) {
    let body = json!({"run_id": run, "dataset_id": "mnist", "entrypoint": format!("script:{op}"),
        "search_space": space, "correlation_id": "c-1"});
    house.request(body).await;
}

/// A run of one of the script's kinds, to its end.
async fn completed(house: &House, run: &str, op: &str, space: Value) -> (RunCompleted, Value) {
    request(house, run, op, space).await;
    let record = house.ended(run).await;
    let events = house.events(run).await;
    let [.., Event::MlRunFinalized(finalized), Event::RunCompleted(end)] = &events[..] else {
        panic!("{run}: {record:?}")
    };
    (end.clone(), finalized.payload.0.clone())
}

async fn failure_of(house: &House, kind: &str) -> Failure {
    request(house, kind, "run_nas", json!({"kind": kind})).await;
    let record = house.ended(kind).await;
    assert_eq!(record.state, RunState::Failed, "{kind}");
    record.failure.unwrap()
}

#[tokio::test]
async fn an_existing_script_that_prints_chatter_and_a_result_works_unchanged() {
    let (house, worker) = house_with_worker(&[]).await;
    let (end, payload) = completed(&house, "chatter", "run_nas", json!({"kind": "chatter"})).await;
    assert_eq!((&end.best_model.0, end.best_metric.unwrap().0), (&json!({"layers": [16]}), 0.8));
    assert_eq!((end.completed_trials, end.status.as_str()), (2, "succeeded"));
    let told = &payload["metadata"];
    assert_eq!(told["op"], json!(["run_nas", "run_nas", "run_nas"]));
    assert_eq!((&told["same_in_environment"], &told["unbuffered"]), (&json!(true), &json!("1")));
    let variables =
        ["CORRELATION", "OP", "PAYLOAD", "RUN_ID", "STATUS"].map(|name| format!("CEREBROS_BRIDGE_{name}"));
    assert_eq!(told["variables"], json!(variables));
    assert_eq!(told["secrets"], json!([]), "the worker's environment stays with the worker");
    assert_eq!(told["fields"], json!(["opts", "spec"]));
    let (_, payload) = completed(&house, "older", "start_run", json!({"kind": "chatter"})).await;
    let fields = payload["metadata"]["fields"].as_array().unwrap();
    assert!(
        ["run_id", "timestamp", "dataset_id", "budget", "tau"]
            .iter()
            .all(|name| fields.contains(&json!(name)))
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_payload_of_a_megabyte_goes_by_standard_input_alone() {
    let (house, worker) = house_with_worker(&[]).await;
    // A request may be half a megabyte; spec and options have its parameters once each.
    let space = json!({"kind": "chatter"});
    let body = json!({"run_id": "large", "dataset_id": "mnist", "entrypoint": "script:run_nas",
        "search_space": space, "parameters": {"prior": "x".repeat(450_000)}});
    house.request(body).await;
    house.ended("large").await;
    let events = house.events("large").await;
    let Some(Event::MlRunFinalized(finalized)) = events.iter().rev().nth(1) else {
        panic!("{:?}", events.last())
    };
    let told = &finalized.payload.0["metadata"];
    assert!(told["bytes"].as_u64().unwrap() > 900_000, "{told}");
    assert_eq!(told["same_in_environment"], Value::Null);
    worker.stop().await;
}

#[tokio::test]
async fn trials_a_script_lists_in_its_result_become_events() {
    let (house, worker) = house_with_worker(&[]).await;
    let (end, _) = completed(&house, "listed", "run_nas", json!({"kind": "trials"})).await;
    assert_eq!((end.completed_trials, end.failed_trials), (2, 1));
    let trials = house.trials("listed").await;
    assert_eq!(trials[0].metrics["accuracy"].0, 0.8);
    assert_eq!(trials[1].failure.as_ref().unwrap().message, "no");
    worker.stop().await;
}

#[tokio::test]
async fn keys_a_script_uses_for_itself_stay_its_own() {
    let (house, worker) = house_with_worker(&["--allow-entrypoint", "mine:train"]).await;
    let (end, payload) = completed(&house, "own", "run_nas", json!({"kind": "keys_of_its_own"})).await;
    assert_eq!((end.best_metric.unwrap().0, end.completed_trials), (0.8, 2));
    assert_eq!(payload["metadata"], json!({"kept": true}));
    let (end, _) = completed(&house, "list", "run_nas", json!({"kind": "trials_of_its_own"})).await;
    assert_eq!(end.completed_trials, 2, "what it says");
    assert!(house.trials("own").await.is_empty() && house.trials("list").await.is_empty());
    let events = house.events("list").await;
    let Some(Event::MlRunFinalized(finalized)) = events.iter().rev().nth(1) else { panic!("{events:?}") };
    assert!(
        finalized.warnings.iter().any(|warning| warning.contains("`trials`")),
        "{:?}",
        finalized.warnings
    );
    house
        .request(json!({"run_id": "train", "dataset_id": "digits", "trainer": "mine:train",
            "search_space": {"x": ["own"]}, "budget": {"max_trials": 1}}))
        .await;
    assert_eq!(house.ended("train").await.state, RunState::Completed);
    let trials = house.trials("train").await;
    assert_eq!((trials[0].status, trials[0].metrics["accuracy"].0), (TrialStatus::Succeeded, 0.5));
    worker.stop().await;
}

#[tokio::test]
async fn keys_a_function_uses_for_itself_stay_its_own_in_a_process_of_its_own_too() {
    let house = House::open().await;
    let worker =
        house.worker(&["--slots", "1", "--invoker", "subprocess", "--allow-entrypoint", "searches:*"]).await;
    house
        .request(json!({"run_id": "own", "dataset_id": "mine", "entrypoint": "searches:has_keys_of_its_own"}))
        .await;
    let record = house.ended("own").await;
    assert_eq!((record.state, record.completed_trials), (RunState::Completed, 1), "{:?}", record.failure);
    assert_eq!(house.trials("own").await.len(), 1);
    worker.stop().await;
}

#[tokio::test]
async fn a_script_may_be_louder_than_anybody_listens() {
    let (house, worker) = house_with_worker(&[]).await;
    let (end, _) = completed(&house, "loud", "run_nas", json!({"kind": "loud"})).await;
    assert_eq!(end.best_metric.unwrap().0, 0.8);
    worker.stop().await;
}

#[tokio::test]
async fn what_went_wrong_with_a_script_is_told_apart() {
    let (house, worker) = house_with_worker(&[]).await;
    let failure = failure_of(&house, "failed").await;
    assert_eq!((failure.class, failure.message.as_str()), (FailureClass::UserCode, "the cluster said no"));
    let failure = failure_of(&house, "exits_with_a_result").await;
    assert_eq!((failure.class, failure.exit_code), (FailureClass::SubprocessExit, Some(3)));
    assert!(failure.stderr_excerpt.unwrap().contains("about to break"));
    let failure = failure_of(&house, "no_result").await;
    assert_eq!(failure.class, FailureClass::ParseError);
    assert!(failure.message.contains("all is well"), "{}", failure.message);
    assert_eq!(failure_of(&house, "garbage").await.class, FailureClass::ParseError);
    worker.stop().await;
}

async fn nobody_is_left(worker: u32) {
    wait_until("no process of a script is left", GONE, async || {
        testkit::processes::descendants(worker).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_script_that_takes_too_long_is_killed_with_what_it_started() {
    let (house, worker) = house_with_worker(&["--timeout-ms", "1500"]).await;
    let failure = failure_of(&house, "hangs_with_a_grandchild").await;
    assert_eq!(failure.class, FailureClass::TimeoutTrial);
    assert!(failure.message.contains("--timeout-ms"), "{}", failure.message);
    nobody_is_left(worker.pid()).await;
    worker.stop().await;
}

/// The process a script has started and let go, once it is there.
async fn helper_in(marks: &std::path::Path) -> u32 {
    wait_until("a script has let a helper go", crate::house::PATIENCE, async || {
        std::fs::read_to_string(marks.join("helper.pid")).ok()?.parse().ok()
    })
    .await
}

#[tokio::test]
async fn a_helper_of_a_running_script_is_spared_when_another_call_ends_and_ends_with_its_own() {
    let (house, worker) = house_with_worker(&["--slots", "2", "--timeout-ms", "600000"]).await;
    let mut marks = Vec::new();
    for (run, keeps) in [("marked", true), ("unmarked", false)] {
        let place = house.scratch.join(run);
        std::fs::create_dir(&place).unwrap();
        let space = json!({"kind": "leaves_a_helper", "helper": "waits", "marks": place, "keeps": keeps});
        request(&house, run, "run_nas", space).await;
        let helper = helper_in(&place).await;
        completed(&house, &format!("beside-{run}"), "run_nas", json!({"kind": "chatter"})).await;
        assert!(testkit::processes::alive(helper), "{run}: the end of another call ended it");
        std::fs::write(place.join("go"), "").unwrap();
        assert_eq!(house.ended(run).await.state, RunState::Completed);
        marks.push(helper);
    }
    testkit::processes::wait_until_gone("the helpers", &marks, GONE).await;
    nobody_is_left(worker.pid()).await;
    worker.stop().await;
}

#[tokio::test]
async fn what_a_helper_takes_counts_for_the_script_that_started_it() {
    let limits = ["--child-memory", "256MiB", "--timeout-ms", "60000"];
    let (house, worker) = house_with_worker(&limits).await;
    let place = house.scratch.join("takes");
    std::fs::create_dir(&place).unwrap();
    let space = json!({"kind": "leaves_a_helper", "helper": "takes", "marks": place});
    request(&house, "takes", "run_nas", space).await;
    let failure = house.ended("takes").await.failure.unwrap();
    assert_eq!(failure.class, FailureClass::Oom, "{}", failure.message);
    nobody_is_left(worker.pid()).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_script_dies_with_its_run_and_with_its_worker() {
    let (house, worker) = house_with_worker(&["--timeout-ms", "600000"]).await;
    let hangs = async |run: &str| {
        request(&house, run, "run_nas", json!({"kind": "hangs_with_a_grandchild"})).await;
        wait_until("script, grandchild and guard are there", crate::house::PATIENCE, async || {
            (testkit::processes::descendants(worker.pid()).len() >= 3).then_some(())
        })
        .await;
    };
    hangs("cancelled").await;
    house.publish_plain("cerebros.nas.run.cancel_requested", r#"{"run_id": "cancelled"}"#).await;
    assert_eq!(house.ended("cancelled").await.state, RunState::Cancelled);
    nobody_is_left(worker.pid()).await;
    hangs("orphaned").await;
    worker.kill_hard().await;
}

#[tokio::test]
async fn a_script_trains_one_candidate_after_the_other_for_a_search_of_ours() {
    let (house, worker) = house_with_worker(&["--allow-entrypoint", "mine:train"]).await;
    let body = |run: &str, space: Value| {
        json!({"run_id": run, "dataset_id": "digits", "trainer": "mine:train", "strategy": "random", "seed": 5,
            "search_space": {"x": space}, "budget": {"max_trials": 4, "parallelism": 1}})
    };
    house.request(body("numbers", json!({"low": 0.0, "high": 1.0}))).await;
    assert_eq!(house.ended("numbers").await.state, RunState::Completed);
    let trials = house.trials("numbers").await;
    assert_eq!(trials.len(), 4);
    for trial in &trials {
        assert_eq!(trial.metrics["accuracy"].0, trial.parameters.0["x"].as_f64().unwrap());
        assert_eq!(trial.warnings, ["w"]);
    }
    let reports = house.count("ml.run.metric").await;
    assert_eq!(reports, 4, "each told one value on its way");
    house.request(body("words", json!(["good", "bad"]))).await;
    house.ended("words").await;
    let trials = house.trials("words").await;
    let failed: Vec<_> = trials.iter().filter(|trial| trial.status == TrialStatus::Failed).collect();
    assert!(!failed.is_empty() && failed.len() < 4, "the seed draws both");
    assert!(failed.iter().all(|trial| trial.failure.as_ref().unwrap().message == "x is bad"));
    worker.stop().await;
}
