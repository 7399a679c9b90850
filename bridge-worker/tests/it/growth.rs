//! Workers of different builds and different encodings on one run.

use schemas::event::RunCompleted;
use schemas::lifecycle::RunState;
use schemas::subject::STREAM;
use schemas::{Encoding, Event};
use serde_json::json;
use service_kit::history::History;

use crate::house::{ALL, House};

const ARGUMENTS: [&str; 4] = ["--slots", "1", "--allow-entrypoint", "probes:*"];

/// With this seed the best of the eight is among the first four.
fn eight(house: &House, run: &str) -> serde_json::Value {
    json!({"run_id": run, "dataset_id": "digits", "trainer": "probes:leaves_a_file", "strategy": "random", "seed": 2,
        "search_space": {"seconds": [0.01], "x": {"low": 0.0, "high": 1.0}, "free": [house.held()]},
        "budget": {"max_trials": 8, "parallelism": 1}})
}

async fn completed(house: &House, run: &str) -> RunCompleted {
    let end = |event| if let Event::RunCompleted(end) = event { Some(end) } else { None };
    house.events(run).await.into_iter().find_map(end).unwrap()
}

/// In which encodings the trials were written, in order.
async fn encodings(house: &House) -> Vec<Encoding> {
    let mut history = History::to_the_present(&house.broker, STREAM, &["ml.run.trial"], 1).await.unwrap();
    let mut encodings = Vec::new();
    while let Some(kept) = history.next().await.unwrap() {
        encodings.push(kept.decode().unwrap().encoding);
    }
    encodings
}

#[tokio::test]
async fn an_attempt_in_json_goes_on_with_what_one_in_avro_left_and_knows_the_best_model_s_checksum() {
    let house = House::open().await;
    let avro = house.worker(&[&ARGUMENTS[..], &["--encoding", "avro"]].concat()).await;
    house.free(4);
    house.request(eight(&house, "mixed")).await;
    house.trained("mixed", 4).await;
    avro.stop_held(&house, 5).await;
    house.free(ALL);
    let json = house.worker(&ARGUMENTS).await;
    let record = house.ended("mixed").await;
    assert_eq!((record.state, record.completed_trials), (RunState::Completed, 8));
    json.stop().await;

    let encodings = encodings(&house).await;
    assert_eq!(encodings.len(), 8);
    assert!(encodings.contains(&Encoding::Avro) && encodings.contains(&Encoding::Json), "{encodings:?}");
    let end = completed(&house, "mixed").await;
    let trials = house.trials("mixed").await;
    let best =
        trials.iter().find(|trial| end.best_trial_id.as_deref() == Some(trial.trial_id.as_str())).unwrap();
    assert_eq!((best.attempt, end.attempt), (Some(1), 2), "the best trial is one of the first attempt's");
    assert_eq!(best.artifact_refs, end.artifact_refs);
    assert!(
        end.artifact_refs[0].checksum.as_ref().unwrap().starts_with("sha256:"),
        "{:?}",
        end.artifact_refs
    );
    assert_eq!(best.artifact_uri.as_ref(), Some(&end.artifact_refs[0].uri));
}
