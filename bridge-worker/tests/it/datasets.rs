//! Data sets that are files: of the directory the operator allowed, and of the artefact store.

use base64::Engine as _;
use bridge_worker::artifacts::Artifacts;
use bridge_worker::datasets::{Datasets, NotLocated};
use schemas::lifecycle::RunState;
use schemas::{Event, Failure, FailureClass, Stage};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use testkit::wait_until;

use crate::house::{ALL, House, PATIENCE};

fn table(rows: usize) -> String {
    let rows = (0..rows).map(|n| format!("{n},{}\n", if n % 2 == 0 { "even" } else { "odd" }));
    format!("number,target\n{}", rows.collect::<String>())
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl House {
    fn put(&self, name: &str, content: &str) {
        let directory = self.scratch.join("datasets");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(name), content).unwrap();
    }

    async fn store(&self, object: &str, content: &str) {
        let store = self.broker.jetstream.get_object_store("cerebros_artifacts").await.unwrap();
        store.put(object, &mut content.as_bytes()).await.unwrap();
    }

    /// Has the store say something else of an object.
    async fn forge(&self, object: &str, change: impl FnOnce(&mut serde_json::Value)) {
        let name = base64::engine::general_purpose::URL_SAFE.encode(object);
        let subject = format!("$O.cerebros_artifacts.M.{name}");
        let stream = self.broker.jetstream.get_stream("OBJ_cerebros_artifacts").await.unwrap();
        let message = stream.get_last_raw_message_by_subject(&subject).await.unwrap();
        let mut said = serde_json::from_slice(&message.payload).unwrap();
        change(&mut said);
        let sent = self.broker.jetstream.publish(subject, said.to_string().into()).await.unwrap();
        sent.await.unwrap();
    }

    /// Puts an object into the store whose content never comes.
    async fn store_nothing_but_a_promise(&self, object: &str) {
        self.store(object, &table(30)).await;
        self.forge(object, |said| {
            said["nuid"] = json!("nowhere");
            said["digest"] = json!(format!("SHA-256={}=", "A".repeat(43)));
        })
        .await;
    }

    async fn train_on(&self, run: &str, dataset: &str) -> RunState {
        self.request(json!({"run_id": run, "dataset_id": dataset, "seed": 1,
            "search_space": {"layers": [4], "activation": ["relu"], "epochs": 2},
            "budget": {"max_trials": 1, "population_size": 1}}))
            .await;
        self.ended(run).await.state
    }

    async fn refusal_of(&self, run: &str, dataset: &str) -> Failure {
        assert_eq!(self.train_on(run, dataset).await, RunState::Failed);
        let Some(Event::RunFailed(end)) = self.events(run).await.pop() else { panic!("{run} did not fail") };
        assert_eq!(end.failure.class, FailureClass::Validation, "{:?}", end.failure);
        end.failure
    }
}

#[tokio::test]
async fn files_of_the_directory_and_of_the_store_are_trained_on_with_their_checksum() {
    let house = House::open().await;
    house.put("table.csv", &table(40));
    house.store("before/before-0/kept.csv", &table(30)).await;
    let _worker = house.worker(&["--slots", "1"]).await;
    let by_path = format!("table.csv#sha256={}", sha256(&table(40)));
    assert_eq!(house.train_on("by-path", &by_path).await, RunState::Completed);
    let stored = format!("artifact:before/before-0/kept.csv#sha256={}", sha256(&table(30)));
    assert_eq!(house.train_on("stored", &stored).await, RunState::Completed);
}

