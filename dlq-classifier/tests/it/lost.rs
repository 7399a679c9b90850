//! What came to nothing at a consumer and was announced by the broker, also when nobody listened.

use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use schemas::subject::{ADVISORY_STREAM, STREAM};
use schemas::{Failure, FailureClass, Stage};
use service_kit::intake::Intake;
use service_kit::topology::{ADVISORY_CONSUMER, WORKER_CONSUMER};
use testkit::wait_until;

use crate::room::{PATIENCE, Room, next, text};

const REQUESTED: &str = "cerebros.nas.run.requested";
const VALID: &[u8] = br#"{"dataset_id":"digits"}"#;

fn doomed(max_deliver: i64) -> pull::Config {
    pull::Config {
        durable_name: Some("doomed".to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_millis(100),
        max_deliver,
        filter_subject: REQUESTED.to_owned(),
        ..pull::Config::default()
    }
}

/// Waits until the broker has written so many advisories down.
pub(crate) async fn announced(room: &Room, count: u64) {
    wait_until("the broker has said it", PATIENCE, async || {
        (room.state(ADVISORY_STREAM).await.messages == count).then_some(())
    })
    .await;
}

/// Waits until the classifier is through with every advisory.
pub(crate) async fn followed(room: &Room) {
    let stream = room.broker.jetstream.get_stream_no_info(ADVISORY_STREAM).await.unwrap();
    wait_until("every advisory is dealt with", PATIENCE, async || {
        let last = stream.get_info().await.unwrap().state.last_sequence;
        let consumer = stream.consumer_info(ADVISORY_CONSUMER).await.unwrap();
        let has_heard = consumer.delivered.stream_sequence >= last;
        (has_heard && consumer.num_pending == 0 && consumer.num_ack_pending == 0).then_some(())
    })
    .await;
}

/// Leaves the next message unread. Its letter is tried for two seconds only, and then the message comes again.
pub(crate) async fn left_unread(room: &Room, intake: &mut Intake) {
    wait_until("the next message is left unread", PATIENCE, async || {
        let unread = intake.next().await;
        let error = unread.decode().unwrap_err();
        unread.leave_unread(&room.broker, &error).await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_a_stranger_terminates_gets_a_letter_with_his_reason() {
    let room = Room::new().await;
    let consumer = room.consumer(doomed(-1)).await;
    room.publish(REQUESTED, &[], VALID).await;
    let message = next(&consumer).await;
    let word = "+TERM the model is\tnot there";
    room.stranger.publish(message.reply.clone().unwrap(), word.into()).await.unwrap();
    announced(&room, 1).await;
    // The classifier was down for all of it.
    let _serving = room.serve();
    let entry = &room.entries(1).await[0];
    assert_eq!((text(entry, "class"), text(entry, "stage")), ("unknown", "execute"));
    assert_eq!((text(entry, "consumer"), text(entry, "reason")), ("doomed", "the model is not there"));
    assert_eq!(room.dlq(&["show", text(entry, "id"), "--raw"]).await.stdout, VALID);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_one_of_us_terminates_keeps_the_one_letter_it_has() {
    let room = Room::new().await;
    let mut intake = Intake::new(&room.broker, WORKER_CONSUMER, 1);
    room.publish(REQUESTED, &[], VALID).await;
    room.publish(REQUESTED, &[], b"{").await;
    let failure = Failure::new(FailureClass::EntrypointRefused, Stage::Validate, "not allowed");
    intake.next().await.reject(&room.broker, &failure).await.unwrap();
    left_unread(&room, &mut intake).await;
    announced(&room, 1).await;
    let _serving = room.serve();
    room.settled().await;
    announced(&room, 2).await;
    followed(&room).await;
    let entries = room.entries(2).await;
    assert_eq!(text(&entries[0], "class"), "entrypoint_refused");
    assert_eq!((text(&entries[1], "class"), text(&entries[1], "consumer")), ("decode", "dlq-classifier"));
    assert_eq!(room.kept().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_ran_out_and_is_gone_leaves_a_letter_that_says_so() {
    let room = Room::new().await;
    let consumer = room.consumer(doomed(1)).await;
    room.publish(REQUESTED, &[], VALID).await;
    drop(next(&consumer).await);
    announced(&room, 1).await;
    let stream = room.broker.jetstream.get_stream_no_info(STREAM).await.unwrap();
    stream.delete_message(1).await.unwrap();
    let _serving = room.serve();
    let entry = &room.entries(1).await[0];
    assert_eq!((text(entry, "class"), text(entry, "subject")), ("worker_lost", REQUESTED));
    assert_eq!((entry["seq"].as_u64(), entry["bytes"].as_u64()), (Some(1), Some(0)));
    let kept = room.broker.jetstream.get_stream("CEREBROS_DLQ").await.unwrap();
    let letter = kept.get_raw_message(1).await.unwrap();
    assert_eq!(letter.headers.get("Cerebros-Dlq-Payload").unwrap().as_str(), "gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_deleted_while_two_consumers_have_it_leaves_one_letter() {
    let room = Room::new().await;
    let slow = |name: &str| pull::Config {
        durable_name: Some(name.to_owned()),
        ack_wait: Duration::from_secs(60),
        ..doomed(-1)
    };
    let consumers = [room.consumer(slow("one")).await, room.consumer(slow("two")).await];
    room.publish(REQUESTED, &[], VALID).await;
    let in_hand = [next(&consumers[0]).await, next(&consumers[1]).await];
    let stream = room.broker.jetstream.get_stream_no_info(STREAM).await.unwrap();
    stream.delete_message(1).await.unwrap();
    announced(&room, 2).await;
    let _serving = room.serve();
    followed(&room).await;
    let entry = &room.entries(1).await[0];
    assert!(text(entry, "reason").contains("deleted"), "{entry}");
    assert_eq!((entry["seq"].as_u64(), room.kept().await), (Some(1), 1));
    drop(in_hand);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_of_advisories_from_an_earlier_build_takes_in_both_kinds() {
    let room = Room::new().await;
    let stream = room.broker.jetstream.get_stream_no_info(ADVISORY_STREAM).await.unwrap();
    stream.delete_consumer(ADVISORY_CONSUMER).await.unwrap();
    let earlier = pull::Config {
        durable_name: Some(ADVISORY_CONSUMER.to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(7),
        filter_subject: "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.CEREBROS.>".to_owned(),
        ..pull::Config::default()
    };
    stream.create_consumer(earlier).await.unwrap();
    let serving = room.serve();
    serving.is_ready().await;
    let consumer = room.consumer(doomed(-1)).await;
    room.publish(REQUESTED, &[], VALID).await;
    next(&consumer).await.ack_with(AckKind::Term).await.unwrap();
    let entry = &room.entries(1).await[0];
    assert!(text(entry, "reason").contains("no reason"), "{entry}");
    let config = stream.consumer_info(ADVISORY_CONSUMER).await.unwrap().config;
    assert_eq!(config.ack_wait, Duration::from_secs(7), "what an operator has set stays");
}

/// The broker's word of long ago that the worker terminated message 1.
async fn old_advisory(room: &Room) {
    let advisory = r#"{"type":"io.nats.jetstream.advisory.v1.terminated","id":"x","timestamp":"2026-01-01T00:00:00Z",
        "stream":"CEREBROS","consumer":"bridge-worker","consumer_seq":1,"stream_seq":1,"deliveries":1,"reason":"not allowed"}"#;
    let subject = format!("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.CEREBROS.{WORKER_CONSUMER}");
    room.publish(&subject, &[], advisory.as_bytes()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_older_than_the_broker_remembers_letters_makes_no_second_one() {
    let room = Room::new().await;
    let jetstream = &room.broker.jetstream;
    let mut config = jetstream.get_stream("CEREBROS_DLQ").await.unwrap().cached_info().config.clone();
    config.duplicate_window = Duration::from_millis(100);
    jetstream.update_stream(&config).await.unwrap();
    room.publish(REQUESTED, &[], VALID).await;
    let failure = Failure::new(FailureClass::EntrypointRefused, Stage::Validate, "not allowed");
    Intake::new(&room.broker, WORKER_CONSUMER, 1).next().await.reject(&room.broker, &failure).await.unwrap();
    let probe = ("Nats-Msg-Id", "probe");
    room.publish("cerebros.dlq.alert.probe", &[probe], b"").await;
    let last = room.state("CEREBROS_DLQ").await.last_sequence;
    wait_until("the broker has forgotten the letter's id", PATIENCE, async || {
        room.publish("cerebros.dlq.alert.probe", &[probe], b"").await;
        (room.state("CEREBROS_DLQ").await.last_sequence > last).then_some(())
    })
    .await;
    announced(&room, 1).await;
    jetstream.get_stream(ADVISORY_STREAM).await.unwrap().purge().await.unwrap();
    old_advisory(&room).await;
    let before = room.kept().await;
    let serving = room.serve();
    room.settled().await;
    followed(&room).await;
    assert_eq!(room.kept().await, before, "the letter is there");
    // Also when somebody has dealt with it and taken it away.
    let id = text(&room.entries(1).await[0], "id").to_owned();
    room.json(&["discard", &id, "--reason", "known"]).await;
    jetstream.get_stream("CEREBROS_DLQ").await.unwrap().delete_message(1).await.unwrap();
    let before = room.kept().await;
    old_advisory(&room).await;
    followed(&room).await;
    assert_eq!(room.kept().await, before, "it was dealt with");
    drop(serving);
}
