//! `audit`: what it goes by. Letters in the name of somebody else excuse nobody; what was found missing stays missing when
//! the broker forgets it; what somebody has dealt with needs no letter any more.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::{AckKind, stream};
use dlq_classifier::handled::{self, Handled};
use schemas::Timestamp;
use schemas::subject::{ADVISORY_STREAM, DLQ_STREAM, STREAM};
use serde_json::Value;
use service_kit::topology::{self, ADVISORY_CONSUMER, DLQ_BUCKET, SINK_CONSUMER, WORKER_CONSUMER};
use testkit::wait_until;

use crate::audit::settle;
use crate::room::{LONG_LEASE, PATIENCE, Room, Serving, take, text};

const REQUESTED: &str = "cerebros.nas.run.requested";
const TRIAL: &str = "ml.run.trial";

impl Room {
    /// A classifier that compares consumers with the stream all the time.
    pub(crate) fn sweeping(&self) -> Serving {
        self.serve_with(&["--sweep-every", "100ms"])
    }

    /// Somebody else's consumer that is handed a message so often and no more.
    async fn monitor(&self, filter_subject: &str, max_deliver: i64) -> PullConsumer {
        self.monitor_from(DeliverPolicy::All, filter_subject, max_deliver).await
    }

    async fn monitor_from(
        &self,
        deliver_policy: DeliverPolicy,
        filter_subject: &str,
        max_deliver: i64,
    ) -> PullConsumer {
        self.consumer(pull::Config {
            deliver_policy,
            durable_name: Some("monitor".to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: LONG_LEASE,
            max_deliver,
            filter_subject: filter_subject.to_owned(),
            ..pull::Config::default()
        })
        .await
    }

    /// The consumer takes so many messages and settles none, until the broker gives them up.
    async fn lost(&self, consumer: &mut PullConsumer, count: usize) {
        take(consumer, count).await;
        self.given_up(consumer).await;
    }

    /// What the broker has said about so many messages cannot be read any more.
    pub(crate) async fn unsaid(&self, count: u64) {
        wait_until("the broker has said so", PATIENCE, async || {
            (self.state(ADVISORY_STREAM).await.messages >= count).then_some(())
        })
        .await;
        self.broker.jetstream.get_stream(ADVISORY_STREAM).await.unwrap().purge().await.unwrap();
    }

    /// The second of three trials is given up and nobody says so, and the floor moves past it.
    pub(crate) async fn loses_one(&self, sink: &mut PullConsumer) {
        self.trials(3).await;
        let mut messages = take(sink, 3).await.into_iter();
        for message in [messages.next(), messages.nth(1)] {
            message.unwrap().double_ack().await.unwrap();
        }
        self.given_up(sink).await;
        self.unsaid(1).await;
        self.trials(1).await;
        settle(sink, 1, AckKind::Ack).await;
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

    /// Waits until a sweep has accounted for what a consumer gave up, as it stands.
    pub(crate) async fn swept(&self, consumer: &mut PullConsumer) {
        let info = consumer.info().await.unwrap().clone();
        self.remembers(&format!("sweep.{}", info.name), |note| {
            note["given_up"]["accounted"] == info.num_redelivered
                && note["reading"]["delivered"] == info.delivered.stream_sequence
                && note["reading"]["floor"] == info.ack_floor.stream_sequence
        })
        .await;
    }

    /// The book of what was settled, as soon as it says so.
    pub(crate) async fn book(&self, is_so: impl Fn(&Handled) -> bool) {
        self.remembers(handled::KEY, |book| is_so(&serde_json::from_value(book.clone()).unwrap())).await;
    }

    /// Every advisory is taken for dealt with.
    pub(crate) async fn advisories_taken(&self, count: usize) {
        settle(&self.durable(ADVISORY_STREAM, ADVISORY_CONSUMER).await, count, AckKind::Ack).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_discard_of_a_stranger_s_letter_does_not_cover_what_the_sink_terminated() {
    let room = Room::new().await;
    let serving = room.serve();
    let mut monitor = room.monitor(TRIAL, 1).await;
    room.trials(1).await;
    room.lost(&mut monitor, 1).await;
    let id = text(&room.entries(1).await[0], "id").to_owned();
    room.json(&["discard", &id, "--reason", "not ours"]).await;
    room.settled().await;
    let advisories = room.durable(ADVISORY_STREAM, ADVISORY_CONSUMER).await;
    wait_until("the classifier took the broker's word", PATIENCE, async || {
        (advisories.clone().info().await.unwrap().ack_floor.stream_sequence == 1).then_some(())
    })
    .await;
    serving.stop().await;
    settle(&room.durable(STREAM, SINK_CONSUMER).await, 1, AckKind::Term).await;
    room.advisories_taken(1).await;
    assert_eq!(room.named().await, [(1, None, SINK_CONSUMER.to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_counted_as_lost_stays_named_when_the_broker_has_forgotten_it() {
    let mut room = Room::new().await;
    let mut sink = room.limited_sink(2).await;
    room.loses_one(&mut sink).await;
    let lost = [(1, Some(4), SINK_CONSUMER.to_owned())];
    assert_eq!(room.named().await, lost);
    let serving = room.sweeping();
    room.swept(&mut sink).await;
    serving.stop().await;
    assert_eq!(room.named().await, lost);
    // Some servers drop the count when they start; each drops it with the consumer.
    room.nats.restart().await;
    let stream = room.broker.jetstream.get_stream_no_info(STREAM).await.unwrap();
    wait_until("the consumer is gone", PATIENCE, async || stream.delete_consumer(SINK_CONSUMER).await.ok())
        .await;
    assert!(room.named().await.contains(&lost[0]));
    let name = Some(SINK_CONSUMER.to_owned());
    let ours = topology::consumers().into_iter().find(|config| config.durable_name == name).unwrap();
    settle(&room.consumer(ours).await, 4, AckKind::Ack).await;
    assert_eq!(room.named().await, lost);
    // Nor does a classifier that looks at the new one forget it.
    let serving = room.sweeping();
    room.remembers("sweep.mlflow-sink", |note| note["reading"]["max_deliver"] == -1).await;
    serving.stop().await;
    assert_eq!(room.named().await, lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_of_an_earlier_consumer_do_not_excuse_what_the_next_one_loses() {
    let room = Room::new().await;
    let serving = room.sweeping();
    let mut monitor = room.monitor(TRIAL, 2).await;
    room.trials(2).await;
    room.lost(&mut monitor, 2).await;
    room.entries(2).await;
    room.trials(1).await;
    settle(&monitor, 1, AckKind::Ack).await;
    room.settled().await;
    room.swept(&mut monitor).await;
    room.explained().await;
    serving.stop().await;
    let stream = room.broker.jetstream.get_stream_no_info(STREAM).await.unwrap();
    stream.delete_consumer("monitor").await.unwrap();
    let mut monitor = room.monitor_from(DeliverPolicy::New, TRIAL, 2).await;
    room.broker.jetstream.get_stream(ADVISORY_STREAM).await.unwrap().purge().await.unwrap();
    room.trials(2).await;
    room.lost(&mut monitor, 2).await;
    room.trials(1).await;
    settle(&monitor, 1, AckKind::Ack).await;
    room.unsaid(2).await;
    let lost = (1, Some(6), "monitor".to_owned());
    assert_eq!(room.named().await, std::slice::from_ref(&lost));
    // A sweep keeps it in mind.
    let serving = room.sweeping();
    room.swept(&mut monitor).await;
    serving.stop().await;
    assert_eq!(room.named().await, [lost]);
    let (account, _) = room.audit().await;
    assert_eq!(account["sums"]["unexplained"], 2, "{account:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_or_purged_under_a_classifier_is_named() {
    let room = Room::new().await;
    let serving = room.sweeping();
    room.trials(6).await;
    room.settled().await;
    room.book(|book| book.since == 1).await;
    let stream = room.broker.jetstream.get_stream(STREAM).await.unwrap();
    stream.delete_message(5).await.unwrap();
    assert_eq!(room.named().await, [(5, None, String::new())]);
    stream.purge().sequence(4).await.unwrap();
    let named = [(1, Some(3), String::new()), (5, None, String::new())];
    assert_eq!(room.named().await, named);
    // The floors move on, and the book has it.
    settle(&room.durable(STREAM, SINK_CONSUMER).await, 2, AckKind::Ack).await;
    serving.stop().await;
    let _serving = room.sweeping();
    room.book(|book| book.through() == 6).await;
    assert_eq!(room.named().await, named);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_dealt_with_and_purged_needs_no_letter() {
    let room = Room::new().await;
    let serving = room.sweeping();
    // Nobody can read the first; the sink gives the second up and has the fourth in hand when somebody deletes it.
    room.publish(REQUESTED, &[], b"{").await;
    room.entries(1).await;
    settle(&room.durable(STREAM, WORKER_CONSUMER).await, 1, AckKind::Ack).await;
    let mut sink = room.limited_sink(2).await;
    room.trials(1).await;
    room.lost(&mut sink, 1).await;
    room.entries(2).await;
    room.trials(2).await;
    let mut messages = take(&sink, 2).await.into_iter();
    messages.next().unwrap().double_ack().await.unwrap();
    let stream = room.broker.jetstream.get_stream(STREAM).await.unwrap();
    stream.delete_message(4).await.unwrap();
    room.entries(3).await;
    room.settled().await;
    room.swept(&mut sink).await;
    room.explained().await;
    room.json(&["discard", "--all", "--reason", "a test"]).await;
    let queue = room.broker.jetstream.get_stream(DLQ_STREAM).await.unwrap();
    for class in ["decode", "worker_lost", "unknown"] {
        queue.purge().filter(format!("cerebros.dlq.{class}.>")).await.unwrap();
    }
    room.entries(0).await;
    room.explained().await;
    serving.stop().await;
    room.explained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_a_stream_that_was_made_anew_explains_nothing_of_the_new_one() {
    let room = Room::new().await;
    let serving = room.serve();
    room.publish(TRIAL, &[], b"{").await;
    room.entries(1).await;
    room.settled().await;
    room.book(|book| book.since == 1).await;
    serving.stop().await;
    room.broker.jetstream.delete_stream(STREAM).await.unwrap();
    topology::ensure(&room.broker).await.unwrap();
    // It has the sequence of the dead one, and nobody made a run of it.
    room.publish(REQUESTED, &[], br#"{"dataset_id":"digits","run_id":"r1"}"#).await;
    settle(&room.durable(STREAM, WORKER_CONSUMER).await, 1, AckKind::Ack).await;
    let silent = [(1, None, WORKER_CONSUMER.to_owned())];
    assert_eq!(room.named().await, silent);
    let _serving = room.serve();
    let mut stream = room.broker.jetstream.get_stream(STREAM).await.unwrap();
    let created = Timestamp::from(stream.info().await.unwrap().created).micros();
    room.book(|book| book.stream == created).await;
    room.settled().await;
    assert_eq!(room.named().await, silent);
}
