//! `audit`: what it goes by. Letters in the name of somebody else excuse nobody; what was found missing stays missing when
//! the broker forgets it; what somebody has dealt with needs no letter any more.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::{AckKind, stream};
use dlq_classifier::handled::{self, Handled};
use schemas::subject::STREAM;
use serde_json::Value;
use service_kit::topology::{DLQ_BUCKET, SINK_CONSUMER, WORKER_CONSUMER};
use testkit::wait_until;

use crate::audit::{fetch, settle};
use crate::room::{PATIENCE, Room, text};

const REQUESTED: &str = "cerebros.nas.run.requested";
const TRIAL: &str = "ml.run.trial";

impl Room {
    /// Somebody else's consumer that is handed a message so often and no more.
    async fn monitor(&self, filter_subject: &str, max_deliver: i64) -> PullConsumer {
        self.consumer(pull::Config {
            durable_name: Some("monitor".to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_millis(200),
            max_deliver,
            filter_subject: filter_subject.to_owned(),
            ..pull::Config::default()
        })
        .await
    }

    /// The consumer takes so many messages and settles none, until the broker gives them up.
    async fn lost(&self, consumer: &mut PullConsumer, count: usize) {
        fetch(consumer, count).await;
        self.given_up(consumer).await;
    }

    /// Waits until what a classifier remembers says so.
    async fn remembers(&self, key: &str, is_so: impl Fn(&Value) -> bool) {
        let bucket = self.broker.jetstream.get_key_value(DLQ_BUCKET).await.unwrap();
        wait_until(&format!("the note {key} says so"), PATIENCE, async || {
            let note = bucket.get(key).await.ok()??;
            is_so(&serde_json::from_slice(&note).unwrap()).then_some(())
        })
        .await;
    }

    /// The book of what was settled, as soon as it says so.
    async fn book(&self, is_so: impl Fn(&Handled) -> bool) {
        self.remembers(handled::KEY, |book| is_so(&serde_json::from_value(book.clone()).unwrap())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_nobody_announced_stays_named_on_a_stream_that_drops_nothing_by_age() {
    let room = Room::new().await;
    let known = room.broker.jetstream.get_stream(STREAM).await.unwrap().cached_info().config.clone();
    let config = stream::Config { max_age: Duration::ZERO, max_messages: 4, ..known };
    room.broker.jetstream.update_stream(config).await.unwrap();
    room.trials(1).await;
    let serving = room.serve();
    room.book(|book| book.since == 1).await;
    serving.stop().await;
    room.trials(6).await;
    // Each classifier looks at the book as soon as it starts.
    let serving = room.serve();
    room.book(|book| !book.holes.is_empty()).await;
    room.settled().await;
    serving.stop().await;
    let silent = [(1, Some(3), String::new())];
    assert_eq!(room.named().await, silent);
    settle(&room.durable(STREAM, SINK_CONSUMER).await, 4, AckKind::Ack).await;
    let _serving = room.serve();
    room.book(|book| book.floors[SINK_CONSUMER] == 7).await;
    assert_eq!(room.named().await, silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_in_a_stranger_s_name_does_not_excuse_a_worker_that_did_nothing() {
    let room = Room::new().await;
    let serving = room.serve();
    let mut monitor = room.monitor(REQUESTED, 1).await;
    room.publish(REQUESTED, &[], br#"{"dataset_id":"digits","run_id":"r1"}"#).await;
    room.lost(&mut monitor, 1).await;
    assert_eq!(text(&room.entries(1).await[0], "consumer"), "monitor");
    room.settled().await;
    serving.stop().await;
    settle(&room.durable(STREAM, WORKER_CONSUMER).await, 1, AckKind::Ack).await;
    assert_eq!(room.named().await, [(1, None, WORKER_CONSUMER.to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_left_the_stream_before_the_sink_read_it_is_not_dead_by_a_stranger_s_letter() {
    let room = Room::new().await;
    let _serving = room.serve();
    let mut monitor = room.monitor(TRIAL, 1).await;
    room.trials(3).await;
    room.lost(&mut monitor, 3).await;
    room.entries(3).await;
    room.settled().await;
    let stream = room.broker.jetstream.get_stream(STREAM).await.unwrap();
    stream.delete_message(2).await.unwrap();
    assert_eq!(room.named().await, [(2, None, String::new())]);
}
