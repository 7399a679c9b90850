//! An event of a writer newer than the classifier, before and after its schema is known.

use schemas::event::RunRequested;
use schemas::{Encoding, Record, codec, shape};
use serde_json::{Value, json};
use service_kit::history;
use service_kit::topology::SCHEMAS_BUCKET;

use crate::room::{Room, text};

const REQUESTED: &str = "cerebros.nas.run.requested";

/// The text of a schema of tomorrow, the key it belongs under, and a request written with it.
pub(crate) fn tomorrow() -> (String, String, Vec<u8>) {
    let mut schema: Value = serde_json::from_str(Record::RunRequested.latest().text).unwrap();
    let more = json!({"name": "urgency", "doc": "d", "type": "int", "default": 0});
    schema["fields"].as_array_mut().unwrap().push(more);
    let schema = schema.to_string();
    let fingerprint = shape::parse(&schema).unwrap().fingerprint;
    let mut payload = codec::encode(&RunRequested::new("digits").into(), Encoding::Avro).unwrap();
    payload[2..10].copy_from_slice(&fingerprint.0);
    payload.push(14);
    (schema, fingerprint.to_string(), payload)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_with_an_unknown_schema_waits_untouched_and_replays_once_the_schema_is_there() {
    let room = Room::new().await;
    let _serving = room.serve();
    let (schema, fingerprint, payload) = tomorrow();
    room.publish(REQUESTED, &[("Content-Type", "application/avro"), ("X-Mine", "kept")], &payload).await;
    let entry = &room.entries(1).await[0];
    let id = text(entry, "id").to_owned();
    assert_eq!((text(entry, "class"), text(entry, "stage")), ("schema_unknown", "decode"));
    assert!(text(entry, "reason").contains(&fingerprint), "{entry}");
    assert_eq!(room.dlq(&["show", &id, "--raw"]).await.stdout, payload);
    let early = room.dlq(&["replay", &id]).await;
    assert_eq!(early.status.code(), Some(5), "its schema is still unknown");

    let bucket = room.broker.jetstream.get_key_value(SCHEMAS_BUCKET).await.unwrap();
    bucket.put(fingerprint, schema.into()).await.unwrap();
    let shown = room.json(&["show", &id]).await;
    assert_eq!(shown["payload"]["value"]["dataset_id"], "digits", "it can be read now: {shown:#}");
    let replayed = &room.json(&["replay", &id]).await[0];
    assert_eq!(text(replayed, "outcome"), "replayed");
    room.settled().await;
    assert_eq!(text(&room.entries(1).await[0], "state"), "replayed", "it did not die again");
    let sequence = replayed["sequence"].as_u64().unwrap();
    let kept = history::at(&room.broker, "CEREBROS", sequence).await.unwrap().unwrap();
    assert_eq!(kept.payload, payload, "byte for byte");
    assert_eq!(kept.decode().unwrap().event, RunRequested::new("digits").into());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_schema_is_known_from_the_start_never_dies() {
    let room = Room::new().await;
    let (schema, fingerprint, payload) = tomorrow();
    let bucket = room.broker.jetstream.get_key_value(SCHEMAS_BUCKET).await.unwrap();
    bucket.put(fingerprint, schema.into()).await.unwrap();
    room.publish(REQUESTED, &[("Content-Type", "application/avro")], &payload).await;
    let _serving = room.serve();
    room.settled().await;
    room.entries(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_entry_that_is_garbage_kills_the_event_and_not_the_classifier() {
    let room = Room::new().await;
    let mut serving = room.serve();
    let (_, fingerprint, payload) = tomorrow();
    let bucket = room.broker.jetstream.get_key_value(SCHEMAS_BUCKET).await.unwrap();
    let hostile = format!("{{\"type\":\"array\",\"items\":{}", "[".repeat(200_000));
    bucket.put(fingerprint, hostile.into()).await.unwrap();
    room.publish(REQUESTED, &[("Content-Type", "application/avro")], &payload).await;
    room.publish(REQUESTED, &[], b"{}").await;
    let entries = room.entries(2).await;
    assert_eq!(text(&entries[0], "class"), "schema_unknown");
    assert!(text(&entries[0], "reason").contains("cannot be used"), "{}", entries[0]);
    assert!(serving.child.try_wait().unwrap().is_none(), "the classifier still runs");
}
