//! The how-to guides: what they show is in `examples/worker`, and does what they say.

use schemas::event::RunCompleted;
use schemas::lifecycle::RunState;
use schemas::{Event, FailureClass};
use serde_json::{Value, json};
use testkit::workspace;

use crate::house::House;

/// A guide's blocks of code in one language.
fn blocks(guide: &str, language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(workspace().join(format!("docs/how-to/{guide}.md"))).unwrap();
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// The arguments the guide starts its worker with, run from the workspace.
fn arguments(guide: &str) -> Vec<String> {
    let command = blocks(guide, "sh")
        .into_iter()
        .find_map(|block| block.trim().strip_prefix("bridge-worker serve ").map(str::to_owned));
    let words = command.unwrap().replace('\'', "");
    let here = |word: &str| {
        if word.starts_with("examples/") {
            workspace().join(word).to_str().unwrap().to_owned()
        } else {
            word.to_owned()
        }
    };
    words.split_whitespace().map(here).collect()
}

/// Follows a guide: its worker, its request, to the end.
async fn followed(house: &House, guide: &str, example: &str) -> RunCompleted {
    let source = std::fs::read_to_string(workspace().join("examples/worker").join(example)).unwrap();
    assert_eq!(blocks(guide, "python"), [source], "{guide} shows {example}");
    let words = arguments(guide);
    let mut flags = vec!["--slots", "1", "--preload", "noop"];
    flags.extend(words.iter().map(String::as_str));
    let worker = house.worker(&flags).await;
    let mut request: Value = serde_json::from_str(&blocks(guide, "json")[0]).unwrap();
    request["run_id"] = guide.into();
    house.request(request.clone()).await;
    let record = house.ended(guide).await;
    assert_eq!(record.state, RunState::Completed, "{guide}: {:?}", record.failure);
    let asked_for = request["budget"]["max_trials"].as_u64().unwrap();
    assert_eq!(house.trials(guide).await.len() as u64, asked_for);
    worker.stop().await;
    let Some(Event::RunCompleted(end)) = house.events(guide).await.pop() else { panic!("{guide}") };
    end
}

#[tokio::test]
async fn a_trainer_of_your_own() {
    let house = House::open().await;
    let end = followed(&house, "bring-your-own-trainer", "my_trainer.py").await;
    assert!(end.best_metric.unwrap().0 < 1.0);
    assert!(end.artifact_refs[0].uri.ends_with("/model.json"));
}

#[tokio::test]
async fn a_run_nas_of_your_own() {
    let house = House::open().await;
    let end = followed(&house, "bring-your-own-run-nas", "my_search.py").await;
    assert_eq!(
        end.artifact_refs[0].uri,
        "nats://cerebros_artifacts/bring-your-own-run-nas/run/best_model.json"
    );
    assert_eq!(end.population_history.0.as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn an_existing_script() {
    let house = House::open().await;
    let end = followed(&house, "run-an-existing-script", "existing_script.py").await;
    assert_eq!((&end.best_model.0, end.best_metric.unwrap().0), (&json!({"layers": 8}), 0.875));
}

#[tokio::test]
async fn without_the_operator_s_word_the_examples_are_refused() {
    let house = House::open().await;
    let worker = house.worker(&["--slots", "1", "--preload", "noop"]).await;
    for guide in ["bring-your-own-trainer", "bring-your-own-run-nas", "run-an-existing-script"] {
        let mut request: Value = serde_json::from_str(&blocks(guide, "json")[0]).unwrap();
        request["run_id"] = guide.into();
        house.request(request).await;
        assert_eq!(
            house.ended(guide).await.failure.unwrap().class,
            FailureClass::EntrypointRefused,
            "{guide}"
        );
    }
    worker.stop().await;
}
