//! What others do while a replay is under way.

use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream;
use schemas::dead_letter::REPLAY_OF;
use serde_json::Value;
use testkit::wait_until;

use crate::room::{PATIENCE, Room, next, text};

const REQUESTED: &str = "cerebros.nas.run.requested";

async fn entries(room: &Room, count: usize) -> Vec<Value> {
    let serving = room.serve();
    for number in 0..count {
        let payload = format!("{{\"dataset_id\":{number}}}");
        room.publish(REQUESTED, &[], payload.as_bytes()).await;
    }
    let entries = room.entries(count).await;
    serving.kill().await;
    entries
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_discarded_while_a_replay_is_on_its_way_to_it_is_not_replayed() {
    let room = Room::new().await;
    let known = entries(&room, 4).await;
    let replay = ["replay", "--all", "--edit", ".dataset_id = \"digits\"", "--rate", "0.2/s", "-o", "json"];
    let under_way = room.start(&replay, "");
    let state = async |at: usize| text(&room.entries(4).await[at], "state").to_owned();
    wait_until("the first is replayed", PATIENCE, async || (state(0).await == "replayed").then_some(()))
        .await;
    let last = text(&known[3], "id");
    room.json(&["discard", last, "--reason", "not wanted any more"]).await;
    let ended = tokio::time::timeout(PATIENCE, under_way.wait_with_output()).await.unwrap().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(state(3).await, "discarded");
    let rows: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let replayed = rows.as_array().unwrap().iter().filter(|row| text(row, "outcome") == "replayed");
    assert_eq!(replayed.count(), 3, "{rows:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reader_of_a_work_queue_has_taken_already_is_not_published_again() {
    let room = Room::new().await;
    entries(&room, 1).await;
    let config = stream::Config {
        name: "JOBS".into(),
        subjects: vec!["jobs.>".into()],
        retention: stream::RetentionPolicy::WorkQueue,
        ..stream::Config::default()
    };
    let jobs = room.broker.jetstream.create_stream(config).await.unwrap();
    let reader =
        jobs.create_consumer(pull::Config { durable_name: Some("reader".into()), ..pull::Config::default() });
    let reader = reader.await.unwrap();
    let replay = ["replay", "--all", "--to", "jobs.again"];
    let killed = room.start(&replay, "after-publish-1").wait_with_output().await.unwrap();
    assert!(!killed.status.success());
    let taken = next(&reader).await;
    assert!(taken.headers.as_ref().is_some_and(|headers| headers.get(REPLAY_OF).is_some()), "{taken:?}");
    taken.double_ack().await.unwrap();

    let rows = tokio::time::timeout(Duration::from_secs(60), room.json(&replay)).await.unwrap();
    assert_eq!(text(&rows[0], "outcome"), "replayed", "{rows:#}");
    let state = jobs.get_info().await.unwrap().state;
    assert_eq!((state.messages, state.last_sequence), (0, 1), "its reader has it");
}
