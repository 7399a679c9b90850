//! Replays as tasks: whatever is killed, each message is published once and on record.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use schemas::cloudevents::Headers;
use schemas::dead_letter::{Place, REPLAY_OF};
use schemas::subject::{DLQ_STREAM, STREAM};
use schemas::{Failure, FailureClass, Stage, Timestamp};
use serde_json::Value;
use service_kit::dead_letter;
use service_kit::history::History;
use testkit::wait_until;
use tokio::process::Child;

use crate::room::{PATIENCE, Room, Serving, text};

const REQUESTED: &str = "cerebros.nas.run.requested";
/// An edit that makes a request of what has only a wrong data set.
pub(crate) const REPAIR: [&str; 2] = ["--edit", ".dataset_id = \"digits\""];

/// A room with so many entries, where the broker forgets message ids at once: nothing but the tasks themselves keeps a
/// message from being published twice.
pub(crate) async fn with_entries(count: usize) -> (Room, Serving) {
    let room = Room::new().await;
    let mut stream = room.broker.jetstream.get_stream(STREAM).await.unwrap();
    let mut config = stream.info().await.unwrap().config.clone();
    config.duplicate_window = Duration::from_millis(100);
    room.broker.jetstream.update_stream(config).await.unwrap();
    let serving = room.serve();
    for number in 0..count {
        let payload = format!("{{\"dataset_id\":{number}}}");
        room.publish(REQUESTED, &[], payload.as_bytes()).await;
    }
    room.entries(count).await;
    (room, serving)
}

/// How often each entry was published, and how often that is on record.
pub(crate) async fn published_and_recorded(room: &Room) -> (BTreeMap<String, u32>, BTreeMap<String, u32>) {
    let (mut published, mut recorded) = (BTreeMap::new(), BTreeMap::new());
    let mut events = History::to_the_present(&room.broker, STREAM, &[], 1).await.unwrap();
    while let Some(kept) = events.next().await.unwrap() {
        if let Some(id) = kept.headers.get(REPLAY_OF) {
            *published.entry(id.to_owned()).or_default() += 1;
        }
    }
    let filter = "cerebros.dlq.operation.replayed";
    let mut records = History::to_the_present(&room.broker, DLQ_STREAM, &[filter], 1).await.unwrap();
    while let Some(kept) = records.next().await.unwrap() {
        let record: Value = serde_json::from_slice(&kept.payload).unwrap();
        for replay in record["replays"].as_array().unwrap() {
            *recorded.entry(text(replay, "id").to_owned()).or_default() += 1;
        }
    }
    (published, recorded)
}

pub(crate) async fn assert_each_once(room: &Room, count: usize, when: &str) {
    let (published, recorded) = published_and_recorded(room).await;
    let once =
        |counts: &BTreeMap<String, u32>| counts.len() == count && counts.values().all(|many| *many == 1);
    assert!(once(&published) && once(&recorded), "{when}: published {published:?}, recorded {recorded:?}");
}

fn outcomes(rows: &Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| text(row, "outcome")).collect()
}

