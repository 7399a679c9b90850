//! What gets into the queue: everything malformed, once, untouched.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use base64::Engine as _;
use schemas::codec::MAX_EVENT_BYTES;
use schemas::dead_letter::Place;
use schemas::subject::{DLQ_STREAM, STREAM};
use schemas::{Failure, FailureClass, Stage, codec};
use service_kit::publish::from_header_map;
use service_kit::topology::CLASSIFIER_CONSUMER;
use service_kit::{dead_letter, history};
use testkit::wait_until;

use crate::corpus::corpus;
use crate::room::{PATIENCE, Room, next, text};

const REQUESTED: &str = "cerebros.nas.run.requested";

#[tokio::test(flavor = "multi_thread")]
async fn garbage_of_a_plain_client_becomes_one_entry_with_its_bytes_and_headers() {
    let room = Room::new().await;
    let _serving = room.serve();
    let garbage: Vec<u8> = (0..=255).collect();
    room.publish(REQUESTED, &[("X-Mine", "one"), ("X-Mine", "two"), ("Nats-Msg-Id", "m-1")], &garbage).await;
    let entry = &room.entries(1).await[0];
    assert_eq!(
        (text(entry, "class"), text(entry, "stage"), text(entry, "state")),
        ("decode", "decode", "open")
    );
    assert_eq!(
        (text(entry, "subject"), text(entry, "stream"), entry["seq"].as_u64()),
        (REQUESTED, STREAM, Some(1))
    );
    assert_eq!((text(entry, "consumer"), entry["bytes"].as_u64()), (CLASSIFIER_CONSUMER, Some(256)));
    let raw = room.dlq(&["show", text(entry, "id"), "--raw"]).await;
    assert_eq!(raw.stdout, garbage);
    let shown = room.json(&["show", text(entry, "id")]).await;
    assert_eq!(shown["headers"], serde_json::json!([["X-Mine", "one"], ["X-Mine", "two"]]));
    assert_eq!(shown["payload"]["value"], base64::prelude::BASE64_STANDARD.encode(&garbage));

    // Anybody can browse, and browsing consumes nothing.
    let jetstream = async_nats::jetstream::new(room.stranger.clone());
    let kept = jetstream.get_stream(DLQ_STREAM).await.unwrap().get_raw_message(1).await.unwrap();
    assert_eq!(kept.payload.as_ref(), garbage.as_slice());
    assert_eq!(kept.subject.as_str(), format!("cerebros.dlq.decode.{REQUESTED}"));
    let headers = from_header_map(Some(&kept.headers));
    assert_eq!(headers.get("Cerebros-Original-Nats-Msg-Id"), Some("m-1"));
    assert_eq!(headers.get("Cerebros-Dlq-Id"), Some(text(entry, "id")));
    assert_eq!(room.kept().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_corpus_ends_as_one_entry_each_with_the_right_verdict() {
    let room = Room::new().await;
    let (refused, corpus): (Vec<_>, Vec<_>) = corpus().into_iter().partition(|case| case.refused_by_broker);
    for case in refused {
        let published = room.try_publish(&case.subject, &case.headers(), &case.payload()).await;
        assert!(published.is_err(), "{}", case.name);
    }
    for case in &corpus {
        room.publish(&case.subject, &case.headers(), &case.payload()).await;
    }
    // An alert is a message of the queue as well, and these count them all.
    let _serving = room.serve_with(&["--alert-depth", "5000", "--alert-rate", "5000"]);
    let entries = room.entries(corpus.len()).await;
    for (case, entry) in corpus.iter().zip(&entries) {
        assert_eq!(
            (text(entry, "class"), text(entry, "stage")),
            (case.class.as_str(), case.stage.as_str()),
            "{}",
            case.name
        );
        assert_eq!(text(entry, "subject"), case.subject, "{}", case.name);
        let kept =
            history::at(&room.broker, DLQ_STREAM, entry["seq"].as_u64().unwrap()).await.unwrap().unwrap();
        assert_eq!(kept.payload, case.payload(), "{}", case.name);
    }
    room.settled().await;
    assert_eq!(room.kept().await, corpus.len() as u64);
    let groups = room.json(&["groups"]).await;
    let counted: u64 = groups.as_array().unwrap().iter().map(|group| group["count"].as_u64().unwrap()).sum();
    assert_eq!(counted, corpus.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_classifier_killed_between_dead_letter_and_ack_makes_one_entry() {
    let room = Room::new().await;
    let consumer = room.with_short_leases().await;
    room.publish(REQUESTED, &[], b"{").await;
    let message = next(&consumer).await;
    let facts = message.info().unwrap();
    let place = Place {
        stream: STREAM.to_owned(),
        sequence: facts.stream_sequence,
        consumer: CLASSIFIER_CONSUMER.to_owned(),
        subject: REQUESTED.to_owned(),
        deliveries: 1,
        first_seen: facts.published.into(),
    };
    let headers = from_header_map(message.headers.as_ref());
    let failure = codec::decode(REQUESTED, &headers, b"{").unwrap_err().to_failure();
    dead_letter::publish(&room.broker, &place, &failure, &headers, message.payload.clone()).await.unwrap();
    drop(message);

    let _serving = room.serve();
    room.settled().await;
    assert_eq!(room.kept().await, 1);
    room.entries(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_valid_events_passes_and_none_is_dead_lettered() {
    const EVENTS: usize = 20_000;
    let room = Room::new().await;
    let _serving = room.serve();
    room.announce("r").await;
    for number in 0..EVENTS {
        let payload = format!(
            r#"{{"trial_id":"t{number}","run_id":"r","status":"succeeded","metrics":{{"accuracy":0.9}}}}"#
        );
        room.stranger.publish("ml.run.trial", payload.into()).await.unwrap();
    }
    room.stranger.flush().await.unwrap();
    wait_until("the stream took every event", PATIENCE, async || {
        (room.state(STREAM).await.messages == EVENTS as u64 + 1).then_some(())
    })
    .await;
    room.settled().await;
    assert_eq!(room.kept().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_the_largest_size_fits_into_its_dead_letter() {
    let room = Room::new().await;
    let _serving = room.serve();
    let payload = vec![b'x'; 639 * 1024];
    room.publish("ml.run.trial", &[], &payload).await;
    let entry = &room.entries(1).await[0];
    assert!(text(entry, "reason").contains(&MAX_EVENT_BYTES.to_string()));
    assert_eq!(room.dlq(&["show", text(entry, "id"), "--raw"]).await.stdout, payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_ran_out_become_one_entry_of_class_worker_lost() {
    let room = Room::new().await;
    let _serving = room.serve();
    let consumer = room
        .consumer(pull::Config {
            durable_name: Some("doomed".to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_millis(200),
            max_deliver: 1,
            ..pull::Config::default()
        })
        .await;
    room.publish(REQUESTED, &[("Nats-Msg-Id", "m-1")], br#"{"dataset_id":"digits"}"#).await;
    let message = next(&consumer).await;
    drop(message);
    let entry = &room.entries(1).await[0];
    assert_eq!((text(entry, "class"), text(entry, "stage")), ("worker_lost", "execute"));
    assert_eq!((text(entry, "consumer"), entry["deliveries"].as_u64()), ("doomed", Some(1)));
    assert!(text(entry, "reason").contains("doomed"), "{entry}");
    assert_eq!(room.dlq(&["show", text(entry, "id"), "--raw"]).await.stdout, br#"{"dataset_id":"digits"}"#);
    assert_eq!(room.kept().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_of_the_consumer_itself_and_the_advisory_make_one_entry() {
    let room = Room::new().await;
    let config = pull::Config {
        durable_name: Some("doomed".to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_millis(200),
        max_deliver: 1,
        ..pull::Config::default()
    };
    let consumer = room.consumer(config).await;
    room.publish(REQUESTED, &[], br#"{"dataset_id":"digits"}"#).await;
    let message = next(&consumer).await;
    let facts = message.info().unwrap();
    let place = Place {
        stream: STREAM.to_owned(),
        sequence: facts.stream_sequence,
        consumer: "doomed".to_owned(),
        subject: REQUESTED.to_owned(),
        deliveries: 1,
        first_seen: facts.published.into(),
    };
    // The consumer gave it up and died before its ack.
    let failure = Failure::new(FailureClass::UserCode, Stage::Execute, "raised");
    let headers = from_header_map(message.headers.as_ref());
    dead_letter::publish(&room.broker, &place, &failure, &headers, message.payload.clone()).await.unwrap();
    drop(message);
    let _serving = room.serve();
    wait_until("the advisory was dealt with", PATIENCE, async || {
        let stream = room.broker.jetstream.get_stream_no_info("CEREBROS_ADVISORIES").await.unwrap();
        let consumer = stream.consumer_info("dlq-classifier-advisories").await.unwrap();
        (consumer.ack_floor.consumer_sequence == 1).then_some(())
    })
    .await;
    assert_eq!(text(&room.entries(1).await[0], "class"), "user_code");
    assert_eq!(room.kept().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_the_service_with_success() {
    let room = Room::new().await;
    let mut serving = room.serve();
    room.publish(REQUESTED, &[], b"{").await;
    room.entries(1).await;
    let pid = serving.child.id().unwrap().to_string();
    tokio::process::Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
    let status = tokio::time::timeout(PATIENCE, serving.child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
}
