//! Data sets that are files: of the directory the operator allowed, and of the artefact store.

use schemas::lifecycle::RunState;
use schemas::{Event, Failure, FailureClass, Stage};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::house::House;

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
    assert_eq!(house.dead_letters().await.len(), 5, "each request is one dead letter");
}

#[tokio::test]
async fn a_broken_row_fails_the_run_and_is_named() {
    let house = House::open().await;
    house.put("broken.csv", &format!("{}oops,odd\n", table(10)));
    let _worker = house.worker(&["--slots", "1"]).await;
    let failure = house.refusal_of("broken", "broken.csv").await;
    assert!(failure.message.contains("row 12, column 'number': 'oops'"), "{}", failure.message);
}
