//! `doctor`: parses, names what is broken, and fails only when asked to.

use serde_json::Value;
use testkit::Scratch;

use crate::program::{output, program, stderr, stdout};

const NAMES: [&str; 10] =
    ["python", "nats_server", "data_dir", "ports", "broker", "streams", "worker", "dlq", "clock", "mlflow"];

fn check<'a>(answer: &'a Value, name: &str) -> &'a Value {
    answer["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()
}

#[tokio::test]
async fn a_dead_broker_is_named_with_a_remedy_and_nothing_is_created() {
    let scratch = Scratch::new();
    let mut command = program(scratch.path(), &["doctor", "--json"]);
    command.env("NATS_URL", "nats://127.0.0.1:1");
    let found = output(command).await;
    assert_eq!(found.status.code(), Some(0), "{}", stderr(&found));
    let answer: Value = serde_json::from_str(&stdout(&found)).unwrap();
    let names: Vec<_> =
        answer["checks"].as_array().unwrap().iter().map(|check| check["name"].clone()).collect();
    assert_eq!(names, NAMES);
    assert_eq!(answer["status"], "error");
    let broker = check(&answer, "broker");
    assert_eq!(broker["status"], "error");
    assert!(broker["message"].as_str().unwrap().contains("nats://127.0.0.1:1"), "{broker}");
    assert!(broker["remedy"].as_str().unwrap().contains("cerebros up"), "{broker}");
    assert_eq!(check(&answer, "streams")["status"], "warning", "what could not be checked has not passed");
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn strict_turns_findings_into_an_exit_code() {
    let scratch = Scratch::new();
    let mut command = program(scratch.path(), &["doctor", "--strict", "-o", "ndjson"]);
    command.env("NATS_URL", "nats://127.0.0.1:1");
    let found = output(command).await;
    assert_eq!(found.status.code(), Some(9));
    assert_eq!(stdout(&found).lines().count(), NAMES.len());
}

#[tokio::test]
async fn a_broker_that_holds_its_tongue_costs_seconds_not_minutes() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let scratch = Scratch::new();
    let mut command = program(scratch.path(), &["doctor", "--json"]);
    command.env("NATS_URL", format!("nats://{}", listener.local_addr().unwrap()));
    let found = tokio::time::timeout(std::time::Duration::from_secs(15), output(command)).await.unwrap();
    let answer: Value = serde_json::from_str(&stdout(&found)).unwrap();
    assert_eq!(check(&answer, "broker")["status"], "error");
}
