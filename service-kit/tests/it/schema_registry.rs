//! The registry of schemas on a real broker: filled by whoever starts, asked by whoever meets something unknown.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::kv;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use schemas::event::{TrialReported, TrialStatus};
use schemas::record::{Fingerprint, Version};
use schemas::subject::STREAM;
use schemas::{Encoding, Event, FailureClass, Record, RunId, TrialId, codec, shape};
use serde_json::{Value, json};
use service_kit::broker::Broker;
use service_kit::config::BrokerTarget;
use service_kit::history::{History, Kept};
use service_kit::intake::Intake;
use service_kit::schema_registry::{Versions, look_up, register};
use service_kit::topology::{self, CLASSIFIER_CONSUMER, SCHEMAS_BUCKET};
use testkit::Nats;

const PATIENCE: Duration = Duration::from_secs(20);

async fn connect(nats: &Nats) -> Broker {
    let target = BrokerTarget::at(&nats.url()).unwrap();
    let broker = Broker::connect(&target, "test", PATIENCE).await.unwrap();
    topology::ensure(&broker).await.unwrap();
    broker
}

async fn bucket(broker: &Broker) -> kv::Store {
    broker.jetstream.get_key_value(SCHEMAS_BUCKET).await.unwrap()
}

fn trial() -> Event {
    let run = RunId::parse("r").unwrap();
    TrialReported::new(run.clone(), TrialId::numbered(&run, 1), TrialStatus::Succeeded).into()
}

/// A version of ours with one more field, and an event written with it.
fn newer() -> (Fingerprint, String, Vec<u8>) {
    let mut schema: Value = serde_json::from_str(Record::TrialReported.latest().text).unwrap();
    let more = json!({"name": "more", "doc": "d", "type": "string", "default": ""});
    schema["fields"].as_array_mut().unwrap().push(more);
    let text = schema.to_string();
    let fingerprint = shape::parse(&text).unwrap().fingerprint;
    let mut payload = codec::encode(&trial(), Encoding::Avro).unwrap();
    payload[2..10].copy_from_slice(&fingerprint.0);
    payload.extend([4, b'h', b'i']);
    (fingerprint, text, payload)
}

async fn publish(broker: &Broker, content_type: &str, payload: Vec<u8>) {
    let mut headers = HeaderMap::new();
    headers.insert("Content-Type", content_type);
    let subject = Record::TrialReported.subject();
    broker.jetstream.publish_with_headers(subject, headers, payload.into()).await.unwrap().await.unwrap();
}

async fn history(broker: &Broker) -> Vec<Kept> {
    let mut history = History::to_the_present(broker, STREAM, &[], 1).await.unwrap();
    let mut all = Vec::new();
    while let Some(kept) = history.next().await.unwrap() {
        all.push(kept);
    }
    all
}

#[tokio::test]
async fn whoever_starts_puts_in_what_it_was_made_with_and_changes_nothing_that_is_there() {
    let nats = Nats::start().await;
    let broker = connect(&nats).await;
    for version in Version::all() {
        let text = look_up(&broker, version.fingerprint).await.unwrap();
        assert_eq!(text.as_deref(), Some(version.text));
        let versions = bucket(&broker).await.get(version.record.name()).await.unwrap().unwrap();
        let versions: Versions = serde_json::from_slice(&versions).unwrap();
        assert_eq!(versions[&version.number], version.fingerprint.to_string());
    }
    let newer = Versions::from([(9, "0123456789abcdef".to_owned())]);
    let bucket = bucket(&broker).await;
    bucket.put("RunFailed", serde_json::to_vec(&newer).unwrap().into()).await.unwrap();
    let before = last_sequence(&broker).await;
    register(&broker).await.unwrap();
    topology::ensure(&broker).await.unwrap();
    let merged: Versions = serde_json::from_slice(&bucket.get("RunFailed").await.unwrap().unwrap()).unwrap();
    assert_eq!(merged.keys().copied().collect::<Vec<_>>(), [1, 9]);
    assert_eq!(last_sequence(&broker).await, before + 1, "nothing else was written again");
}

async fn last_sequence(broker: &Broker) -> u64 {
    let stream = broker.jetstream.get_stream(format!("KV_{SCHEMAS_BUCKET}")).await.unwrap();
    stream.cached_info().state.last_sequence
}

