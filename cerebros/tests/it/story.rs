//! The whole story as the README tells it: a foreign client asks and listens; garbage is found, shown, repaired, and
//! the run it asked for happens.

use serde_json::Value;
use testkit::wait_until;
use tokio::process::Command;

use crate::program::{DataDir, READY, Up, output, stderr, stdout};

async fn lines(data_dir: &DataDir, arguments: &[&str]) -> Vec<Value> {
    let listed = output(data_dir.program(arguments)).await;
    assert!(listed.status.success(), "{}", stderr(&listed));
    stdout(&listed).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_stranger_s_request_is_served_and_a_stranger_s_garbage_is_repaired_into_the_run_it_asked_for() {
    let data_dir = DataDir::new().await;
    let _up = Up::ready(&data_dir, &["--no-mlflow", "--slots", "2"]).await;
    let url = data_dir.endpoints().unwrap()["nats"].as_str().unwrap().to_owned();

    let script = testkit::workspace().join("cerebros/tests/it/fixtures/foreign_client.py");
    let heard = Command::new(testkit::tests_python().await).arg(script).arg(&url).output().await.unwrap();
    assert!(heard.status.success(), "{}", String::from_utf8_lossy(&heard.stderr));
    let told: Vec<Value> = String::from_utf8(heard.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let on = |subject: &str| told.iter().filter(|line| line["subject"] == subject).count();
    assert_eq!(
        (on("cerebros.nas.run.started"), on("ml.run.trial"), on("cerebros.nas.run.completed")),
        (1, 6, 1)
    );

    let letters = wait_until("the garbage is a dead letter", READY, async || {
        let letters = lines(&data_dir, &["dlq", "list", "-o", "ndjson"]).await;
        (!letters.is_empty()).then_some(letters)
    })
    .await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0]["reason"].as_str().unwrap().contains("dataset_id"));
    let id = letters[0]["id"].as_str().unwrap();
    let raw = output(data_dir.program(&["dlq", "show", id, "--raw"])).await;
    assert_eq!(raw.stdout, br#"{"dataset": "iris", "run_id": "repaired", "budget": {"max_trials": 1}}"#);

    let repair = ["dlq", "replay", id, "--edit", ".dataset_id = .dataset | del(.dataset)"];
    let replayed = output(data_dir.program(&repair)).await;
    assert!(replayed.status.success(), "{}", stderr(&replayed));
    let run = wait_until("the repaired run is over", READY, async || {
        let runs = lines(&data_dir, &["run", "list", "-o", "ndjson"]).await;
        runs.into_iter().find(|run| run["run_id"] == "repaired" && run["state"] == "completed")
    })
    .await;
    assert_eq!((&run["dataset_id"], &run["completed_trials"]), (&Value::from("iris"), &Value::from(1)));
    let again = output(data_dir.program(&repair)).await;
    assert_eq!(again.status.code(), Some(5), "a second replay has no effect and says so");
}
