//! `doctor`: parses, names what is broken, and fails only when asked to.

use serde_json::Value;
use service_kit::broker::Broker;
use service_kit::config::BrokerTarget;
use service_kit::topology;
use testkit::{Nats, Scratch};

use crate::program::{output, program, stderr, stdout};

const NAMES: [&str; 11] = [
    "python",
    "nats_server",
    "data_dir",
    "ports",
    "broker",
    "streams",
    "schemas",
    "worker",
    "dlq",
    "clock",
    "mlflow",
];

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

#[tokio::test]
async fn the_registry_of_schemas_is_held_against_this_build() {
    let nats = Nats::start().await;
    let target = BrokerTarget::at(&nats.url()).unwrap();
    let broker = Broker::connect(&target, "test", std::time::Duration::from_secs(10)).await.unwrap();
    topology::ensure(&broker).await.unwrap();
    let bucket = broker.jetstream.get_key_value(topology::SCHEMAS_BUCKET).await.unwrap();
    let schemas = async || {
        let scratch = Scratch::new();
        let mut command = program(scratch.path(), &["doctor", "--json"]);
        command.env("NATS_URL", nats.url());
        let answer: Value = serde_json::from_str(&stdout(&output(command).await)).unwrap();
        let check = check(&answer, "schemas").clone();
        (check["status"].as_str().unwrap().to_owned(), check["message"].as_str().unwrap().to_owned())
    };
    assert_eq!(schemas().await.0, "ok");
    bucket.put("RunFailed", r#"{"1":"21b893520106ca36","2":"0123456789abcdef"}"#.into()).await.unwrap();
    let (status, message) = schemas().await;
    assert_eq!(status, "warning");
    assert!(message.contains("RunFailed v2"), "{message}");
    bucket.put("RunFailed", r#"{"1":"0123456789abcdef"}"#.into()).await.unwrap();
    let (status, message) = schemas().await;
    assert_eq!(status, "error");
    assert!(message.contains("RunFailed v1"), "{message}");
}
