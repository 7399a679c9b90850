//! The identity of a replay: it is never taken for somebody else's message, nor for one it is not.

use std::time::Duration;

use schemas::dead_letter::REPLAY_OF;
use schemas::subject::{DLQ_STREAM, STREAM};
use serde_json::Value;
use service_kit::history;
use testkit::wait_until;

use crate::room::{PATIENCE, Room, text};

const REQUESTED: &str = "cerebros.nas.run.requested";
/// An edit that makes a request of what has only a wrong data set.
const REPAIR: [&str; 2] = ["--edit", ".dataset_id = \"digits\""];

async fn remember_ids_for(room: &Room, window: Duration) {
    let mut stream = room.broker.jetstream.get_stream(STREAM).await.unwrap();
    let mut config = stream.info().await.unwrap().config.clone();
    config.duplicate_window = window;
    room.broker.jetstream.update_stream(config).await.unwrap();
}

/// The message ids and the entries of the replays in `results`, as the stream has them.
async fn published(room: &Room, results: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for result in results.as_array().unwrap() {
        assert_eq!(text(result, "outcome"), "replayed", "{result}");
        let sequence = result["sequence"].as_u64().unwrap();
        let kept = history::at(&room.broker, STREAM, sequence).await.unwrap().unwrap();
        assert_eq!(kept.headers.get(REPLAY_OF), Some(text(result, "id")), "sequence {sequence} is another's");
        let id = kept.headers.get("Nats-Msg-Id").unwrap().to_owned();
        found.push((id, String::from_utf8(kept.payload.to_vec()).unwrap()));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn two_strangers_with_one_message_id_are_both_published() {
    let room = Room::new().await;
    let _serving = room.serve();
    remember_ids_for(&room, Duration::from_millis(100)).await;
    let same = [("Nats-Msg-Id", "mine")];
    room.publish(REQUESTED, &same, br#"{"dataset_id":1,"seed":1}"#).await;
    // Until the broker has forgotten the id it drops the second.
    wait_until("the second stranger's message is in", PATIENCE, async || {
        room.publish(REQUESTED, &same, br#"{"dataset_id":2,"seed":2}"#).await;
        (room.state(STREAM).await.messages == 2).then_some(())
    })
    .await;
    room.entries(2).await;
    remember_ids_for(&room, Duration::from_secs(120)).await;
    let results = room.json(&["replay", "--all", REPAIR[0], REPAIR[1]]).await;
    let second = format!("{}/r1", text(&results[1], "id"));
    let found = published(&room, &results).await;
    assert_eq!((found[0].0.as_str(), found[1].0.as_str()), ("mine/r1", second.as_str()));
    assert!(found[0].1.contains("\"seed\":1") && found[1].1.contains("\"seed\":2"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_s_id_that_looks_like_a_replay_is_one_of_its_own() {
    let room = Room::new().await;
    let _serving = room.serve();
    room.publish(REQUESTED, &[("Nats-Msg-Id", "order")], br#"{"dataset_id":1}"#).await;
    room.publish(REQUESTED, &[("Nats-Msg-Id", "order/r7")], br#"{"dataset_id":2}"#).await;
    room.entries(2).await;
    let results = room.json(&["replay", "--all", REPAIR[0], REPAIR[1]]).await;
    let found = published(&room, &results).await;
    assert_eq!((found[0].0.as_str(), found[1].0.as_str()), ("order/r1", "order/r7/r1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_edit_of_a_replay_that_was_not_recorded_is_recorded_as_what_was_published() {
    let room = Room::new().await;
    let _serving = room.serve();
    room.publish(REQUESTED, &[], br#"{"dataset_id":1}"#).await;
    let id = text(&room.entries(1).await[0], "id").to_owned();
    let first = room.json(&["replay", &id, "--edit", ".dataset_id = \"digits\""]).await;
    // Somebody was killed after the confirmation: the record is not there.
    let kept = room.broker.jetstream.get_stream_no_info(DLQ_STREAM).await.unwrap();
    kept.delete_message(2).await.unwrap();
    let before = room.state(STREAM).await.last_sequence;
    let again = room.dlq(&["replay", &id, "--edit", ".dataset_id = \"wine\""]).await;
    assert_eq!(again.status.code(), Some(5));
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(said.contains("published before"), "{said}");
    assert_eq!(room.state(STREAM).await.last_sequence, before, "one entry is published once");
    let shown = room.json(&["show", &id]).await;
    assert_eq!(text(&shown, "state"), "replayed");
    assert_eq!(shown["operations"][0]["replay"]["sequence"], first[0]["sequence"]);
}
