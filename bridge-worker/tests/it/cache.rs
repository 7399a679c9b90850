//! The result cache: equal trials are answered from it, others are trained, and nothing depends on it.

use std::time::Duration;

use schemas::event::TrialReported;
use schemas::lifecycle::RunState;
use schemas::{Event, FailureClass};
use serde_json::{Value, json};
use testkit::wait_until;
use tokio::io::AsyncReadExt as _;

use crate::house::{House, PATIENCE, WorkerProcess};

/// Long enough for any test on any machine.
const LONG: [&str; 6] = ["--slots", "1", "--cache-enabled", "true", "--cache-ttl-ms", "3600000"];

fn request(run: &str, change: Value) -> Value {
    let mut body = json!({"run_id": run, "dataset_id": "iris", "seed": 5, "pulse_id": "p",
        "search_space": {"layers": [4, 8], "activation": ["relu"], "epochs": 3},
        "budget": {"max_trials": 3, "population_size": 2, "parallelism": 1}});
    body.as_object_mut().unwrap().extend(change.as_object().cloned().unwrap());
    body
}

fn is_answered(trial: &TrialReported) -> bool {
    trial.warnings.iter().any(|warning| warning.starts_with("answered from the result cache"))
}

impl House {
    /// Runs this to its end; how many of its trials were answered from the cache.
    async fn answered(&self, body: Value) -> usize {
        let run = body["run_id"].as_str().unwrap().to_owned();
        self.request(body).await;
        self.ended(&run).await;
        self.trials(&run).await.iter().filter(|trial| is_answered(trial)).count()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.join("worker.log")).unwrap_or_default()
    }

    /// A number of the first worker's /metrics.
    async fn measured(&self, name: &str) -> String {
        let log = self.log();
        let address = log.split("\"http\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let page = service_kit::health::probe(address.parse().unwrap(), "/metrics").await.unwrap();
        let line = page.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{page}"));
        line.rsplit(' ').next().unwrap().to_owned()
    }
}

#[tokio::test]
async fn an_equal_request_is_answered_with_the_same_events_and_files_of_its_own() {
    let house = House::open().await;
    let _worker = house.worker(&LONG).await;
    assert_eq!(house.answered(request("first", json!({}))).await, 0);
    assert_eq!(house.answered(request("second", json!({"tags": {"who": "else"}}))).await, 3);
    let (first, second) = (house.trials("first").await, house.trials("second").await);
    for (one, other) in first.iter().zip(&second) {
        assert_eq!(
            (&one.metrics, &one.parameters, one.seed),
            (&other.metrics, &other.parameters, other.seed)
        );
    }
    let reports = async |run: &str| {
        let events = house.events(run).await;
        let report = |event| {
            let Event::MetricReported(metric) = event else { return None };
            Some((metric.name, metric.step, metric.value))
        };
        events.into_iter().filter_map(report).collect::<Vec<_>>()
    };
    let told = reports("first").await;
    assert!(told.len() >= 9, "{told:?}");
    assert_eq!(told, reports("second").await, "what was reported on the way is said again");

    let best = second.iter().find(|trial| !trial.artifact_refs.is_empty()).unwrap();
    let file = best.artifact_refs[0].uri.strip_prefix("nats://cerebros_artifacts/").unwrap();
    assert!(file.starts_with("second/"), "{file}");
    let store = house.broker.jetstream.get_object_store("cerebros_artifacts").await.unwrap();
    let mut content = Vec::new();
    store.get(file).await.unwrap().read_to_end(&mut content).await.unwrap();
    assert!(!content.is_empty());

    assert_eq!(house.measured("cerebros_cache_hits_total").await, "3");
    assert_eq!(house.measured("cerebros_cache_misses_total").await, "3");
    assert_eq!(house.measured("cerebros_cache_entries").await, "3");
}

#[tokio::test]
async fn another_pulse_another_spec_and_other_data_are_trained() {
    let house = House::open().await;
    let directory = house.scratch.join("datasets");
    std::fs::create_dir_all(&directory).unwrap();
    let table = |rows: usize| -> String {
        let row = |n: usize| format!("{n},{}\n", n % 2);
        format!("a,target\n{}", (0..rows).map(row).collect::<String>())
    };
    std::fs::write(directory.join("table.csv"), table(40)).unwrap();
    let _worker = house.worker(&LONG).await;
    house.answered(request("first", json!({}))).await;
    for (run, change) in [
        ("pulse", json!({"pulse_id": "q"})),
        ("seed", json!({"seed": 6})),
        ("spec", json!({"parameters": {"mutation_rate": 0.5}})),
        ("data", json!({"dataset_id": "table.csv"})),
    ] {
        assert_eq!(house.answered(request(run, change)).await, 0, "{run}");
    }
    let data = |run: &str| request(run, json!({"dataset_id": "table.csv"}));
    assert_eq!(house.answered(data("same-data")).await, 3);
    std::fs::write(directory.join("table.csv"), table(42)).unwrap();
    assert_eq!(house.answered(data("new-data")).await, 0, "the content counts, not the name");
}

