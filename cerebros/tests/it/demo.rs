//! `demo`: one search from nothing to nothing, its numbers from MLflow and from the events.

use serde_json::Value;

use crate::program::{DataDir, output, stderr, stdout};

#[tokio::test]
async fn a_demo_prints_the_best_model_and_leaves_nothing_running() {
    let data_dir = DataDir::new().await;
    let spec = r#"{"dataset_id": "iris", "budget": {"max_trials": 3, "parallelism": 2}, "seed": 7}"#;
    let demo = output(data_dir.program(&["demo", spec, "-o", "json"])).await;
    assert_eq!(demo.status.code(), Some(0), "{}", stderr(&demo));
    let report: Value = serde_json::from_str(&stdout(&demo)).unwrap();
    assert_eq!(
        (report["trials"].as_u64(), report["mlflow"]["trials"].as_u64()),
        (Some(3), Some(3)),
        "{report}"
    );
    for metric in ["best_metric", "test_accuracy"] {
        assert!(
            report[metric].as_f64().is_some_and(|value| (0.0..=1.0).contains(&value)),
            "{metric}: {report}"
        );
    }
    assert!(report["parameters"]["layers"].is_array(), "{report}");
    assert!(report["elapsed"]["search_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{report}");
    let model = report["model_files"][0].as_str().unwrap();
    assert!(std::fs::metadata(model).is_ok_and(|file| file.len() > 0), "{model}");

    assert_eq!(mentioning(&data_dir), Vec::<String>::new(), "no process is left");
    let left: Vec<_> =
        std::fs::read_dir(data_dir.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(
        left.iter().all(|name| ["tools", "models", "logs"].iter().any(|stays| name == stays)),
        "{left:?}"
    );
}

#[tokio::test]
async fn a_search_that_fails_is_no_success() {
    let data_dir = DataDir::new().await;
    let spec = r#"{"dataset_id": "iris", "search_space": {"layers": [4], "learning_rate": [1e300]}, "budget": {"max_trials": 2}}"#;
    let demo = output(data_dir.program(&["demo", spec, "-o", "json"])).await;
    assert_eq!(demo.status.code(), Some(8), "{}", stderr(&demo));
    let report: Value = serde_json::from_str(&stdout(&demo)).unwrap();
    assert_eq!(report["state"], "failed");
    assert!(report["reason"].as_str().unwrap().contains("learning_rate"), "{report}");
    assert_eq!(mentioning(&data_dir), Vec::<String>::new(), "no process is left");
}

/// Command lines of the processes that have to do with this data directory.
fn mentioning(data_dir: &DataDir) -> Vec<String> {
    let place = data_dir.path().to_string_lossy().into_owned();
    let output = std::process::Command::new("ps").args(["-axww", "-o", "stat=,args="]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| line.contains(&place) && !line.starts_with('Z')).map(str::to_owned).collect()
}
