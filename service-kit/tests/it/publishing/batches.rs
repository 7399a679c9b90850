//! Atomic batches.

use schemas::Encoding;
use schemas::subject::STREAM;
use service_kit::publish::Publisher;
use testkit::{Fault, Proxy};

use super::{Room, SOON, arrived, assert_each_once, connect, cut, trials, voice};

fn is_of_a_batch(kept: &service_kit::history::Kept) -> bool {
    kept.headers.get("Nats-Batch-Id").is_some()
}

#[tokio::test]
async fn a_batch_is_stored_whole_and_in_order() {
    let room = Room::durable().await;
    let confirmed = room.publisher().publish_batched(&trials(0..200), &voice()).await.unwrap();
    let sequences: Vec<u64> = confirmed.iter().map(|published| published.sequence).collect();
    assert_eq!(sequences, (1..=200).collect::<Vec<_>>());
    assert_eq!(room.numbers().await, (0..200).collect::<Vec<_>>());
    assert!(room.kept().await.iter().all(is_of_a_batch));
}

#[tokio::test]
async fn more_than_a_batch_may_carry_becomes_several() {
    let room = Room::durable().await;
    let confirmed = room.publisher().publish_batched(&trials(0..2345), &voice()).await.unwrap();
    assert_eq!(confirmed.last().map(|published| published.sequence), Some(2345));
    assert_eq!(room.numbers().await, (0..2345).collect::<Vec<_>>());
    let mut batches: Vec<_> = room
        .kept()
        .await
        .iter()
        .filter_map(|kept| kept.headers.get("Nats-Batch-Id").map(str::to_owned))
        .collect();
    batches.dedup();
    assert_eq!(batches.len(), 3);
}

#[tokio::test]
async fn a_duplicate_inside_sends_each_for_itself_and_stores_each_once() {
    let room = Room::open().await;
    room.publisher().publish(&trials([17])[0], &voice()).await.unwrap();
    let confirmed = room.publisher().publish_batched(&trials(0..100), &voice()).await.unwrap();
    let known: Vec<usize> = (0..100).filter(|index| confirmed[*index].is_duplicate).collect();
    assert_eq!(known, [17]);
    assert_eq!(confirmed[17].sequence, 1);
    let others = (0..100).filter(|number| *number != 17);
    assert_eq!(room.numbers().await, std::iter::once(17).chain(others).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_that_takes_no_batches_gets_each_message_for_itself() {
    let room = Room::open().await;
    let mut stream = room.broker.jetstream.get_stream(STREAM).await.unwrap();
    let mut config = stream.info().await.unwrap().config.clone();
    config.allow_atomic_publish = false;
    room.broker.jetstream.update_stream(config).await.unwrap();
    let publisher = room.publisher();
    publisher.publish_batched(&trials(0..100), &voice()).await.unwrap();
    publisher.publish_batched(&trials(100..200), &voice()).await.unwrap();
    assert_eq!(room.numbers().await, (0..200).collect::<Vec<_>>());
    assert!(!room.kept().await.iter().any(is_of_a_batch));
}

#[tokio::test]
async fn a_batch_that_is_cut_in_the_middle_is_stored_whole_by_the_next_try() {
    let room = Room::durable().await;
    let proxy = Proxy::start(&room.nats.url()).await;
    let broker = connect(&proxy.url()).await;
    let publisher = Publisher::new(&broker, Encoding::Json);
    let mut arrivals = room.arrivals().await;
    proxy.set(Fault::Throttle(200_000));
    let publishing = tokio::spawn(async move { publisher.publish_batched(&trials(0..400), &voice()).await });
    arrived(&mut arrivals, 50).await;
    assert_eq!(room.numbers().await, [0_u32; 0], "nothing of a batch is seen before its commit");
    cut(&proxy, &broker).await;
    let confirmed = tokio::time::timeout(SOON, publishing).await.unwrap().unwrap().unwrap();
    assert!(confirmed.iter().all(|published| !published.is_duplicate));
    assert_eq!(room.numbers().await, (0..400).collect::<Vec<_>>());
    assert!(room.kept().await.iter().all(is_of_a_batch));
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_recognised_by_the_next_try() {
    let room = Room::durable().await;
    let proxy = Proxy::start(&room.nats.url()).await;
    let broker = connect(&proxy.url()).await;
    let publisher = Publisher::new(&broker, Encoding::Json);
    let mut arrivals = room.arrivals().await;
    // The answer is still on its way when the batch is complete.
    proxy.set(Fault::Delay(std::time::Duration::from_secs(2)));
    let publishing = tokio::spawn(async move { publisher.publish_batched(&trials(0..100), &voice()).await });
    arrived(&mut arrivals, 100).await;
    cut(&proxy, &broker).await;
    let confirmed = tokio::time::timeout(SOON, publishing).await.unwrap().unwrap().unwrap();
    assert!(confirmed.iter().all(|published| published.is_duplicate), "the first try had stored them");
    let sequences: Vec<u64> = confirmed.iter().map(|published| published.sequence).collect();
    assert_eq!(sequences, (1..=100).collect::<Vec<_>>());
    assert_each_once(&room.numbers().await, 100);
}

#[tokio::test]
async fn a_message_the_stream_refuses_is_named_after_its_batch_was_taken_apart() {
    let room = Room::open().await;
    let mut messages: Vec<_> =
        trials(0..100).iter().map(|event| room.publisher().prepare(event, &voice()).unwrap()).collect();
    messages[50].payload = vec![b'x'; 700 * 1024].into();
    let failure = room.publisher().send_batched(&messages).await.unwrap_err();
    assert!(failure.to_string().contains("message size exceeds maximum allowed"), "{failure}");
}
