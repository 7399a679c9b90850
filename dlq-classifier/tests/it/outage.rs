//! The dead-letter stream is full or gone: nothing is lost, nothing valid waits, and the service says what is wrong.

use async_nats::jetstream::stream;
use schemas::subject::{DLQ_STREAM, STREAM};
use service_kit::topology::{self, CLASSIFIER_CONSUMER, RUNS_BUCKET};
use testkit::wait_until;

use crate::room::{PATIENCE, Room, Serving, text};

const REQUESTED: &str = "cerebros.nas.run.requested";

pub(crate) async fn with_room_for(room: &Room, bytes: i64) {
    let stream = room.broker.jetstream.get_stream(DLQ_STREAM).await.unwrap();
    let config = stream::Config { max_bytes: bytes, ..stream.cached_info().config.clone() };
    room.broker.jetstream.update_stream(config).await.unwrap();
}

const SQUATTER: &str = "SQUATTER";

/// Takes the dead-letter stream away, and a part of its place, so that nobody makes it anew.
pub(crate) async fn without_letters(room: &Room) {
    room.broker.jetstream.delete_stream(DLQ_STREAM).await.unwrap();
    let subjects = vec!["cerebros.dlq.squatter".to_owned()];
    let squatter = stream::Config { name: SQUATTER.to_owned(), subjects, ..stream::Config::default() };
    room.broker.jetstream.create_stream(squatter).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_dead_letter_stream_leaves_the_originals_pending_and_holds_up_nothing_valid() {
    const POISONED: usize = 5;
    let room = Room::new().await;
    with_room_for(&room, 100).await;
    let serving = room.serve();
    for number in 0..POISONED {
        room.publish(REQUESTED, &[], format!("{{ {number}").as_bytes()).await;
        for _ in 0..100 {
            room.stranger.publish(REQUESTED, r#"{"dataset_id":"digits"}"#.into()).await.unwrap();
        }
    }
    room.stranger.flush().await.unwrap();
    serving.is_unready("dead letters cannot be published").await;
    wait_until("only the malformed ones are left", PATIENCE, async || {
        (room.waiting(CLASSIFIER_CONSUMER).await == (0, POISONED)).then_some(())
    })
    .await;
    assert_eq!(room.kept().await, 0);

    with_room_for(&room, 1 << 30).await;
    room.entries(POISONED).await;
    room.settled().await;
    serving.is_ready().await;
    assert_eq!(room.kept().await, POISONED as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_stream_that_was_deleted_is_made_anew_and_each_message_is_in_it_once() {
    let room = Room::new().await;
    let serving = room.serve();
    serving.is_ready().await;
    without_letters(&room).await;
    for number in 0..3 {
        room.publish(REQUESTED, &[], format!("{{ {number}").as_bytes()).await;
    }
    serving.is_unready("dead letters cannot be published").await;
    room.broker.jetstream.delete_stream(SQUATTER).await.unwrap();
    wait_until("the stream is there again, with every letter", PATIENCE, async || {
        let mut stream = room.broker.jetstream.get_stream(DLQ_STREAM).await.ok()?;
        (stream.info().await.ok()?.state.messages == 3).then_some(())
    })
    .await;
    room.settled().await;
    serving.is_ready().await;
    room.entries(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_registry_and_one_poison_leave_one_entry() {
    let room = Room::new().await;
    let soon = ["--unknown-run-after", "300ms"];
    // Announced to a classifier that is gone: the next has to ask, and finds the answer at any moment after the outage.
    let earlier = room.serve_with(&soon);
    room.announce("r").await;
    room.settled().await;
    earlier.stop().await;
    let _serving = room.serve_with(&soon);
    room.announce("another").await;
    room.settled().await;
    room.broker.jetstream.delete_key_value(RUNS_BUCKET).await.unwrap();
    for number in 0..20 {
        let trial = format!(r#"{{"trial_id":"t{number}","run_id":"r","status":"succeeded"}}"#);
        room.publish("ml.run.trial", &[], trial.as_bytes()).await;
    }
    room.publish(REQUESTED, &[], b"{").await;
    room.entries(1).await;
    wait_until("what nobody can judge waits", PATIENCE, async || {
        (room.waiting(CLASSIFIER_CONSUMER).await == (0, 20)).then_some(())
    })
    .await;
    topology::ensure(&room.broker).await.unwrap();
    room.settled().await;
    assert_eq!(room.kept().await, 1);
}

/// What the stream may hold, and how large a malformed message is.
const ROOM: i64 = 200 * 1024;
const PAYLOAD: usize = 8 * 1024;

/// Bounds the stream, and fills it with letters until no more are taken.
async fn filled(room: &Room, arguments: &[&str]) -> Serving {
    with_room_for(room, ROOM).await;
    let serving = room.serve_with(arguments);
    for number in 0..60 {
        let payload = format!("{{ {number} {}", "x".repeat(PAYLOAD));
        room.publish(REQUESTED, &[], payload.as_bytes()).await;
    }
    serving.is_unready("dead letters cannot be published").await;
    serving
}

const SOUND: &str = r#"{"dataset_id": "digits"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn letters_leave_room_for_what_people_do_about_them_and_for_the_alerts() {
    let room = Room::new().await;
    let serving = filled(&room, &["--alert-depth", "3"]).await;
    serving.is_unready("letters may fill 95 % of the stream CEREBROS_DLQ").await;
    assert!(room.state(DLQ_STREAM).await.bytes <= u64::try_from(ROOM * 95 / 100).unwrap());
    let entries = room.json(&["list"]).await.as_array().unwrap().clone();
    let replayed = room.json(&["replay", text(&entries[0], "id"), "--edit", SOUND]).await;
    assert_eq!(text(&replayed[0], "outcome"), "replayed");
    room.json(&["discard", text(&entries[1], "id"), "--reason", "a test"]).await;
    assert_eq!(room.json(&["history"]).await.as_array().unwrap().len(), 2);
    for kind in ["depth", "room"] {
        room.wait_for_alerts(kind, &["crossed"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_any_room_is_said_in_plain_words_and_nothing_is_half_done() {
    let room = Room::new().await;
    let serving = filled(&room, &["--alert-depth", "3"]).await;
    let entries = room.json(&["list"]).await.as_array().unwrap().clone();
    let (first, second) = (text(&entries[0], "id"), text(&entries[1], "id"));
    with_room_for(&room, i64::try_from(room.state(DLQ_STREAM).await.bytes).unwrap()).await;
    let before = room.state(STREAM).await.last_sequence;
    for command in [vec!["discard", second, "--reason", "a test"], vec!["replay", first, "--edit", SOUND]] {
        let refused = room.dlq(&command).await;
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(10), "{words}");
        assert!(words.contains("no room") && words.contains("max_bytes"), "{words}");
    }
    assert_eq!(room.state(STREAM).await.last_sequence, before, "nothing was published");
    // One of which nothing has to be put on record does not wait behind it.
    assert!(room.dlq(&["replay", "--class", "sink_refused", "--detach"]).await.status.success());
    wait_until("the second replay is done", PATIENCE, async || {
        let tasks = room.json(&["tasks"]).await;
        assert_eq!(text(&tasks[0], "state"), "running");
        (text(&tasks[1], "state") == "done").then_some(())
    })
    .await;
    wait_until("the bounds that are crossed are on the page", PATIENCE, async || {
        let page = serving.page("/metrics").await;
        let is_crossed = |kind: &str| page.contains(&format!("cerebros_dlq_alert{{alert=\"{kind}\"}} 1"));
        (is_crossed("depth") && is_crossed("room")).then_some(())
    })
    .await;

    // The replay that was asked for goes on when there is room.
    with_room_for(&room, 1 << 30).await;
    wait_until("the replay is done", PATIENCE, async || {
        let tasks = room.json(&["tasks"]).await;
        assert_ne!(text(&tasks[0], "state"), "failed");
        (text(&tasks[0], "state") == "done").then_some(())
    })
    .await;
    assert_eq!(room.state(STREAM).await.last_sequence, before + 1);
    room.wait_for_alerts("depth", &["crossed"]).await;
}
