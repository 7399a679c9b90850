//! `audit`: what is handled, waits, is dead or was announced is explained; everything else is named.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::{AckKind, stream};
use dlq_classifier::handled::{self, Handled};
use futures_util::StreamExt as _;
use schemas::subject::{ADVISORY_STREAM, DLQ_STREAM, STREAM};
use serde_json::Value;
use service_kit::topology::{
    ADVISORY_CONSUMER, CANCEL_CONSUMER, CLASSIFIER_CONSUMER, DLQ_BUCKET, SINK_CONSUMER, WORKER_CONSUMER,
};
use testkit::wait_until;

use crate::room::{LONG_LEASE, PATIENCE, Room, take};
use crate::semantic::claim;

const REQUESTED: &str = "cerebros.nas.run.requested";
const TRIAL: &str = "ml.run.trial";
/// So soon a delivery runs out once that is waited for.
const SHORT_LEASE: Duration = Duration::from_millis(200);

impl Room {
    /// What an audit says, and its exit code.
    pub(crate) async fn audit(&self) -> (Value, i32) {
        let output = self.dlq(&["audit", "-o", "json"]).await;
        let code = output.status.code().unwrap();
        assert!(matches!(code, 0 | 9), "{}", String::from_utf8_lossy(&output.stderr));
        let account: Value = serde_json::from_slice(&output.stdout).unwrap();
        let sum = |name: &str| account["sums"][name].as_u64().unwrap();
        let parts = ["done", "in_flight", "dead", "expired", "before_records", "acknowledged", "unexplained"];
        let parts = parts.map(sum);
        assert_eq!(parts.iter().sum::<u64>(), sum("last_sequence"), "{account:#}");
        assert_eq!(code == 9, !account["unexplained"].as_array().unwrap().is_empty(), "{account:#}");
        (account, code)
    }

    /// An audit that finds nothing; its sums.
    pub(crate) async fn explained(&self) -> Value {
        let (account, code) = self.audit().await;
        assert_eq!(code, 0, "{account:#}");
        account["sums"].clone()
    }

    /// Sequence, end of the range and consumer of everything an audit names.
    pub(crate) async fn named(&self) -> Vec<(u64, Option<u64>, String)> {
        let (account, code) = self.audit().await;
        assert_eq!(code, 9, "{account:#}");
        let findings = account["unexplained"].as_array().unwrap();
        assert!(findings.iter().all(|one| !one["why"].as_str().unwrap().is_empty()), "{account:#}");
        let of = |one: &Value| {
            let consumer = one["consumer"].as_str().unwrap().to_owned();
            (one["seq"].as_u64().unwrap(), one["through"].as_u64(), consumer)
        };
        findings.iter().map(of).collect()
    }