#[tokio::test]
async fn something_else_under_one_of_our_fingerprints_is_put_right_at_the_next_start() {
    let nats = Nats::start().await;
    let broker = connect(&nats).await;
    let version = Record::TrialReported.latest();
    for garbage in [&b"no schema"[..], b"\xff\xfe", Record::RunFailed.latest().text.as_bytes()] {
        bucket(&broker).await.put(version.fingerprint.to_string(), garbage.to_vec().into()).await.unwrap();
        register(&broker).await.unwrap();
        assert_eq!(look_up(&broker, version.fingerprint).await.unwrap().as_deref(), Some(version.text));
    }
    let documented = version.text.replace("A trial ended.", "A trial has ended.");
    bucket(&broker).await.put(version.fingerprint.to_string(), documented.clone().into()).await.unwrap();
    register(&broker).await.unwrap();
    assert_eq!(
        look_up(&broker, version.fingerprint).await.unwrap(),
        Some(documented),
        "the same schema stays"
    );
}

#[tokio::test]
async fn an_entry_that_cannot_be_used_is_asked_for_again_until_it_is_put_right() {
    let nats = Nats::start().await;
    let broker = connect(&nats).await;
    let (fingerprint, text, payload) = newer();
    publish(&broker, "application/avro", payload).await;
    bucket(&broker).await.put(fingerprint.to_string(), "garbage".into()).await.unwrap();
    assert!(history(&broker).await[0].decode().unwrap_err().reason.contains("cannot be used"));
    bucket(&broker).await.put(fingerprint.to_string(), text.into()).await.unwrap();
    assert_eq!(history(&broker).await[0].decode().unwrap().event, trial());
}

#[tokio::test]
async fn many_that_start_at_once_fill_it_once() {
    let nats = Nats::start().await;
    let broker = connect(&nats).await;
    bucket(&broker).await.purge("TrialReported").await.unwrap();
    let starts = (0..8).map(|_| register(&broker));
    futures_util::future::try_join_all(starts).await.unwrap();
    let versions: Versions =
        serde_json::from_slice(&bucket(&broker).await.get("TrialReported").await.unwrap().unwrap()).unwrap();
    assert_eq!(versions.keys().copied().collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn an_event_of_a_newer_writer_is_read_by_a_consumer_and_from_the_stream_once_its_schema_is_there() {
    let nats = Nats::start().await;
    let broker = connect(&nats).await;
    let (fingerprint, text, payload) = newer();
    let structured = json!({"specversion": "1.0", "id": "1", "source": "/elsewhere", "type": "ml.run.trial.v1",
        "datacontenttype": "application/avro", "data_base64": BASE64_STANDARD.encode(&payload)});
    publish(&broker, "application/avro", payload).await;
    publish(&broker, "application/cloudevents+json", structured.to_string().into_bytes()).await;

    for kept in history(&broker).await {
        assert_eq!(kept.decode().unwrap_err().class, FailureClass::SchemaUnknown);
    }
    bucket(&broker).await.put(fingerprint.to_string(), text.into()).await.unwrap();
    let read: Vec<Event> = history(&broker).await.iter().map(|kept| kept.decode().unwrap().event).collect();
    assert_eq!(read, [trial(), trial()]);
    let mut intake = Intake::new(&broker, CLASSIFIER_CONSUMER, 10);
    for _ in 0..2 {
        let delivery = tokio::time::timeout(PATIENCE, intake.next()).await.unwrap();
        assert_eq!(delivery.decode().unwrap().event, trial());
        delivery.ack().await.unwrap();
    }
}

#[tokio::test]
async fn a_registry_that_is_gone_is_made_again_and_no_event_is_taken_for_malformed_meanwhile() {
    let nats = Nats::start().await;
    let broker = connect(&nats).await;
    let (_, _, payload) = newer();
    publish(&broker, "application/avro", payload).await;
    broker.jetstream.delete_key_value(SCHEMAS_BUCKET).await.unwrap();
    let mut intake = Intake::new(&broker, CLASSIFIER_CONSUMER, 10);
    let delivery = tokio::time::timeout(PATIENCE, intake.next()).await.unwrap();
    assert_eq!(
        delivery.decode().unwrap_err().class,
        FailureClass::SchemaUnknown,
        "the new registry has no such schema"
    );
    delivery.ack().await.unwrap();
    assert!(look_up(&broker, Record::TrialReported.fingerprint()).await.unwrap().is_some());
}
