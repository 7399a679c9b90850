//! The dead-letter stream is full or gone: nothing is lost, nothing valid waits, and the service says what is wrong.

use async_nats::jetstream::stream;
use schemas::subject::DLQ_STREAM;
use service_kit::topology::{self, CLASSIFIER_CONSUMER, RUNS_BUCKET};
use testkit::wait_until;

use crate::room::{PATIENCE, Room};

const REQUESTED: &str = "cerebros.nas.run.requested";

async fn with_room_for(room: &Room, bytes: i64) {
    let stream = room.broker.jetstream.get_stream(DLQ_STREAM).await.unwrap();
    let config = stream::Config { max_bytes: bytes, ..stream.cached_info().config.clone() };
    room.broker.jetstream.update_stream(config).await.unwrap();
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
    room.broker.jetstream.delete_stream(DLQ_STREAM).await.unwrap();
    for number in 0..3 {
        room.publish(REQUESTED, &[], format!("{{ {number}").as_bytes()).await;
    }
    serving.is_unready("dead letters cannot be published").await;
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
    let serving = room.serve_with(&["--unknown-run-after", "300ms"]);
    serving.is_ready().await;
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
    room.announce("r").await;
    room.settled().await;
    assert_eq!(room.kept().await, 1);
}
