//! Messages that are meant to harm: headers no client can read, texts that act on a terminal, borrowed verdicts.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use schemas::subject::{DLQ_STREAM, STREAM};
use service_kit::history;
use service_kit::topology::CLASSIFIER_CONSUMER;
use testkit::wait_until;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::room::{LONG_LEASE, PATIENCE, Room, text};

/// Publishes bytes the client libraries refuse to send.
pub(crate) async fn publish_raw(room: &Room, subject: &[u8], headers: &[u8], payload: &[u8]) {
    let address = room.nats.url().trim_start_matches("nats://").to_owned();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let mut frame = b"CONNECT {\"verbose\":false,\"headers\":true}\r\nHPUB ".to_vec();
    frame.extend_from_slice(subject);
    frame.extend_from_slice(format!(" {} {}\r\n", headers.len(), headers.len() + payload.len()).as_bytes());
    frame.extend_from_slice(headers);
    frame.extend_from_slice(payload);
    frame.extend_from_slice(b"\r\nPING\r\n");
    connection.write_all(&frame).await.unwrap();
    let mut lines = BufReader::new(connection).lines();
    while lines.next_line().await.unwrap().unwrap() != "PONG" {}
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_break_a_client_are_dead_lettered_and_do_not_stop_the_others() {
    let room = Room::new().await;
    room.with_short_leases().await;
    let _serving = room.serve_into("serve.log");
    room.announce("r").await;
    let broken: [&[u8]; 6] = [
        b"NATS/1.0\r\nX: \xff\xfe\r\n\r\n",
        b"NATS/1.0\r\nno colon\r\n\r\n",
        b"NATS/1.0\r\nA B: c\r\n\r\n",
        b"NATS/1.0\r\nA: c\rd\r\n\r\n",
        b"garbage\r\n\r\n",
        b"NATS/1.0\r\nX: \xff\r\n\r\n",
    ];
    for (number, headers) in broken.iter().enumerate() {
        publish_raw(&room, b"ml.run.trial", headers, format!("payload {number}").as_bytes()).await;
        room.publish("ml.run.trial", &[], br#"{"trial_id":"t","run_id":"r","status":"succeeded"}"#).await;
    }
    publish_raw(&room, b"ml.run.\xff\xfe", b"NATS/1.0\r\n\r\n", b"payload 6").await;
    room.publish("ml.run.trial", &[], b"the last one").await;
    let entries = room.entries(8).await;
    let reasons: Vec<&str> = entries.iter().map(|entry| text(entry, "reason")).collect();
    assert_eq!(
        reasons.iter().filter(|reason| reason.contains("no client can receive it")).count(),
        7,
        "{reasons:#?}"
    );
    for number in 0..7 {
        let payload = format!("payload {number}");
        let mut found = false;
        for entry in &entries {
            found |= room.dlq(&["show", text(entry, "id"), "--raw"]).await.stdout == payload.as_bytes();
        }
        assert!(found, "{payload} is kept");
    }
    wait_until("what can be read is all that is left on the stream", PATIENCE, async || {
        (room.state(STREAM).await.messages == 8).then_some(())
    })
    .await;
    room.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_breaks_the_client_down_does_not_stop_the_service() {
    let room = Room::new().await;
    room.with_short_leases().await;
    // The client library breaks down with a panic, which is said where it happens.
    let mut serving = room.serve_into("serve.log");
    publish_raw(&room, b"ml.run.trial", b"NATS/1.0\r\nA: c\rd\r\n\r\n", b"first").await;
    room.publish("ml.run.trial", &[], b"second").await;
    let entries = room.entries(2).await;
    assert_eq!(room.dlq(&["show", text(&entries[0], "id"), "--raw"]).await.stdout, b"first");
    assert_eq!(room.dlq(&["show", text(&entries[1], "id"), "--raw"]).await.stdout, b"second");
    assert!(serving.child.try_wait().unwrap().is_none(), "it is the same process");
    let log = std::fs::read_to_string(room.scratch.join("serve.log")).unwrap();
    assert!(log.contains("message 1 can be received by no client"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_break_a_client_are_found_however_far_behind_the_floor_is() {
    let room = Room::new().await;
    let consumer = room.with_short_leases().await;
    room.lease(&consumer, LONG_LEASE).await;
    // The first waits for its run, and the floor with it, while what comes behind it is settled.
    room.publish("ml.run.trial", &[], br#"{"trial_id":"t","run_id":"late","status":"succeeded"}"#).await;
    let jetstream = async_nats::jetstream::new(room.stranger.clone());
    for _ in 0..67 {
        let sent = (0..300).map(|_| jetstream.publish("ml.run.trial", "{".into()));
        for confirmed in futures_util::future::join_all(sent).await {
            confirmed.unwrap().await.unwrap();
        }
    }
    let mut messages = consumer.stream().max_messages_per_batch(1000).messages().await.unwrap();
    let mut settled = HashSet::new();
    while settled.len() < 20_100 {
        let message = messages.next().await.unwrap().unwrap();
        let sequence = message.info().unwrap().stream_sequence;
        if sequence > 1 {
            message.ack().await.unwrap();
            settled.insert(sequence);
        }
    }
    drop(messages);
    wait_until("only the first is left", PATIENCE, async || {
        (room.waiting(CLASSIFIER_CONSUMER).await == (0, 1)).then_some(())
    })
    .await;
    room.lease(&consumer, Duration::from_millis(500)).await;
    publish_raw(&room, b"ml.run.trial", b"NATS/1.0\r\nno colon\r\n\r\n", b"payload").await;
    room.publish("ml.run.trial", &[], b"behind it").await;
    let _serving = room.serve_into_with("serve.log", &["--unknown-run-after", "1h"]);
    let entries = room.entries(2).await;
    assert_eq!(room.dlq(&["show", text(&entries[0], "id"), "--raw"]).await.stdout, b"payload");
    assert_eq!(room.dlq(&["show", text(&entries[1], "id"), "--raw"]).await.stdout, b"behind it");
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_act_on_a_terminal_are_written_out() {
    let room = Room::new().await;
    let _serving = room.serve();
    let evil = "\u{1b}]0;owned\u{7}\u{202e}\u{9b}31m";
    let payload = format!("{{\"dataset_id\": 3, \"{evil}\": \u{1b}[2J");
    room.publish("cerebros.nas.run.requested", &[("X-Evil", evil), ("ce-subject", evil)], payload.as_bytes())
        .await;
    let id = text(&room.entries(1).await[0], "id").to_owned();
    let commands: [&[&str]; 5] =
        [&["list"], &["groups"], &["show", &id], &["list", "-o", "json"], &["show", &id, "-o", "ndjson"]];
    for arguments in commands {
        let output = room.dlq(arguments).await;
        let shown = String::from_utf8(output.stdout).unwrap();
        let is_evil = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!shown.contains(is_evil), "{arguments:?}: {shown:?}");
    }
    assert_eq!(room.dlq(&["show", &id, "--raw"]).await.stdout, payload.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_cannot_write_its_own_verdict() {
    let room = Room::new().await;
    let _serving = room.serve();
    let borrowed = [
        ("Cerebros-Dlq-Id", "1-beef"),
        ("cerebros-dlq-class", "cancelled"),
        ("Cerebros-Dlq-Replays", "4000000000"),
    ];
    room.publish("cerebros.nas.run.requested", &borrowed, b"{").await;
    let entry = &room.entries(1).await[0];
    assert_ne!(text(entry, "id"), "1-beef");
    assert_eq!(text(entry, "class"), "decode");
    let letter = history::at(&room.broker, DLQ_STREAM, 1).await.unwrap().unwrap();
    for (name, value) in borrowed {
        assert_eq!(letter.headers.get(&format!("Cerebros-Original-{name}")), Some(value), "it is kept aside");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_strangers_letter_says_of_its_size_is_not_believed() {
    let room = Room::new().await;
    let serving = room.serve();
    room.publish("cerebros.nas.run.requested", &[], b"{").await;
    room.entries(1).await;
    serving.kill().await;
    let letter = history::at(&room.broker, DLQ_STREAM, 1).await.unwrap().unwrap();
    let mut headers = service_kit::publish::to_header_map(&letter.headers);
    for (name, value) in
        [("Cerebros-Dlq-Id", "77-beefbeef"), ("Nats-Msg-Id", "another"), ("Nats-Msg-Size", "4000000000")]
    {
        headers.insert(name, value);
    }
    let kept = room.broker.jetstream.publish_with_headers(letter.subject, headers, letter.payload).await;
    kept.unwrap().await.unwrap();
    let list = room.json(&["list"]).await;
    let bytes = list.as_array().unwrap().iter().map(|entry| entry["bytes"].as_u64().unwrap());
    assert!(bytes.eq([1, 1]), "{list}");
}