#[tokio::test]
async fn a_set_that_is_missing_or_another_than_asked_for_is_refused_before_anything_trains() {
    let house = House::open().await;
    house.put("table.csv", &table(40));
    house.store("before/before-0/kept.csv", &table(30)).await;
    let _worker = house.worker(&["--slots", "1", "--preload", "noop"]).await;
    let wrong = "0".repeat(64);
    let right = sha256(&table(40));
    for (run, dataset, words) in [
        ("missing", "tabel.csv".to_owned(), "table.csv"),
        ("another", format!("table.csv#sha256={wrong}"), right.as_str()),
        ("no-artefact", "artifact:before/before-0/lost.csv".to_owned(), "before/before-0/kept.csv"),
        ("no-run", "artifact:never/never-0/a.csv".to_owned(), "nothing"),
        ("stored-another", format!("artifact:before/before-0/kept.csv#sha256={wrong}"), "SHA-256"),
    ] {
        let failure = house.refusal_of(run, &dataset).await;
        assert_eq!(failure.stage, Stage::Validate);
        assert!(failure.message.contains(words), "{}", failure.message);
        assert!(house.trials(run).await.is_empty());
    }
    wait_until("all are dead letters", PATIENCE, async || {
        (house.dead_letters().await.len() == 5).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_broken_row_fails_the_run_and_is_named() {
    let house = House::open().await;
    house.put("broken.csv", &format!("{}oops,odd\n", table(10)));
    let _worker = house.worker(&["--slots", "1"]).await;
    let failure = house.refusal_of("broken", "broken.csv").await;
    assert!(failure.message.contains("row 12, column 'number': 'oops'"), "{}", failure.message);
}

#[tokio::test]
async fn no_more_is_fetched_than_the_store_promised_and_nothing_of_it_stays() {
    let house = House::open().await;
    house.store("before/before-0/large.csv", &table(1000)).await;
    house.forge("before/before-0/large.csv", |said| said["size"] = json!(100)).await;
    let fetched = house.scratch.join("fetched");
    let datasets = Datasets::new(house.scratch.join("datasets"), fetched.clone());
    let artifacts = Artifacts::open(&house.broker).await.unwrap();
    let refused = datasets.locate(&artifacts, "artifact:before/before-0/large.csv").await;
    let Err(NotLocated::Refused(failure)) = refused else { panic!("{refused:?}") };
    assert!(failure.message.contains("more than the 100 bytes"), "{}", failure.message);
    assert_eq!(std::fs::read_dir(&fetched).unwrap().count(), 0);
}

#[tokio::test]
async fn a_download_that_hangs_keeps_no_other_waiting_and_leaves_nothing_when_it_is_given_up() {
    let house = House::open().await;
    house.store_nothing_but_a_promise("before/before-0/hangs.csv").await;
    house.store("before/before-0/kept.csv", &table(30)).await;
    let fetched = house.scratch.join("fetched");
    let datasets = Datasets::new(house.scratch.join("datasets"), fetched.clone());
    let artifacts = Artifacts::open(&house.broker).await.unwrap();
    let hangs = datasets.locate(&artifacts, "artifact:before/before-0/hangs.csv");
    let others = async {
        wait_until("a file is under way", PATIENCE, async || fetched.read_dir().ok()?.next().map(drop)).await;
        datasets.locate(&artifacts, "artifact:before/before-0/kept.csv").await.unwrap().unwrap()
    };
    let kept = tokio::select! {
        located = hangs => panic!("{located:?}"),
        kept = tokio::time::timeout(PATIENCE, others) => kept.expect("it waits for the other"),
    };
    let left: Vec<_> = std::fs::read_dir(&fetched).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, std::slice::from_ref(&kept.path));
}

#[tokio::test]
async fn a_run_whose_data_set_does_not_come_hears_of_its_cancel_and_of_its_worker_s_end() {
    let house = House::open().await;
    house.store_nothing_but_a_promise("before/before-0/hangs.csv").await;
    let worker = house.worker(&["--slots", "1", "--preload", "noop"]).await;
    let waits = async |run: &str| {
        house
            .request(json!({"run_id": run, "dataset_id": "artifact:before/before-0/hangs.csv",
                "search_space": {"x": [0.5]}, "trainer": "noop"}))
            .await;
        wait_until("the run is claimed", PATIENCE, async || house.record(run).await).await;
    };
    waits("cancelled").await;
    house.publish_plain("cerebros.nas.run.cancel_requested", r#"{"run_id": "cancelled"}"#).await;
    assert_eq!(house.ended("cancelled").await.state, RunState::Cancelled);
    waits("interrupted").await;
    worker.stop().await;
    assert_eq!(house.record("interrupted").await.unwrap().state, RunState::Interrupted);
}

#[tokio::test]
async fn a_search_goes_on_with_the_file_it_began_with_and_with_no_other() {
    let house = House::open().await;
    house.put("stays.csv", &table(40));
    house.put("replaced.csv", &table(40));
    let arguments = ["--slots", "2", "--allow-entrypoint", "faulty_trainers:*"];
    let first = house.worker(&arguments).await;
    house.free(1);
    for run in ["stays", "replaced"] {
        house
            .request(json!({"run_id": run, "dataset_id": format!("{run}.csv"), "strategy": "random",
                "trainer": "faulty_trainers:sleeps_in_slices", "search_space": {"seconds": [0.05], "free": [house.held()]},
                "budget": {"max_trials": 10, "parallelism": 1}}))
            .await;
    }
    house.trained("stays", 1).await;
    house.trained("replaced", 1).await;
    first.stop_held(&house, 2).await;
    house.free(ALL);
    house.put("replaced.csv", &table(50));
    let second = house.worker(&arguments).await;
    let failure = house.ended("replaced").await.failure.unwrap();
    assert_eq!((failure.class, failure.stage), (FailureClass::Validation, Stage::Validate));
    for digest in [sha256(&table(40)), sha256(&table(50))] {
        assert!(failure.message.contains(&digest), "{}", failure.message);
    }
    let record = house.ended("stays").await;
    assert_eq!((record.state, record.attempt), (RunState::Completed, 2));
    second.stop().await;
}
