//! `audit`: what it goes by. Letters in the name of somebody else excuse nobody; what was found missing stays missing when
//! the broker forgets it; what somebody has dealt with needs no letter any more.

use std::time::Duration;

use async_nats::jetstream::{AckKind, stream};
use dlq_classifier::handled::{self, Handled};
use schemas::subject::STREAM;
use serde_json::Value;
use service_kit::topology::{DLQ_BUCKET, SINK_CONSUMER};
use testkit::wait_until;

use crate::audit::settle;
use crate::room::{PATIENCE, Room};

impl Room {
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