    /// Trials of a run the registry knows.
    pub(crate) async fn trials(&self, count: usize) {
        claim(self, "r", 1).await;
        for number in 0..count {
            let payload = format!(r#"{{"trial_id":"t{number}","run_id":"r","status":"succeeded"}}"#);
            self.publish(TRIAL, &[], payload.as_bytes()).await;
        }
    }

    /// One of the product's consumers, made anew by somebody who knows better.
    async fn made_anew(&self, name: &str, config: pull::Config) -> PullConsumer {
        let stream = self.broker.jetstream.get_stream_no_info(STREAM).await.unwrap();
        stream.delete_consumer(name).await.unwrap();
        let (durable_name, ack_wait) = (Some(name.to_owned()), LONG_LEASE);
        self.consumer(pull::Config { durable_name, ack_policy: AckPolicy::Explicit, ack_wait, ..config })
            .await
    }

    /// A sink that hands a message over so often and no more.
    pub(crate) async fn limited_sink(&self, max_deliver: i64) -> PullConsumer {
        let filter_subject = "ml.run.*".to_owned();
        self.made_anew(SINK_CONSUMER, pull::Config { max_deliver, filter_subject, ..Default::default() })
            .await
    }

    pub(crate) async fn durable(&self, stream: &str, name: &str) -> PullConsumer {
        self.broker.jetstream.get_consumer_from_stream(name, stream).await.unwrap()
    }

    /// Waits until a consumer has nothing in hand any more but what it gave up.
    pub(crate) async fn given_up(&self, consumer: &mut PullConsumer) {
        self.lease(consumer, SHORT_LEASE).await;
        wait_until("the last delivery ran out", PATIENCE, async || {
            // Only when somebody asks does the broker see that a delivery has run out.
            drop(consumer.fetch().max_messages(1).messages().await.unwrap().next().await);
            (consumer.info().await.unwrap().num_ack_pending == 0).then_some(())
        })
        .await;
        self.lease(consumer, LONG_LEASE).await;
    }
}

pub(crate) async fn settle(consumer: &PullConsumer, count: usize, word: AckKind) {
    for message in take(consumer, count).await {
        message.double_ack_with(word).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handled_dead_or_waits_is_explained() {
    let room = Room::new().await;
    assert_eq!(room.explained().await["last_sequence"], 0);
    let _serving = room.serve();
    room.trials(5).await;
    room.publish(TRIAL, &[], b"{").await;
    room.publish(REQUESTED, &[], br#"{"dataset_id":"digits"}"#).await;
    room.publish("cerebros.fence.r", &[], b"").await;
    room.entries(1).await;
    room.settled().await;
    let sums = room.explained().await;
    let found = ["last_sequence", "done", "in_flight", "dead"].map(|name| sums[name].as_u64().unwrap());
    assert_eq!(found, [8, 1, 6, 1], "the sink and the worker have yet to come");
    settle(&room.durable(STREAM, SINK_CONSUMER).await, 6, AckKind::Ack).await;
    let sums = room.explained().await;
    let found = ["done", "in_flight", "dead"].map(|name| sums[name].as_u64().unwrap());
    assert_eq!(found, [6, 1, 1]);
    let shown = room.dlq(&["audit"]).await;
    assert!(String::from_utf8(shown.stdout).unwrap().contains("unexplained            0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_floor_that_stands_before_an_exhausted_message_names_it() {
    for limit in [1, 2] {
        let room = Room::new().await;
        let mut sink = room.limited_sink(limit).await;
        room.trials(3).await;
        let mut messages = take(&sink, 3).await.into_iter();
        for message in [messages.next(), messages.nth(1)] {
            message.unwrap().double_ack().await.unwrap();
        }
        room.given_up(&mut sink).await;
        assert_eq!(sink.info().await.unwrap().ack_floor.stream_sequence, 1);
        // The broker's word about it is lost.
        room.unsaid(1).await;
        let named = room.named().await;
        assert!(named.contains(&(2, None, SINK_CONSUMER.to_owned())), "{named:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_floor_that_jumped_over_an_exhausted_message_is_not_taken_for_done() {
    let room = Room::new().await;
    let mut sink = room.limited_sink(2).await;
    room.trials(3).await;
    let mut messages = take(&sink, 3).await.into_iter();
    for message in [messages.next(), messages.nth(1)] {
        message.unwrap().double_ack().await.unwrap();
    }
    room.given_up(&mut sink).await;
    room.trials(1).await;
    settle(&sink, 1, AckKind::Ack).await;
    assert_eq!(sink.info().await.unwrap().ack_floor.stream_sequence, 4, "the broker has moved it past");
    room.unsaid(1).await;
    assert_eq!(room.named().await, [(1, Some(4), SINK_CONSUMER.to_owned())]);
    // Also when somebody lifts the limit again.
    let stream = room.broker.jetstream.get_stream_no_info(STREAM).await.unwrap();
    let known = sink.info().await.unwrap().config.clone();
    let unlimited = pull::Config {
        durable_name: known.durable_name,
        ack_policy: AckPolicy::Explicit,
        ack_wait: known.ack_wait,
        filter_subject: known.filter_subject,
        max_deliver: -1,
        ..pull::Config::default()
    };
    stream.update_consumer(unlimited).await.unwrap();
    assert_eq!(room.named().await, [(1, Some(4), SINK_CONSUMER.to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_message_without_a_letter_is_named() {
    let room = Room::new().await;
    room.trials(2).await;
    settle(&room.durable(STREAM, SINK_CONSUMER).await, 2, AckKind::Term).await;
    room.explained().await;
    // A classifier that knows nothing of letters takes the broker's word and writes none.
    settle(&room.durable(ADVISORY_STREAM, ADVISORY_CONSUMER).await, 2, AckKind::Ack).await;
    let expected = [1, 2].map(|seq| (seq, None, SINK_CONSUMER.to_owned()));
    assert_eq!(room.named().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_somebody_removed_is_missed() {
    let room = Room::new().await;
    let _serving = room.serve();
    room.publish(TRIAL, &[], b"{").await;
    let entry = room.entries(1).await.remove(0);
    room.settled().await;
    let advisories = room.durable(ADVISORY_STREAM, ADVISORY_CONSUMER).await;
    wait_until("the classifier took the broker's word", PATIENCE, async || {
        let info = advisories.clone().info().await.unwrap().clone();
        (info.ack_floor.stream_sequence > 0).then_some(())
    })
    .await;
    let queue = room.broker.jetstream.get_stream(DLQ_STREAM).await.unwrap();
    queue.delete_message(1).await.unwrap();
    assert_eq!(room.named().await, [(entry["seq"].as_u64().unwrap(), None, CLASSIFIER_CONSUMER.to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_or_purged_is_named() {
    let room = Room::new().await;
    room.trials(6).await;
    let stream = room.broker.jetstream.get_stream(STREAM).await.unwrap();
    stream.delete_message(5).await.unwrap();
    assert_eq!(room.named().await, [(5, None, String::new())]);
    stream.purge().sequence(4).await.unwrap();
    assert_eq!(room.named().await, [(1, Some(3), String::new()), (5, None, String::new())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_gone_or_began_late_is_named() {
    let room = Room::new().await;
    room.trials(3).await;
    room.publish("cerebros.nas.run.cancel_requested", &[], br#"{"run_id":"r"}"#).await;
    let late = pull::Config {
        deliver_policy: DeliverPolicy::New,
        filter_subject: "ml.run.*".to_owned(),
        ..pull::Config::default()
    };
    room.made_anew(SINK_CONSUMER, late).await;
    let stream = room.broker.jetstream.get_stream_no_info(STREAM).await.unwrap();
    stream.delete_consumer(CANCEL_CONSUMER).await.unwrap();
    let named: Vec<String> = room.named().await.into_iter().map(|(_, _, consumer)| consumer).collect();
    assert_eq!(named, [SINK_CONSUMER, CANCEL_CONSUMER]);
    let (account, _) = room.audit().await;
    assert_eq!(account["sums"]["unexplained"], 4, "{account:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_settled_and_made_no_run_is_named() {
    let room = Room::new().await;
    room.publish(REQUESTED, &[], br#"{"dataset_id":"digits","run_id":"r1"}"#).await;
    room.publish(REQUESTED, &[("Cerebros-Reserved", "job-1")], br#"{"dataset_id":"digits"}"#).await;
    settle(&room.durable(STREAM, WORKER_CONSUMER).await, 2, AckKind::Ack).await;
    assert_eq!(room.named().await, [(1, None, WORKER_CONSUMER.to_owned())]);
    let runs = room.broker.jetstream.get_key_value(service_kit::topology::RUNS_BUCKET).await.unwrap();
    runs.put("r1", "{}".into()).await.unwrap();
    room.explained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_with_notice_is_no_finding() {
    let room = Room::new().await;
    let stream = room.broker.jetstream.get_stream(STREAM).await.unwrap();
    // Notice is given in the last quarter, in time also on a machine that stands still for some seconds.
    let (max_age, duplicate_window) = (Duration::from_secs(24), Duration::from_secs(2));
    let known = stream.cached_info().config.clone();
    room.broker.jetstream.update_stream(stream::Config { max_age, duplicate_window, ..known }).await.unwrap();
    let _serving = room.serve();
    room.book(|book| book.since == 1).await;
    room.trials(3).await;
    room.settled().await;
    wait_until("the stream dropped them", PATIENCE, async || {
        (room.state(STREAM).await.messages == 0).then_some(())
    })
    .await;
    let sums = room.explained().await;
    assert_eq!((sums["expired"].as_u64(), sums["done"].as_u64()), (Some(3), Some(0)), "{sums:#}");
    // The broker has moved the consumers past them, and the classifier has written that down.
    room.trials(1).await;
    settle(&room.durable(STREAM, SINK_CONSUMER).await, 1, AckKind::Ack).await;
    let bucket = room.broker.jetstream.get_key_value(DLQ_BUCKET).await.unwrap();
    wait_until("the book is kept", PATIENCE, async || {
        let book = bucket.get(handled::KEY).await.unwrap()?;
        let book: Handled = serde_json::from_slice(&book).unwrap();
        (book.through() >= 4).then_some(())
    })
    .await;
    let sums = room.explained().await;
    assert_eq!((sums["expired"].as_u64(), sums["done"].as_u64()), (Some(3), Some(1)), "{sums:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_of_a_moving_stream_finds_nothing() {
    let room = Room::new().await;
    let _serving = room.serve();
    let sink = room.durable(STREAM, SINK_CONSUMER).await;
    let acking = tokio::spawn(async move {
        let mut messages = sink.messages().await.unwrap();
        while let Some(Ok(message)) = messages.next().await {
            message.ack().await.unwrap();
        }
    });
    let publishing = async {
        for round in 0..40 {
            room.trials(50).await;
            room.publish(TRIAL, &[], format!("{round}").as_bytes()).await;
        }
    };
    let auditing = async {
        let mut last = 0;
        while last < 40 * 51 {
            last = room.explained().await["last_sequence"].as_u64().unwrap();
        }
    };
    tokio::join!(publishing, auditing);
    acking.abort();
}