#[tokio::test]
async fn failures_are_never_answered_from_the_cache_and_old_results_are_not() {
    let house = House::open().await;
    let worker = house.worker(&[&LONG[..], &["--allow-entrypoint", "faulty_trainers:*"]].concat()).await;
    let fails =
        |run: &str| request(run, json!({"trainer": "faulty_trainers:raises", "search_space": {"x": [1]}}));
    for run in ["one", "two"] {
        house.request(fails(run)).await;
        let failure = house.ended(run).await.failure.unwrap();
        assert_eq!(failure.class, FailureClass::UserCode);
    }
    assert_eq!(house.measured("cerebros_cache_hits_total").await, "0");
    worker.stop().await;

    let short = house.worker(&["--slots", "1", "--cache-enabled", "true", "--cache-ttl-ms", "1"]).await;
    house.answered(request("first", json!({}))).await;
    assert_eq!(house.answered(request("second", json!({}))).await, 0, "its time is up");
    short.stop().await;
    let _off = house.worker(&["--slots", "1"]).await;
    assert_eq!(house.answered(request("third", json!({}))).await, 0, "it is off");
}

#[tokio::test]
async fn results_outlive_their_worker_and_a_second_one_on_the_same_directory_does_without() {
    let house = House::open().await;
    let first = house.worker(&LONG).await;
    house.answered(request("first", json!({}))).await;
    first.stop().await;
    let _second = house.worker(&LONG).await;
    assert_eq!(house.answered(request("second", json!({}))).await, 3);
    let _third = house.worker(&LONG).await;
    wait_until("the third says that it does without", PATIENCE, async || {
        house.log().contains("results are not cached").then_some(())
    })
    .await;
    house.answered(request("third", json!({}))).await;
    assert_eq!(house.record("third").await.unwrap().state, RunState::Completed);
}

#[tokio::test]
async fn a_store_that_is_wiped_or_damaged_costs_no_run() {
    let house = House::open().await;
    let results = house.scratch.join("results");
    let worker = house.worker(&LONG).await;
    house.answered(request("first", json!({}))).await;
    std::fs::remove_dir_all(&results).unwrap();
    house.answered(request("second", json!({}))).await;
    assert_eq!(house.record("second").await.unwrap().state, RunState::Completed);
    worker.stop().await;

    std::fs::remove_dir_all(&results).ok();
    std::fs::create_dir_all(&results).unwrap();
    for file in ["conf", "db"] {
        std::fs::write(results.join(file), "this is no store of results").unwrap();
    }
    let _worker = house.worker(&LONG).await;
    house.answered(request("third", json!({}))).await;
    assert_eq!(house.record("third").await.unwrap().state, RunState::Completed);
    assert!(house.log().contains("results are not cached"), "and it says so");
}

/// The request of a trainer of the user's own.
fn of_mine(run: &str, change: Value) -> Value {
    let mut body = request(run, json!({"trainer": "mine:train", "search_space": {"x": [1, 2, 3]}}));
    body.as_object_mut().unwrap().extend(change.as_object().cloned().unwrap());
    body
}

impl House {
    /// Writes the module the trainer is in.
    fn write_mine(&self, text: &str) {
        let code = self.scratch.join("code");
        std::fs::create_dir_all(&code).unwrap();
        std::fs::write(code.join("mine.py"), text).unwrap();
    }

    async fn worker_of_mine(&self, arguments: &[&str]) -> WorkerProcess {
        let code = self.scratch.join("code");
        let flags = ["--repo", code.to_str().unwrap(), "--allow-entrypoint", "*", "--preload", "noop"];
        self.worker(&[&LONG[..], &flags, arguments].concat()).await
    }

    /// The objective every trial of a run came to.
    async fn accuracy(&self, run: &str) -> f64 {
        let trials = self.trials(run).await;
        trials.iter().for_each(|trial| assert_eq!(trial.metrics, trials[0].metrics));
        trials[0].metrics["accuracy"].0
    }
}

