//! Sequences that are given out twice: the stream lost its tail with the power, came back from a backup, was made anew.
//! The letters of what had them before are still there.

use schemas::subject::STREAM;
use schemas::{Failure, FailureClass, Stage};
use service_kit::intake::Intake;
use service_kit::topology::{self, SINK_CONSUMER, WORKER_CONSUMER};

use crate::lost::left_unread;
use crate::room::{Room, text};

const REQUESTED: &str = "cerebros.nas.run.requested";
const VALID: &[u8] = br#"{"run_id":"r","dataset_id":"digits"}"#;

/// The event stream as it was before anything came; what is kept elsewhere stays.
async fn made_anew(room: &Room) {
    room.broker.jetstream.delete_stream(STREAM).await.unwrap();
    topology::ensure(&room.broker).await.unwrap();
}

/// The payloads of the entries, in their order.
async fn payloads(room: &Room, count: usize) -> Vec<String> {
    let mut payloads = Vec::new();
    for entry in room.entries(count).await {
        let shown = room.dlq(&["show", text(&entry, "id"), "--raw"]).await;
        payloads.push(String::from_utf8(shown.stdout).unwrap());
    }
    payloads
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_at_a_sequence_that_had_a_letter_has_a_letter_of_its_own() {
    let room = Room::new().await;
    let serving = room.serve();
    room.publish(REQUESTED, &[], b"{the first").await;
    room.entries(1).await;
    room.settled().await;
    serving.stop().await;
    made_anew(&room).await;
    room.publish(REQUESTED, &[], b"{the second").await;
    let _serving = room.serve();
    assert_eq!(payloads(&room, 2).await, ["{the first", "{the second"]);
    room.settled().await;
    assert_eq!(room.kept().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_consumer_gives_up_at_a_used_sequence_has_its_letter_before_it_is_terminated() {
    let room = Room::new().await;
    let failure = Failure::new(FailureClass::EntrypointRefused, Stage::Validate, "not allowed");
    let mut kept = 0;
    for round in ["one", "two"] {
        let payload = format!(r#"{{"run_id":"{round}","dataset_id":"digits"}}"#);
        room.publish(REQUESTED, &[], payload.as_bytes()).await;
        room.publish("ml.run.trial", &[], round.as_bytes()).await;
        let mut worker = Intake::new(&room.broker, WORKER_CONSUMER, 1);
        let delivery = worker.next().await;
        // Twice, as after a lost confirmation: that is one letter.
        delivery.bury(&room.broker, &failure, crate::room::PATIENCE).await.unwrap();
        delivery.reject(&room.broker, &failure).await.unwrap();
        let mut sink = Intake::new(&room.broker, SINK_CONSUMER, 1);
        left_unread(&room, &mut sink).await;
        kept += 2;
        assert_eq!(room.kept().await, kept, "after round {round}");
        made_anew(&room).await;
    }
    let payloads = payloads(&room, 4).await;
    assert_eq!([&payloads[1], &payloads[3]], ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_somebody_has_taken_away_does_not_stand_for_the_next_message() {
    let room = Room::new().await;
    let failure = Failure::new(FailureClass::EntrypointRefused, Stage::Validate, "not allowed");
    room.publish(REQUESTED, &[], VALID).await;
    Intake::new(&room.broker, WORKER_CONSUMER, 1).next().await.reject(&room.broker, &failure).await.unwrap();
    room.broker.jetstream.get_stream("CEREBROS_DLQ").await.unwrap().purge().await.unwrap();
    made_anew(&room).await;
    room.publish(REQUESTED, &[], VALID).await;
    Intake::new(&room.broker, WORKER_CONSUMER, 1).next().await.reject(&room.broker, &failure).await.unwrap();
    room.entries(1).await;
}
