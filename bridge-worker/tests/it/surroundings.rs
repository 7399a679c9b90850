//! What a trial finds around it: a directory of its own, and no more of the worker's environment than it needs.

use std::path::Path;

use schemas::event::TrialStatus;
use serde_json::json;

use crate::house::House;

/// Directories of trials and what is in them, below that of the one worker.
fn entries(work: &Path) -> Vec<std::path::PathBuf> {
    let list = |path: &Path| -> Vec<_> {
        std::fs::read_dir(path).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    };
    list(work)
        .iter()
        .flat_map(|worker| list(worker))
        .filter(|path| path.is_dir())
        .flat_map(|trial| list(&trial))
        .collect()
}

#[tokio::test]
async fn a_trial_has_an_empty_directory_of_its_own_that_is_gone_with_it_and_sees_no_secret() {
    let house = House::open().await;
    let secrets = ["NATS_TOKEN", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD"];
    let mut environment = vec![("CEREBROS_ENABLED", "true"), ("FEATURES", "ml_nas")];
    environment.extend(secrets.map(|name| (name, "secret")));
    let worker = house.worker_with(&["--slots", "2", "--allow-entrypoint", "probes:*"], &environment).await;
    let mut names = secrets.to_vec();
    names.extend(["NATS_URL", "CEREBROS_ENABLED", "CEREBROS_DATA_DIR"]);
    house
        .request(json!({"run_id": "around", "dataset_id": "digits", "trainer": "probes:looks_around", "strategy": "random",
            "search_space": {"x": {"low": 0.0, "high": 1.0}, "names": [names.join(" ")]},
            "budget": {"max_trials": 6, "parallelism": 2}}))
        .await;
    house.ended("around").await;
    let trials = house.trials("around").await;
    assert_eq!(trials.len(), 6);
    for trial in &trials {
        assert_eq!(trial.status, TrialStatus::Succeeded, "{:?}", trial.failure);
        let metric = |name: &str| trial.metrics[name].finite().unwrap();
        assert_eq!([metric("present"), metric("entries"), metric("is_its_own")], [0.0, 0.0, 1.0]);
        assert!(metric("variables") < 30.0, "{}", metric("variables"));
    }
    let left = entries(&house.scratch.join("work"));
    assert!(left.is_empty(), "{left:?}");
    worker.stop().await;
}
