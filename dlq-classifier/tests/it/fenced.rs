//! Whoever was held up at a bad moment, and wakes up when others have gone on with the replays: the broker takes nothing of
//! what they had in hand.

use async_nats::header::NATS_MESSAGE_ID;
use schemas::subject::{FENCE_PREFIX, STREAM};
use serde_json::Value;
use testkit::wait_until;
use tokio::process::Child;

use crate::room::{PATIENCE, Room, text};
use crate::tasks::{REPAIR, assert_each_once, signal, state, with_entries};

const REPLAY: [&str; 4] = ["replay", "--all", REPAIR[0], REPAIR[1]];

/// A replay at a terminal that stands still at a step.
async fn held_up_at(room: &Room, step: &str) -> Child {
    let terminal = room.start_held_up(&REPLAY, step);
    let status = format!("/proc/{}/stat", terminal.id().unwrap());
    wait_until(&format!("the terminal stands still at {step}"), PATIENCE, async || {
        std::fs::read_to_string(&status).unwrap().contains(") T ").then_some(())
    })
    .await;
    terminal
}

/// Waits until the broker has forgotten the ids of all messages so far.
async fn message_ids_are_forgotten(room: &Room) {
    let mut is_sent = false;
    wait_until("the broker takes a message id again", PATIENCE, async || {
        let headers = async_nats::HeaderMap::from_iter([(NATS_MESSAGE_ID, "once more".into())]);
        let sent =
            room.broker.jetstream.publish_with_headers(format!("{FENCE_PREFIX}~test"), headers, "".into());
        let is_new = !sent.await.unwrap().await.unwrap().duplicate;
        (is_new && std::mem::replace(&mut is_sent, true)).then_some(())
    })
    .await;
}

/// Wakes it when nothing but the fence keeps it from publishing again, and what it says at its end.
async fn woken(room: &Room, terminal: Child) -> String {
    message_ids_are_forgotten(room).await;
    signal(&terminal, "-CONT");
    let output = tokio::time::timeout(PATIENCE, terminal.wait_with_output()).await.expect("it ends").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn tasks(room: &Room) -> Vec<Value> {
    room.json(&["tasks"]).await.as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_announced_and_not_published_is_published_by_one() {
    let (room, _relief) = with_entries(3).await;
    let terminal = held_up_at(&room, "after-intent").await;
    let task = text(&tasks(&room).await[0], "id").to_owned();
    state(&room, &task, "done").await;
    let said = woken(&room, terminal).await;
    assert_eq!(said.matches("replayed").count(), 3, "it tells what the other did:\n{said}");
    assert_each_once(&room, 3, "held up before the first").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_up_before_others_replayed_it_is_not_replayed_again() {
    let (room, serving) = with_entries(3).await;
    serving.kill().await;
    let terminal = held_up_at(&room, "before-intent").await;
    let rows = room.json(&REPLAY).await;
    assert!(rows.as_array().unwrap().iter().all(|row| text(row, "outcome") == "replayed"), "{rows}");
    let said = woken(&room, terminal).await;
    assert_eq!(said.matches("skipped").count(), 3, "another task did:\n{said}");
    assert_each_once(&room, 3, "held up before it was announced").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_the_stream_no_longer_keeps_is_raised_again() {
    let (room, serving) = with_entries(3).await;
    serving.kill().await;
    let killed = room.start(&REPLAY, "after-publish-1").wait_with_output().await.unwrap();
    assert!(!killed.status.success());
    let terminal = held_up_at(&room, "after-publish-1").await;
    let stream = room.broker.jetstream.get_stream(STREAM).await.unwrap();
    let gone = stream.purge().filter(format!("{FENCE_PREFIX}>")).await.unwrap();
    assert!(gone.purged > 0, "whoever went on has raised it");
    woken(&room, terminal).await;
    assert_each_once(&room, 3, "the fence was gone").await;
    let _serving = room.serve();
    for task in tasks(&room).await {
        state(&room, text(&task, "id"), "done").await;
    }
}
