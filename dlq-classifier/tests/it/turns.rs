//! Replays take turns: a slow one keeps no other waiting, and each keeps its own rate, its own end and its own orders.

use std::collections::BTreeMap;

use schemas::Timestamp;
use schemas::dead_letter::REPLAY_OF;
use schemas::subject::STREAM;
use serde_json::Value;
use service_kit::history::History;
use testkit::wait_until;

use crate::room::{PATIENCE, Room, text};
use crate::tasks::{
    REPAIR, assert_each_once, interrupt, published_and_recorded, signal, state, with_entries,
};

async fn ids(room: &Room) -> Vec<String> {
    let listed = room.json(&["list"]).await;
    listed.as_array().unwrap().iter().map(|row| text(row, "id").to_owned()).collect()
}

/// The arguments of a replay of some entries.
fn replay<'a>(flags: &[&'a str], ids: &'a [String]) -> Vec<&'a str> {
    let all = ["replay"].iter().chain(&REPAIR).chain(flags).copied();
    all.chain(ids.iter().map(String::as_str)).collect()
}

/// Puts a replay down for later; the name of its task.
async fn put_down(room: &Room, flags: &[&str], ids: &[String]) -> String {
    let output = room.dlq(&replay(&[&["--detach"], flags].concat(), ids)).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn some_are_published(room: &Room, count: usize) {
    wait_until(&format!("{count} are published"), PATIENCE, async || {
        (published_and_recorded(room).await.0.len() >= count).then_some(())
    })
    .await;
}

/// What a task says of itself.
async fn shown(room: &Room, task: &str) -> Value {
    room.json(&["tasks", "show", task]).await
}

fn replayed(task: &Value) -> u64 {
    task["replayed"].as_u64().unwrap()
}

/// When each entry was published again.
async fn times(room: &Room) -> BTreeMap<String, Timestamp> {
    let mut events = History::to_the_present(&room.broker, STREAM, &[], 1).await.unwrap();
    let mut times = BTreeMap::new();
    while let Some(kept) = events.next().await.unwrap() {
        if let Some(id) = kept.headers.get(REPLAY_OF) {
            times.insert(id.to_owned(), kept.time);
        }
    }
    times
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_replay_in_the_classifier_keeps_no_other_waiting() {
    let (room, _serving) = with_entries(6).await;
    let ids = ids(&room).await;
    let bulk = put_down(&room, &["--all", "--rate", "0.2/s"], &[]).await;
    some_are_published(&room, 1).await;
    let row = &room.json(&replay(&[], &ids[5..])).await[0];
    assert_eq!(text(row, "outcome"), "replayed", "{row}");
    let meanwhile = shown(&room, &bulk).await;
    assert_eq!(text(&meanwhile, "state"), "running", "it did not wait for the slow one: {meanwhile}");
    assert!(replayed(&meanwhile) < 5, "{meanwhile}");
    let done = state(&room, &bulk, "done").await;
    assert_eq!((replayed(&done), done["skipped"].as_u64()), (5, Some(1)));
    assert_each_once(&room, 6, "beside a slow one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_replay_at_a_terminal_keeps_no_other_waiting() {
    for is_served in [false, true] {
        let (room, serving) = with_entries(4).await;
        if !is_served {
            serving.kill().await;
        }
        let ids = ids(&room).await;
        let slow = room.start(&replay(&["--rate", "0.2/s"], &ids[..3]), "");
        some_are_published(&room, 1).await;
        let row = &room.json(&replay(&[], &ids[3..])).await[0];
        assert_eq!(text(row, "outcome"), "replayed", "{row}");
        let meanwhile = &room.json(&["tasks"]).await[0];
        assert_eq!(text(meanwhile, "state"), "running", "{meanwhile}");
        let output = slow.wait_with_output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.matches("replayed").count(), 3, "a row for each of its own:\n{said}");
        assert_each_once(&room, 4, "beside a slow terminal").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_nobody_relieves_does_not_stop_for_a_replay_that_waits_for_a_classifier() {
    let (room, serving) = with_entries(8).await;
    serving.kill().await;
    let ids = ids(&room).await;
    let waiting = put_down(&room, &[], &ids[6..]).await;
    let rows = room.json(&replay(&["--rate", "2/s"], &ids[..6])).await;
    assert_eq!(rows.as_array().unwrap().len(), 6);
    assert_eq!(text(&shown(&room, &waiting).await, "state"), "queued");
    assert_each_once(&room, 6, "unrelieved").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_replays_go_on_side_by_side_each_at_its_rate() {
    let (room, _serving) = with_entries(8).await;
    let ids = ids(&room).await;
    let one = put_down(&room, &["--rate", "0.2/s"], &ids[..4]).await;
    let other = put_down(&room, &["--rate", "0.2/s"], &ids[4..]).await;
    wait_until("both have begun", PATIENCE, async || {
        // The later one first: both at the same time, not one after the other.
        let (other, one) = (shown(&room, &other).await, shown(&room, &one).await);
        let are_running = text(&one, "state") == "running" && text(&other, "state") == "running";
        (are_running && replayed(&one) > 0 && replayed(&other) > 0).then_some(())
    })
    .await;
    state(&room, &one, "done").await;
    state(&room, &other, "done").await;
    assert_each_once(&room, 8, "side by side").await;
    let times = times(&room).await;
    for of_one in [&ids[..4], &ids[4..]] {
        for pair in of_one.windows(2) {
            let millis = times[&pair[1]].millis() - times[&pair[0]].millis();
            // The broker may take the first of the two in late.
            assert!(millis >= 4000, "one in five seconds, in their order; these came after {millis} ms");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_one_replay_touches_no_other() {
    let (room, _serving) = with_entries(24).await;
    let ids = ids(&room).await;
    let paused = put_down(&room, &["--rate", "0.2/s"], &ids[..4]).await;
    let cancelled = put_down(&room, &["--rate", "0.2/s"], &ids[8..16]).await;
    let third = put_down(&room, &["--rate", "1/s"], &ids[16..22]).await;
    some_are_published(&room, 4).await;
    room.json(&["tasks", "pause", &paused]).await;
    room.json(&["tasks", "cancel", &cancelled]).await;
    let (stands, over) = (state(&room, &paused, "paused").await, state(&room, &cancelled, "cancelled").await);
    assert_eq!(replayed(&state(&room, &third, "done").await), 6);
    let counted = replayed(&stands) + replayed(&over) + 6;
    assert!(replayed(&stands) < 4 && replayed(&over) < 8, "{stands} {over}");
    assert_each_once(&room, usize::try_from(counted).unwrap(), "paused and cancelled").await;
    room.json(&["tasks", "continue", &paused]).await;
    assert_eq!(replayed(&state(&room, &paused, "done").await), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn replays_side_by_side_survive_the_classifier_that_carried_them() {
    let (room, mut serving) = with_entries(14).await;
    let ids = ids(&room).await;
    let one = put_down(&room, &["--rate", "2/s"], &ids[..7]).await;
    let other = put_down(&room, &["--all", "--rate", "2/s"], &[]).await;
    for part in [3, 7] {
        some_are_published(&room, part).await;
        serving.kill().await;
        serving = room.serve();
    }
    let (one, other) = (state(&room, &one, "done").await, state(&room, &other, "done").await);
    assert_eq!(replayed(&one) + replayed(&other), 14, "{one} {other}");
    assert_each_once(&room, 14, "killed side by side").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_waits_for_its_turn_is_interrupted_like_one_at_work() {
    let (room, serving) = with_entries(8).await;
    serving.kill().await;
    let ids = ids(&room).await;
    // Nobody takes this one, so that the terminal lets it go first and is soon in a wait of its own.
    put_down(&room, &[], &ids[7..]).await;
    let terminal = room.start(&replay(&["--rate", "0.05/s"], &ids[..7]), "");
    let task = wait_until("the terminal has let its task go", PATIENCE, async || {
        let tasks = room.json(&["tasks"]).await;
        let task = tasks.as_array().unwrap().iter().find(|task| text(task, "state") == "running")?;
        let shown = shown(&room, text(task, "id")).await;
        shown["owner"].is_null().then(|| text(&shown, "id").to_owned())
    })
    .await;
    interrupt(terminal).await;
    assert_eq!(text(&shown(&room, &task).await, "state"), "paused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_classifier_held_up_between_its_turns_publishes_nothing_that_another_took_over() {
    let (room, held_up) = with_entries(24).await;
    let ids = ids(&room).await;
    let one = put_down(&room, &["--rate", "1/s"], &ids[..12]).await;
    let other = put_down(&room, &["--all", "--rate", "1/s"], &[]).await;
    some_are_published(&room, 4).await;
    signal(&held_up.child, "-STOP");
    let _relief = room.serve();
    let published = published_and_recorded(&room).await.0.len();
    some_are_published(&room, published + 3).await;
    signal(&held_up.child, "-CONT");
    let (one, other) = (state(&room, &one, "done").await, state(&room, &other, "done").await);
    assert_eq!(replayed(&one) + replayed(&other), 24, "{one} {other}");
    assert_each_once(&room, 24, "held up between turns").await;
}
