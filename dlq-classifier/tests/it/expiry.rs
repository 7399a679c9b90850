//! Requests that were taken too late: whoever takes them judges, nobody else, and a replay of one is carried out.

use schemas::dead_letter::{Place, REPLAY_OF};
use schemas::event::RunRequested;
use schemas::lifecycle::RunState;
use schemas::subject::STREAM;
use schemas::{RunId, Timestamp, codec, expiry};
use service_kit::history::{self, Kept};
use service_kit::registry::record::{Claimant, claim};
use service_kit::registry::{Registry, RunRecord};
use service_kit::topology::WORKER_CONSUMER;
use service_kit::{clock, dead_letter};

use crate::corpus::expired;
use crate::room::{Room, text};

const REQUESTED: &str = "cerebros.nas.run.requested";
const NOON: &str = "2026-01-31T12:00:00Z";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_time_has_passed_is_none_of_the_classifier_s_business() {
    let room = Room::new().await;
    for case in expired() {
        room.publish(REQUESTED, &case.headers(), case.payload()).await;
    }
    let _serving = room.serve();
    room.settled().await;
    assert_eq!(room.kept().await, 0);
}

/// Refuses a request that is on the stream as a worker does: its run has failed, and it is a dead letter.
async fn refused(room: &Room, run: &str, headers: &[(&str, &str)], payload: &str) -> String {
    room.publish(REQUESTED, headers, payload.as_bytes()).await;
    let sequence = room.state(STREAM).await.last_sequence;
    let message = history::at(&room.broker, STREAM, sequence).await.unwrap().unwrap();
    let expires = message.decode().unwrap().expires;
    let failure = expiry::refusal(expires, clock::now()).unwrap();
    let (id, request) = (RunId::parse(run).unwrap(), RunRequested::new("digits"));
    let claimant = Claimant {
        run_id: &id,
        request: &request,
        sequence,
        delivery: 1,
        is_retry_of_failed: false,
        is_owner_gone: false,
        requested_at: message.time,
        worker_id: "w",
    };
    let claimed = claim(None, &claimant, clock::now()).0.unwrap();
    let failed = RunRecord { state: RunState::Failed, failure: Some(failure.clone()), ..claimed };
    let registry = Registry::open(&room.broker).await.unwrap();
    registry.change(&id, |_| (Some(failed.clone()), ())).await.unwrap();
    let place = Place {
        stream: STREAM.to_owned(),
        sequence,
        consumer: WORKER_CONSUMER.to_owned(),
        subject: REQUESTED.to_owned(),
        deliveries: 1,
        first_seen: message.time,
    };
    let (headers, payload) = (&message.headers, message.payload.clone());
    dead_letter::publish(&room.broker, &place, &failure, headers, payload).await.unwrap();
    place.entry_id()
}

async fn replayed(room: &Room, id: &str) -> Kept {
    let result = &room.json(&["replay", id]).await[0];
    assert_eq!(text(result, "outcome"), "replayed");
    let sequence = result["sequence"].as_u64().unwrap();
    history::at(&room.broker, STREAM, sequence).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_an_expired_request_starts_its_run_because_it_is_wanted_now() {
    let room = Room::new().await;
    let body = r#"{"run_id":"late","dataset_id":"digits"}"#;
    let id = refused(&room, "late", &[("ce-expirytime", NOON), ("X-Mine", "kept")], body).await;
    let entry = &room.entries(1).await[0];
    assert_eq!(
        (text(entry, "class"), text(entry, "stage"), text(entry, "run_id")),
        ("expired", "validate", "late")
    );
    let foreseen = &room.json(&["replay", &id, "--dry-run"]).await[0];
    assert_eq!((text(foreseen, "outcome"), text(foreseen, "effect")), ("would_replay", "new"), "{foreseen}");
    let message = replayed(&room, &id).await;
    assert_eq!(message.headers.get("ce-expirytime"), None);
    assert_eq!(
        (message.headers.get("X-Mine"), message.headers.get(REPLAY_OF)),
        (Some("kept"), Some(id.as_str()))
    );
    assert_eq!(message.payload, body);
    let decoded = codec::decode(REQUESTED, &message.headers, &message.payload).unwrap();
    assert_eq!(expiry::refusal(decoded.expires, Timestamp::from_micros(i64::MAX)), None);
    let shown = room.json(&["show", &id]).await;
    let said = serde_json::json!(["ce-expirytime", NOON]);
    assert!(shown["headers"].as_array().unwrap().contains(&said), "the entry stays as it was: {shown:#}");
    assert_eq!(shown["operations"][0]["replay"]["edited"].as_bool(), Some(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_is_replayed_with_its_time_unset_and_every_other_byte_as_it_was() {
    let room = Room::new().await;
    let envelope = |time: &str| {
        let data = r#"{"run_id": "enveloped", "dataset_id": "digits"}"#;
        format!(r#"{{"specversion":"1.0", "type":"{REQUESTED}", "expirytime": {time}, "data": {data}}}"#)
    };
    let mode = ("Content-Type", "application/cloudevents+json");
    let id = refused(&room, "enveloped", &[mode], &envelope(&format!("\"{NOON}\""))).await;
    let message = replayed(&room, &id).await;
    assert_eq!(message.payload, envelope("null"));
    let raw = room.dlq(&["show", &id, "--raw"]).await.stdout;
    assert_eq!(raw, envelope(&format!("\"{NOON}\"")).as_bytes(), "the entry stays as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_time_is_none_can_be_replayed_without_it() {
    let room = Room::new().await;
    let _serving = room.serve();
    room.publish(REQUESTED, &[("ce-expirytime", "in an hour")], br#"{"dataset_id":"digits"}"#).await;
    let entry = &room.entries(1).await[0];
    assert_eq!((text(entry, "class"), text(entry, "stage")), ("validation", "decode"));
    let message = replayed(&room, text(entry, "id")).await;
    assert_eq!(message.headers.get("ce-expirytime"), None);
    room.settled().await;
    assert_eq!(room.kept().await, 2, "the entry and the record of its replay");
}