pub(crate) fn signal(child: &Child, signal: &str) {
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

/// Waits until a task has come to a state.
pub(crate) async fn state(room: &Room, task: &str, wanted: &str) -> Value {
    wait_until(&format!("the task is {wanted}"), PATIENCE, async || {
        let shown = room.json(&["tasks", "show", task]).await;
        (text(&shown, "state") == wanted).then_some(shown)
    })
    .await
}

async fn detached(room: &Room, flags: &[&str]) -> String {
    let output = room.dlq(&[&["replay", "--all", "--detach", REPAIR[0], REPAIR[1]], flags].concat()).await;
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn killed_at(steps: &[&str]) {
    let (room, mut serving) = with_entries(3).await;
    serving.child.kill().await.unwrap();
    let replay = ["replay", "--all", REPAIR[0], REPAIR[1]];
    for step in steps {
        let killed = room.start(&replay, step).wait_with_output().await.unwrap();
        assert!(!killed.status.success(), "it died at {step}");
    }
    let step = &steps.join(", then ");
    // Another terminal goes on as soon as the lease of the one that died has run out.
    let rows = room.json(&replay).await;
    assert_eq!(rows.as_array().unwrap().len(), 3);
    assert_each_once(&room, 3, step).await;
    for entry in room.entries(3).await {
        assert_eq!(text(&entry, "state"), "replayed");
    }
    // What the dead one had begun is finished by a classifier, and nothing more is published.
    let _serving = room.serve();
    let first = text(&room.json(&["tasks"]).await[0], "id").to_owned();
    state(&room, &first, "done").await;
    assert_each_once(&room, 3, step).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_killed_before_it_publishes_publishes_once() {
    tokio::join!(killed_at(&["before-intent"]), killed_at(&["after-intent"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_killed_while_it_publishes_publishes_once() {
    tokio::join!(killed_at(&["after-publish-1"]), killed_at(&["after-publish-3"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_killed_after_it_published_publishes_once() {
    tokio::join!(killed_at(&["after-record"]), killed_at(&["after-settle"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_takes_over_and_is_killed_as_well_is_taken_over() {
    killed_at(&["after-publish-2", "recorded-for-another", "after-publish-1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_was_held_up_until_others_took_over_publishes_nothing_more() {
    let (room, _serving) = with_entries(40).await;
    let terminal = room.start(&["replay", "--all", "--rate", "10/s", REPAIR[0], REPAIR[1]], "");
    wait_until("the replay is under way", PATIENCE, async || {
        (published_and_recorded(&room).await.0.len() > 12).then_some(())
    })
    .await;
    signal(&terminal, "-STOP");
    let task = text(&room.json(&["tasks"]).await[0], "id").to_owned();
    state(&room, &task, "done").await;
    signal(&terminal, "-CONT");
    let output = terminal.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_each_once(&room, 40, "held up").await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.matches("replayed").count(), 40, "it tells what the other did:\n{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_names_than_a_task_holds_are_several_tasks() {
    let room = Room::new().await;
    let mut ids = Vec::new();
    for number in 1..=1005_u64 {
        let place = Place {
            stream: STREAM.to_owned(),
            sequence: number,
            consumer: "mlflow-sink".to_owned(),
            subject: "ml.run.trial".to_owned(),
            deliveries: 1,
            first_seen: Timestamp::from_micros(1),
        };
        let failure = Failure::new(FailureClass::SinkRefused, Stage::Sink, "refused");
        let payload = format!(r#"{{"trial_id":"t{number}","run_id":"r","status":"succeeded"}}"#);
        dead_letter::publish(&room.broker, &place, &failure, &Headers::default(), payload.into())
            .await
            .unwrap();
        ids.push(place.entry_id());
    }
    let arguments: Vec<&str> = ["replay"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    let rows = room.json(&arguments).await;
    assert_eq!(outcomes(&rows).iter().filter(|outcome| **outcome == "replayed").count(), 1005);
    let tasks = room.json(&["tasks"]).await;
    let named: Vec<u64> =
        tasks.as_array().unwrap().iter().map(|task| task["named"].as_u64().unwrap()).collect();
    assert_eq!(named, [1000, 5]);
    assert_each_once(&room, 1005, "many names").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_replay_started_twice_publishes_once() {
    let (room, _serving) = with_entries(40).await;
    let replay = ["replay", "--all", REPAIR[0], REPAIR[1]];
    let (one, other) = tokio::join!(room.json(&replay), room.json(&replay));
    assert_each_once(&room, 40, "twice at once").await;
    let (one, other) = (outcomes(&one), outcomes(&other));
    let all = [one, other].concat();
    assert_eq!(all.iter().filter(|outcome| **outcome == "replayed").count(), 40);
    assert_eq!(all.iter().filter(|outcome| **outcome == "skipped").count(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_survives_its_terminal() {
    let (room, _serving) = with_entries(30).await;
    let mut terminal = room.start(&["replay", "--all", "--rate", "20/s", REPAIR[0], REPAIR[1]], "");
    let task = wait_until("the replay is under way", PATIENCE, async || {
        let tasks = room.json(&["tasks"]).await;
        let is_begun = published_and_recorded(&room).await.0.len() > 2;
        is_begun.then(|| text(&tasks[0], "id").to_owned())
    })
    .await;
    terminal.kill().await.unwrap();
    let done = state(&room, &task, "done").await;
    assert_eq!((done["replayed"].as_u64(), done["percent"].as_u64()), (Some(30), Some(100)));
    assert_each_once(&room, 30, "closed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_killed_while_it_replays_goes_on_when_it_is_back() {
    let (room, mut serving) = with_entries(60).await;
    let task = detached(&room, &["--rate", "30/s"]).await;
    for part in [10, 30] {
        wait_until("a part is published", PATIENCE, async || {
            (published_and_recorded(&room).await.0.len() > part).then_some(())
        })
        .await;
        serving.child.kill().await.unwrap();
        serving = room.serve();
    }
    let done = state(&room, &task, "done").await;
    assert_eq!(done["replayed"].as_u64(), Some(60));
    assert_each_once(&room, 60, "service killed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_paused_continued_and_cancelled_between_two_entries() {
    let (room, _serving) = with_entries(60).await;
    let task = detached(&room, &["--rate", "1/s"]).await;
    let at_least = async |count: usize| {
        wait_until("some are published", PATIENCE, async || {
            (published_and_recorded(&room).await.0.len() >= count).then_some(())
        })
        .await;
    };
    at_least(1).await;
    room.json(&["tasks", "pause", &task]).await;
    let paused = state(&room, &task, "paused").await;
    let count = paused["replayed"].as_u64().unwrap();
    let on_stream = async || published_and_recorded(&room).await.0.len() as u64;
    assert_eq!(on_stream().await, count, "what is counted is what is published");
    room.json(&["tasks", "continue", &task]).await;
    at_least(usize::try_from(count).unwrap() + 1).await;
    room.json(&["tasks", "cancel", &task]).await;
    let cancelled = state(&room, &task, "cancelled").await;
    assert_eq!(on_stream().await, cancelled["replayed"].as_u64().unwrap());
    assert!(on_stream().await < 60);
    let over = room.dlq(&["tasks", "continue", &task]).await;
    assert_eq!(over.status.code(), Some(5), "what is cancelled stays so");
    assert_eq!(room.dlq(&["tasks", "show", "none"]).await.status.code(), Some(3));
    assert_eq!(room.dlq(&["tasks", "pause"]).await.status.code(), Some(2));
}

/// Interrupts a terminal that follows a replay: it says how to go on.
pub(crate) async fn interrupt(terminal: Child) {
    signal(&terminal, "-INT");
    let output = terminal.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("tasks continue"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_terminal_pauses_its_replay_and_says_how_to_go_on() {
    let (room, _serving) = with_entries(40).await;
    let terminal = room.start(&["replay", "--all", "--rate", "4/s", REPAIR[0], REPAIR[1]], "");
    wait_until("the replay is under way", PATIENCE, async || {
        (!published_and_recorded(&room).await.0.is_empty()).then_some(())
    })
    .await;
    interrupt(terminal).await;
    let tasks = room.json(&["tasks"]).await;
    assert_eq!(text(&tasks[0], "state"), "paused");
    room.json(&["tasks", "continue", text(&tasks[0], "id")]).await;
    state(&room, text(&tasks[0], "id"), "done").await;
    assert_each_once(&room, 40, "interrupted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_holds() {
    let (room, _serving) = with_entries(11).await;
    let began = Instant::now();
    room.json(&["replay", "--all", "--rate", "10/s", REPAIR[0], REPAIR[1]]).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "eleven at ten a second took {:?}", began.elapsed());
    let mut events = History::to_the_present(&room.broker, STREAM, &[], 12).await.unwrap();
    let mut times: Vec<Timestamp> = Vec::new();
    while let Some(kept) = events.next().await.unwrap() {
        times.push(kept.time);
    }
    // The broker may take the first in late, and the second at once after it.
    let millis = times[10].millis() - times[0].millis();
    assert!(millis >= 850, "eleven at ten a second took {millis} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_follows_prints_what_the_one_at_work_did() {
    let (room, _serving) = with_entries(12).await;
    let ids: Vec<String> =
        room.json(&["list"]).await.as_array().unwrap().iter().map(|row| text(row, "id").to_owned()).collect();
    // A classifier is busy with the first of them, slowly; the next asked for goes on beside it, and finds the rest to do.
    let slow = [&["replay", "--detach", "--rate", "4/s", REPAIR[0], REPAIR[1]][..]].concat();
    let first: Vec<&str> = slow.into_iter().chain(ids.iter().take(6).map(String::as_str)).collect();
    assert!(room.dlq(&first).await.status.success());
    wait_until("the classifier is at work", PATIENCE, async || {
        (!published_and_recorded(&room).await.0.is_empty()).then_some(())
    })
    .await;
    let rows = room
        .json_with_findings(&[
            "replay",
            "--all",
            "--edit",
            ".dataset_id = if . == {\"dataset_id\":8} then 8 else \"digits\" end",
        ])
        .await;
    for (number, outcome) in outcomes(&rows).into_iter().enumerate() {
        let is_expected = match number {
            0 => outcome == "skipped",
            // Whichever of the two came to them first.
            1..6 => ["skipped", "replayed"].contains(&outcome),
            8 => outcome == "invalid",
            _ => outcome == "replayed",
        };
        assert!(is_expected, "{number}: {outcome} in {rows:#}");
    }
    assert_each_once(&room, 11, "beside a classifier at work").await;
    let listed: Vec<&str> = rows.as_array().unwrap().iter().map(|row| text(row, "id")).collect();
    assert_eq!(listed, ids, "in the order of the queue");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_does_not_end_the_replay() {
    let (room, _serving) = with_entries(30).await;
    let mut terminal =
        room.start(&["replay", "--all", "--rate", "20/s", "-o", "ndjson", REPAIR[0], REPAIR[1]], "");
    drop(terminal.stdout.take());
    let output = terminal.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tasks = room.json(&["tasks"]).await;
    assert_eq!((text(&tasks[0], "state"), tasks[0]["replayed"].as_u64()), ("done", Some(30)));
    assert_each_once(&room, 30, "nobody reads").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_somebody_made_up_does_not_reach_the_broker_s_own_subjects() {
    let (room, mut serving) = with_entries(1).await;
    serving.child.kill().await.unwrap();
    let task = detached(&room, &[]).await;
    let bucket = room.broker.jetstream.get_key_value("cerebros_dlq").await.unwrap();
    let key = format!("task.{task}");
    let mut made_up: Value = serde_json::from_slice(&bucket.get(&key).await.unwrap().unwrap()).unwrap();
    made_up["plan"]["to"] = "$JS.API.STREAM.PURGE.CEREBROS".into();
    bucket.put(&key, made_up.to_string().into()).await.unwrap();
    let _serving = room.serve();
    let failed = state(&room, &task, "failed").await;
    assert!(text(&failed["trouble"], "what").contains("cannot replay to"), "{failed}");
    assert_eq!(room.state(STREAM).await.messages, 1, "nothing was purged");
}
