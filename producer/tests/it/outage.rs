//! A broker that is not there, or does not answer: exit code 6, in time.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use testkit::{Fault, Proxy};

use crate::program::{Ended, Running, producer};
use crate::stage::Stage;

const EVERY_COMMAND: [&[&str]; 7] = [
    &["submit", "--set", "dataset_id=iris"],
    &["watch", "r"],
    &["list"],
    &["show", "r"],
    &["cancel", "r"],
    &["scale", "r", "1"],
    &["retry", "r"],
];

/// Every command at once; each with how long it took.
async fn every_command(url: &str, flags: &[&str]) -> Vec<(Ended, Duration)> {
    let run = async |arguments: &&[&str]| {
        let started = Instant::now();
        (producer(url, &[arguments, flags].concat()).await, started.elapsed())
    };
    join_all(EVERY_COMMAND.iter().map(run)).await
}

#[tokio::test]
async fn a_dead_port_is_said_at_once() {
    for (ended, took) in every_command("nats://127.0.0.1:1", &[]).await {
        assert_eq!((ended.code, ended.stdout.as_str()), (6, ""), "{ended:?}");
        assert!(
            ended.stderr.starts_with("error[broker-unreachable]") && ended.stderr.contains("help:"),
            "{ended:?}"
        );
        assert!(took < Duration::from_secs(9), "took {took:?}: {ended:?}");
    }
}

#[tokio::test]
async fn a_black_hole_is_left_within_the_timeout() {
    let stage = Stage::set().await;
    let proxy = Proxy::start(&stage.url()).await;
    proxy.set(Fault::BlackHole);
    for (ended, took) in every_command(&proxy.url(), &["--timeout", "1s"]).await {
        assert_eq!((ended.code, ended.stdout.as_str()), (6, ""), "{ended:?}");
        // Without the flag it is ten seconds.
        assert!(took < Duration::from_secs(9), "took {took:?}: {ended:?}");
    }
}

#[tokio::test]
async fn a_watch_notices_that_the_broker_went_silent() {
    let stage = Stage::set().await;
    let proxy = Proxy::start(&stage.url()).await;
    producer(&stage.url(), &["submit", "--set", "dataset_id=iris", "--run-id", "r"]).await.id();
    let arguments = ["watch", "r", "-o", "ndjson", "--timeout", "5s"];
    let mut running = Running::start(&proxy.url(), &arguments);
    running.line().await.unwrap();
    proxy.set(Fault::BlackHole);
    let started = Instant::now();
    let ended = running.end().await;
    assert_eq!(ended.code, 6, "{ended:?}");
    assert!(ended.stderr.contains("producer watch r"), "{ended:?}");
    // A reader that is told nothing finds out by itself after half a minute.
    assert!(started.elapsed() < Duration::from_secs(20), "took {:?}", started.elapsed());
}

#[tokio::test]
async fn a_submit_that_got_no_answer_can_be_repeated() {
    let stage = Stage::set().await;
    stage.nats.pause();
    let submit = ["submit", "--set", "dataset_id=iris", "--run-id", "r", "--timeout", "1s"];
    let lost = producer(&stage.url(), &submit).await;
    stage.nats.resume();
    assert_eq!(lost.code, 6, "{lost:?}");
    let submit = ["submit", "--set", "dataset_id=iris", "--run-id", "r"];
    assert_eq!(producer(&stage.url(), &submit).await.id(), "r");
    assert_eq!(stage.requests().await.len(), 1);
}