#[tokio::test]
async fn code_that_is_edited_while_the_worker_runs_is_neither_asked_about_nor_remembered() {
    let house = House::open().await;
    let code = |value: &str| format!("def train(params, trial):\n    return {{'accuracy': {value}}}\n");
    house.write_mine(&code("0.25"));
    let worker = house.worker_of_mine(&[]).await;
    house.says_in_its_log("worker ready").await;
    // Before anybody has imported it: what is run is not what was there when the worker started.
    house.write_mine(&code("0.875"));
    assert_eq!(house.answered(of_mine("edited", json!({}))).await, 0);
    assert_eq!(house.accuracy("edited").await, 0.875);
    assert_eq!(house.answered(of_mine("edited-again", json!({}))).await, 0, "it is off");
    house.says_in_its_log("has changed since the worker started").await;
    worker.stop().await;

    house.write_mine(&code("0.25"));
    let worker = house.worker_of_mine(&[]).await;
    assert_eq!(house.answered(of_mine("first", json!({}))).await, 0, "nothing of the edited code was kept");
    assert_eq!(house.accuracy("first").await, 0.25);
    assert_eq!(house.answered(of_mine("second", json!({}))).await, 3);
    // Imported long ago: what is run is older than what is there. A look at the code is trusted for a second at most.
    house.write_mine(&code("0.5"));
    let mut number = 0;
    wait_until("what was kept is not asked about", Duration::from_secs(20), async || {
        number += 1;
        (house.answered(of_mine(&format!("third-{number}"), json!({}))).await == 0).then_some(())
    })
    .await;
    assert_eq!(house.answered(of_mine("third-other", json!({"seed": 6}))).await, 0);
    worker.stop().await;

    let _worker = house.worker_of_mine(&[]).await;
    for run in ["fourth", "fourth-other"] {
        let seed = if run == "fourth" { 5 } else { 6 };
        assert_eq!(house.answered(of_mine(run, json!({"seed": seed}))).await, 0, "{run}");
        assert_eq!(house.accuracy(run).await, 0.5);
    }
    assert_eq!(house.answered(of_mine("fifth", json!({}))).await, 3);
}

#[tokio::test]
async fn a_result_that_depends_on_more_than_its_contract_is_not_remembered() {
    let house = House::open().await;
    let directory = house.scratch.join("datasets");
    std::fs::create_dir_all(&directory).unwrap();
    let table = |rows: usize| -> String {
        let row = |n: usize| format!("{n},{}\n", n % 2);
        format!("a,target\n{}", (0..rows).map(row).collect::<String>())
    };
    std::fs::write(directory.join("other.csv"), table(40)).unwrap();
    house.write_mine(
        "def train(params, trial):\n    own = trial.load_dataset()\n    assert trial.load_dataset('iris') is own\n    \
         return {'accuracy': len(own.target)}\n\n\ndef train_on_others(params, trial):\n    \
         return {'accuracy': len(trial.load_dataset('other.csv').target)}\n",
    );
    let worker = house.worker_of_mine(&[]).await;
    assert_eq!(house.answered(of_mine("own", json!({}))).await, 0);
    assert_eq!(house.answered(of_mine("own-again", json!({}))).await, 3);

    let others = |run: &str| of_mine(run, json!({"trainer": "mine:train_on_others"}));
    assert_eq!(house.answered(others("others")).await, 0);
    std::fs::write(directory.join("other.csv"), table(44)).unwrap();
    assert_eq!(house.answered(others("others-again")).await, 0);
    assert_eq!(house.accuracy("others-again").await, 44.0);

    // A function of the interpreter's own environment: a number for these two arguments, and no code of ours.
    let elsewhere = |run: &str| of_mine(run, json!({"trainer": "operator:countOf"}));
    assert_eq!(house.answered(elsewhere("elsewhere")).await, 0);
    assert_eq!(house.answered(elsewhere("elsewhere-again")).await, 0);
    worker.stop().await;

    // The same by processes of their own.
    let _worker = house.worker_of_mine(&["--invoker", "subprocess", "--timeout-ms", "80000"]).await;
    assert_eq!(house.answered(of_mine("own-once", json!({"seed": 7}))).await, 0);
    assert_eq!(house.answered(of_mine("own-once-again", json!({"seed": 7}))).await, 3);
    assert_eq!(house.answered(others("others-once")).await, 0);
    assert_eq!(house.answered(others("others-once-again")).await, 0);
}
