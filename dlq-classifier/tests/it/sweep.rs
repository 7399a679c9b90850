//! What consumers lost without a word of the broker: every advisory is purged before the classifier begins.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use futures_util::StreamExt as _;
use schemas::subject::{ADVISORY_STREAM, STREAM};
use service_kit::clock;
use service_kit::topology::{CLASSIFIER_CONSUMER, DLQ_BUCKET, WORKER_CONSUMER};
use testkit::wait_until;

use crate::room::{LONG_LEASE, PATIENCE, Room, Serving, hand_back, take, text};

const REQUESTED: &str = "cerebros.nas.run.requested";
/// So soon a delivery runs out once that is waited for.
const SHORT_LEASE: Duration = Duration::from_millis(100);

fn config(name: &str, max_deliver: i64) -> pull::Config {
    pull::Config {
        durable_name: Some(name.to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: LONG_LEASE,
        max_deliver,
        filter_subject: REQUESTED.to_owned(),
        ..pull::Config::default()
    }
}

fn serve(room: &Room) -> Serving {
    // An alert is a message of the queue as well, and these count them all.
    room.serve_with(&["--sweep-every", "100ms", "--alert-depth", "5000", "--alert-rate", "5000"])
}

async fn request(room: &Room, run: &str) {
    room.publish(REQUESTED, &[], format!(r#"{{"run_id":"{run}","dataset_id":"digits"}}"#).as_bytes()).await;
}

/// Hands so many messages over so many times; the last delivery of each stays in hand.
async fn hand_over(consumer: &PullConsumer, times: i64, count: usize) -> Vec<Message> {
    for _ in 1..times {
        hand_back(take(consumer, count).await).await;
    }
    take(consumer, count).await
}

/// Waits until what a consumer has in hand has run out.
async fn run_out(room: &Room, consumer: &PullConsumer) {
    room.lease(consumer, SHORT_LEASE).await;
    let name = &consumer.cached_info().name;
    wait_until("the consumer has nothing in hand", PATIENCE, async || {
        // The broker notices that deliveries ran out when somebody asks for more.
        let mut more = consumer.fetch().max_messages(1).messages().await.unwrap();
        assert!(more.next().await.is_none());
        (room.waiting(name).await == (0, 0)).then_some(())
    })
    .await;
    room.lease(consumer, LONG_LEASE).await;
}

/// The same, and takes away what the broker says about so many of them; under a limit that was lowered it says nothing.
async fn given_up(room: &Room, consumer: &PullConsumer, announced: u64) {
    run_out(room, consumer).await;
    wait_until("the broker has said it", PATIENCE, async || {
        (room.state(ADVISORY_STREAM).await.messages >= announced).then_some(())
    })
    .await;
    wait_until("what the broker said is gone", PATIENCE, async || {
        let mut stream = room.broker.jetstream.get_stream(ADVISORY_STREAM).await.unwrap();
        stream.purge().await.unwrap();
        (stream.info().await.unwrap().state.messages == 0).then_some(())
    })
    .await;
}

/// Waits until the sweep is through with a consumer as it stands.
async fn dealt_with(room: &Room, consumer: &str) {
    let bucket = room.broker.jetstream.get_key_value(DLQ_BUCKET).await.unwrap();
    wait_until("the sweep has dealt with the consumer", PATIENCE, async || {
        let note = bucket.get(format!("sweep.{consumer}")).await.unwrap()?;
        let note: serde_json::Value = serde_json::from_slice(&note).unwrap();
        (note["dealt_with"].is_object() && note["dealt_with"] == note["reading"]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_lost_on_its_last_permitted_delivery_is_found_without_its_advisory() {
    let room = Room::new().await;
    for max_deliver in [1, 2] {
        let name = format!("doomed-{max_deliver}");
        let consumer = room.consumer(config(&name, max_deliver)).await;
        request(&room, &name).await;
        let messages = room.state(STREAM).await.messages;
        hand_over(&consumer, max_deliver, usize::try_from(messages).unwrap()).await;
        given_up(&room, &consumer, messages).await;
    }
    let _serving = serve(&room);
    let entries = room.entries(3).await;
    let mut found: Vec<_> = entries
        .iter()
        .map(|entry| {
            (text(entry, "consumer"), entry["seq"].as_u64().unwrap(), entry["deliveries"].as_u64().unwrap())
        })
        .collect();
    assert!(entries.iter().all(|entry| text(entry, "class") == "worker_lost"), "{entries:#?}");
    found.sort_unstable();
    assert_eq!(found, [("doomed-1", 1, 1), ("doomed-2", 1, 2), ("doomed-2", 2, 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_only_the_number_of_lost_messages_is_known_each_candidate_says_so() {
    let room = Room::new().await;
    let consumer = room.consumer(config("doomed", -1)).await;
    for run in ["a", "b", "c", "d"] {
        request(&room, run).await;
    }
    // All are handed out four times; the second is done in the end.
    for message in hand_over(&consumer, 4, 4).await {
        if message.info().unwrap().stream_sequence == 2 {
            message.double_ack().await.unwrap();
        }
    }
    room.consumer(config("doomed", 2)).await;
    given_up(&room, &consumer, 0).await;
    let _serving = serve(&room);
    dealt_with(&room, "doomed").await;
    // Three of the four are lost, and the broker does not say which.
    let entries = room.entries(4).await;
    assert!(entries.iter().all(|entry| text(entry, "class") == "worker_lost"));
    assert!(text(&entries[0], "reason").contains("3 ran out"), "{}", entries[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_adds_nothing_to_what_the_broker_has_announced() {
    let room = Room::new().await;
    let consumer = room.consumer(config("doomed", 2)).await;
    for run in ["a", "b", "c", "d"] {
        request(&room, run).await;
    }
    let _serving = serve(&room);
    hand_over(&consumer, 2, 4).await[1].double_ack().await.unwrap();
    run_out(&room, &consumer).await;
    dealt_with(&room, "doomed").await;
    let entries = room.entries(3).await;
    assert!(entries.iter().all(|entry| text(entry, "reason").contains("never settled it")), "{entries:#?}");
    assert_eq!(room.kept().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_lowered_under_the_count_of_all_messages_is_found_exactly() {
    let room = Room::new().await;
    let consumer = room.consumer(config("doomed", 5)).await;
    for run in ["a", "b", "c"] {
        request(&room, run).await;
    }
    hand_over(&consumer, 3, 3).await;
    room.consumer(config("doomed", 2)).await;
    given_up(&room, &consumer, 0).await;
    let _serving = serve(&room);
    let entries = room.entries(3).await;
    assert!(entries.iter().all(|entry| text(entry, "reason").contains("never settled it")), "{entries:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_thousand_messages_of_a_lowered_limit_are_found_to_the_last() {
    let room = Room::new().await;
    let many = |max_deliver| pull::Config { max_ack_pending: 5000, ..config("doomed", max_deliver) };
    let consumer = room.consumer(many(5)).await;
    let jetstream = async_nats::jetstream::new(room.stranger.clone());
    let mut taken_in = Vec::new();
    for number in 0..1100 {
        let request = format!(r#"{{"run_id":"r-{number}","dataset_id":"digits"}}"#);
        taken_in.push(jetstream.publish(REQUESTED, request.into()).await.unwrap());
    }
    for confirmed in taken_in {
        confirmed.await.unwrap();
    }
    hand_over(&consumer, 3, 1100).await;
    room.consumer(many(2)).await;
    given_up(&room, &consumer, 0).await;
    let _serving = serve(&room);
    dealt_with(&room, "doomed").await;
    assert_eq!(room.kept().await, 1100);
    let entries = room.entries(1100).await;
    assert!(entries.iter().all(|entry| text(entry, "reason").contains("never settled it")), "{}", entries[0]);
    // The floor passes them: they are not told again, and none is left.
    request(&room, "done").await;
    take(&consumer, 1).await[0].double_ack().await.unwrap();
    let bucket = room.broker.jetstream.get_key_value(DLQ_BUCKET).await.unwrap();
    wait_until("the sweep has seen the floor move", PATIENCE, async || {
        let note = bucket.get("sweep.doomed").await.unwrap()?;
        let note: serde_json::Value = serde_json::from_slice(&note).unwrap();
        (note["reading"]["floor"] == 1101).then_some(())
    })
    .await;
    assert_eq!(room.kept().await, 1100);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_ours_are_found_behind_a_floor_that_has_passed_them() {
    let room = Room::new().await;
    let stream = room.broker.jetstream.get_stream_no_info(STREAM).await.unwrap();
    stream.delete_consumer(WORKER_CONSUMER).await.unwrap();
    let worker = room.consumer(config(WORKER_CONSUMER, 2)).await;
    request(&room, "lost").await;
    hand_over(&worker, 2, 1).await;
    given_up(&room, &worker, 1).await;
    // The next one is done, and the broker counts everything before it as settled.
    room.publish(REQUESTED, &[("Cerebros-Reserved", "job")], br#"{"run_id":"done","dataset_id":"digits"}"#)
        .await;
    take(&worker, 1).await[0].double_ack().await.unwrap();
    assert_eq!(stream.consumer_info(WORKER_CONSUMER).await.unwrap().ack_floor.stream_sequence, 2);
    let _serving = serve(&room);
    let entry = &room.entries(1).await[0];
    assert_eq!((text(entry, "run_id"), text(entry, "consumer")), ("lost", WORKER_CONSUMER));
    dealt_with(&room, WORKER_CONSUMER).await;
    assert_eq!(room.kept().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_classifiers_that_sweep_at_once_make_one_entry_and_neither_begins_again() {
    let room = Room::new().await;
    let consumer = room.consumer(config("doomed", 1)).await;
    request(&room, "a").await;
    take(&consumer, 1).await;
    given_up(&room, &consumer, 1).await;
    let serving = [serve(&room), serve(&room)];
    room.entries(1).await;
    dealt_with(&room, "doomed").await;
    let [first, second] = serving;
    first.kill().await;
    second.kill().await;
    let _again = serve(&room);
    wait_until("the classifier has read everything", PATIENCE, async || {
        (room.waiting(CLASSIFIER_CONSUMER).await == (0, 0)).then_some(())
    })
    .await;
    assert_eq!(room.kept().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_hand_or_done_is_left_alone() {
    let room = Room::new().await;
    let consumer = room.consumer(config("slow", 1)).await;
    let done = room.consumer(config("done", 3)).await;
    for run in ["a", "b"] {
        request(&room, run).await;
    }
    take(&consumer, 2).await;
    for message in take(&done, 2).await {
        message.double_ack().await.unwrap();
    }
    let _serving = serve(&room);
    room.settled().await;
    let bucket = room.broker.jetstream.get_key_value(DLQ_BUCKET).await.unwrap();
    wait_until("both were looked at", PATIENCE, async || {
        let notes = [bucket.get("sweep.slow").await.unwrap(), bucket.get("sweep.done").await.unwrap()];
        notes.iter().all(Option::is_some).then_some(())
    })
    .await;
    // What is lost later is found by the same sweep, which proves that it went on.
    let doomed = room.consumer(config("doomed", 1)).await;
    take(&doomed, 1).await;
    room.lease(&doomed, SHORT_LEASE).await;
    let entries = room.entries(1).await;
    assert_eq!(text(&entries[0], "consumer"), "doomed");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_a_consumer_with_one_delivery_lost_after_its_last_ack_is_found() {
    let room = Room::new().await;
    let consumer = room.consumer(config("doomed", 1)).await;
    for run in ["done", "a"] {
        request(&room, run).await;
    }
    take(&consumer, 2).await[0].double_ack().await.unwrap();
    let acked = clock::now().micros();
    wait_until("the last ack lies behind by more than clocks differ", PATIENCE, async || {
        (clock::now().micros() - acked > 200_000).then_some(())
    })
    .await;
    for run in ["b", "c"] {
        request(&room, run).await;
    }
    take(&consumer, 2).await;
    given_up(&room, &consumer, 3).await;
    let _serving = serve(&room);
    dealt_with(&room, "doomed").await;
    let entries = room.entries(3).await;
    let found: Vec<u64> = entries.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert_eq!(found, [2, 3, 4]);
    assert!(entries.iter().all(|entry| text(entry, "reason").contains("never settled it")), "{entries:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_consumer_with_one_delivery_that_has_acked_nothing_each_message_is_found_and_the_doubt_is_said()
{
    let room = Room::new().await;
    let consumer = room.consumer(config("doomed", 1)).await;
    for run in ["a", "b", "c"] {
        request(&room, run).await;
    }
    take(&consumer, 3).await;
    given_up(&room, &consumer, 3).await;
    let _serving = serve(&room);
    dealt_with(&room, "doomed").await;
    let entries = room.entries(3).await;
    assert!(text(&entries[0], "reason").contains("never settled it"), "the first ran out for certain");
    assert!(
        entries[1..].iter().all(|entry| text(entry, "reason").contains("as far as the broker remembers"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_acks_came_after_the_messages_only_the_first_is_known_to_be_lost() {
    let room = Room::new().await;
    let consumer = room.consumer(config("doomed", 1)).await;
    for run in ["lost", "done", "lost-too"] {
        request(&room, run).await;
    }
    take(&consumer, 3).await[1].double_ack().await.unwrap();
    given_up(&room, &consumer, 2).await;
    let _serving = serve(&room);
    dealt_with(&room, "doomed").await;
    assert_eq!(room.entries(1).await[0]["seq"].as_u64(), Some(1));
}
