//! A real nats-server.

use std::time::Duration;

use local_stack::ports::{self, PortChoice, PortError};
use local_stack::readiness::{StartError, answers_ok};
use local_stack::{Broker, BrokerConfig};
use testkit::{Scratch, nats_server, wait_until};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::script::script;

const SOON: Duration = Duration::from_secs(10);

async fn config(dir: &Scratch) -> BrokerConfig {
    BrokerConfig::new(nats_server().await, dir.join("my store"), dir.join("logs").join("broker.log"))
}

/// Sends one request as any client would, without a client library, and returns the line of the reply's body.
async fn request(port: u16, subject: &str, body: &str) -> String {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    let text = format!(
        "CONNECT {{\"verbose\":false}}\r\nSUB reply 1\r\nPUB {subject} reply {}\r\n{body}\r\n",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut line = String::new();
    while !line.starts_with("MSG reply") {
        line.clear();
        tokio::time::timeout(SOON, stream.read_line(&mut line)).await.unwrap().unwrap();
    }
    line.clear();
    tokio::time::timeout(SOON, stream.read_line(&mut line)).await.unwrap().unwrap();
    line
}

#[tokio::test]
async fn a_started_broker_answers_on_the_ports_it_names_and_stops_cleanly() {
    let dir = Scratch::new();
    let broker = Broker::start(config(&dir).await).await.unwrap();
    let mut greeting = [0; 5];
    let mut client = TcpStream::connect(("127.0.0.1", broker.port())).await.unwrap();
    client.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"INFO ");
    assert_eq!(broker.url(), format!("nats://127.0.0.1:{}", broker.port()));
    assert_eq!(ports::owner(broker.port()), Some(broker.pid()));
    assert!(broker.stop().await.is_success());
}

#[tokio::test]
async fn a_restart_after_a_kill_keeps_port_and_streams() {
    let dir = Scratch::new();
    let mut broker = Broker::start(BrokerConfig { sync_always: true, ..config(&dir).await }).await.unwrap();
    let (port, monitoring) = (broker.port(), broker.monitoring_url());
    let created = request(port, "$JS.API.STREAM.CREATE.KEPT", r#"{"name":"KEPT","subjects":["kept"]}"#).await;
    assert!(created.contains(r#""did_create":true"#), "{created}");
    broker.kill_now().await;
    assert!(broker.exit().is_some());
    broker.restart().await.unwrap();
    assert_eq!((broker.port(), broker.monitoring_url()), (port, monitoring));
    let found = request(port, "$JS.API.STREAM.INFO.KEPT", "").await;
    assert!(found.contains(r#""name":"KEPT""#), "{found}");
}

#[tokio::test]
async fn a_paused_broker_is_silent_and_answers_again_when_resumed() {
    let dir = Scratch::new();
    let broker = Broker::start(config(&dir).await).await.unwrap();
    let monitoring: u16 = broker.monitoring_url().rsplit(':').next().unwrap().parse().unwrap();
    broker.pause();
    assert!(!answers_ok(monitoring, "/healthz").await);
    broker.resume();
    wait_until("it answers again", SOON, async || answers_ok(monitoring, "/healthz").await.then_some(()))
        .await;
}

#[tokio::test]
async fn a_broker_that_ends_while_starting_is_an_error_with_its_last_words_and_its_log() {
    let dir = Scratch::new();
    let binary = script(&dir, "nats-server", "echo 'the store is locked' >&2; exit 1");
    let error = Broker::start(BrokerConfig { binary, ..config(&dir).await }).await.unwrap_err();
    assert!(matches!(error, StartError::Ended { .. }), "{error}");
    assert!(error.because().unwrap().contains("the store is locked"), "{error:?}");
    assert!(error.help().contains("broker.log"), "{}", error.help());
}

#[tokio::test]
async fn a_busy_port_that_was_asked_for_is_an_error_and_a_busy_default_moves() {
    let dir = Scratch::new();
    let first = Broker::start(config(&dir).await).await.unwrap();
    let busy = first.port();
    let other = Scratch::new();
    let asked = BrokerConfig { port: PortChoice::Exactly(busy), ..config(&other).await };
    let error = Broker::start(asked).await.unwrap_err();
    let StartError::Port { source: PortError::Busy { port, owner }, .. } = error else { panic!("{error}") };
    assert_eq!((port, owner), (busy, Some(first.pid())));
    let moved = BrokerConfig { port: PortChoice::From(busy), ..config(&other).await };
    let moved = Broker::start(moved).await.unwrap();
    assert!(moved.port() > busy);
    assert_eq!(moved.moved_from(), Some(busy));
}
