//! `events tail`: every message a line, in order, from where it was asked.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use serde_json::Value;
use service_kit::broker::Broker;
use service_kit::config::BrokerTarget;
use service_kit::topology;
use testkit::{Nats, Scratch};
use tokio::sync::mpsc;

use crate::program::{output, program};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

async fn connected(nats: &Nats) -> Broker {
    let broker = Broker::connect(&BrokerTarget::at(&nats.url()).unwrap(), "test", PATIENCE).await.unwrap();
    topology::ensure(&broker).await.unwrap();
    broker
}

async fn publish(broker: &Broker, subject: &'static str, payload: &'static str) {
    broker.jetstream.publish(subject, payload.into()).await.unwrap().await.unwrap();
}

/// A running `events tail` and its lines.
struct Tail {
    child: Child,
    lines: mpsc::Receiver<Value>,
}

impl Tail {
    fn start(nats: &Nats, cwd: &Scratch, flags: &[&str]) -> Self {
        let mut command = program(cwd.path(), &[&["events", "tail", "-o", "ndjson"], flags].concat());
        let mut child = command.env("NATS_URL", nats.url()).stdout(Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel(64);
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.blocking_send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    async fn next(&mut self) -> Value {
        tokio::time::timeout(PATIENCE, self.lines.recv()).await.unwrap().unwrap()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test]
async fn every_message_makes_a_line_also_one_that_is_no_event() {
    let nats = Nats::start().await;
    let broker = connected(&nats).await;
    publish(&broker, "cerebros.nas.run.requested", r#"{"dataset_id": "iris", "run_id": "mine"}"#).await;
    publish(&broker, "ml.run.trial", "garbage").await;
    let scratch = Scratch::new();
    let mut tail = Tail::start(&nats, &scratch, &["--from-seq", "1"]);
    let (request, garbage) = (tail.next().await, tail.next().await);
    assert_eq!((&request["seq"], &request["run_id"]), (&Value::from(1), &Value::from("mine")));
    assert_eq!(request["type"], "cerebros.nas.run.requested.v1");
    assert_eq!(
        (&garbage["subject"], &garbage["data"]),
        (&Value::from("ml.run.trial"), &Value::from("garbage"))
    );
}

#[tokio::test]
async fn after_a_restart_of_the_broker_it_goes_on_behind_its_last_line() {
    let mut nats = Nats::start().await;
    let broker = connected(&nats).await;
    publish(&broker, "ml.run.metric", "one").await;
    let scratch = Scratch::new();
    let mut tail = Tail::start(&nats, &scratch, &["--from-seq", "1", "--subject", "ml.run.*"]);
    assert_eq!(tail.next().await["seq"], 1);
    nats.kill().await;
    nats.restart().await;
    let broker = connected(&nats).await;
    publish(&broker, "cerebros.nas.run.requested", "not asked for").await;
    publish(&broker, "ml.run.metric", "two").await;
    assert_eq!(tail.next().await["seq"], 3);
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_said() {
    let nats = Nats::start().await;
    let scratch = Scratch::new();
    let mut command = program(scratch.path(), &["events", "tail"]);
    command.env("NATS_URL", nats.url());
    let found = tokio::time::timeout(PATIENCE, output(command)).await.unwrap();
    assert_eq!(found.status.code(), Some(6));
}
