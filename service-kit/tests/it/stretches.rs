//! Stretches of a stream: each whole and no further, whatever happens to the stream and to the broker meanwhile.

use std::time::Duration;

use async_nats::jetstream::stream;
use futures_util::TryStreamExt as _;
use service_kit::broker::Broker;
use service_kit::config::BrokerTarget;
use service_kit::history::{self, Extent, Glance, Stretches};
use testkit::Nats;

const STREAM: &str = "MINE";
const PATIENCE: Duration = Duration::from_secs(20);

struct Room {
    nats: Nats,
    broker: Broker,
}

impl Room {
    /// A stream that holds so many messages.
    async fn with(messages: u64) -> Self {
        let nats = Nats::start().await;
        let target = BrokerTarget::at(&nats.url()).unwrap();
        let broker = Broker::connect(&target, "test", PATIENCE).await.unwrap();
        let config = stream::Config {
            name: STREAM.into(),
            subjects: vec!["mine.>".into()],
            ..stream::Config::default()
        };
        broker.jetstream.create_stream(config).await.unwrap();
        for _ in 0..messages {
            broker.jetstream.publish("mine.a", "x".into()).await.unwrap().await.unwrap();
        }
        Self { nats, broker }
    }

    async fn delete(&self, sequences: impl IntoIterator<Item = u64>) {
        let stream = self.broker.jetstream.get_stream(STREAM).await.unwrap();
        for sequence in sequences {
            stream.delete_message(sequence).await.unwrap();
        }
    }

    async fn extent(&self) -> Extent {
        history::extent(&self.broker, STREAM).await.unwrap().unwrap()
    }

    async fn stretches(&self, first: (u64, u64)) -> Stretches {
        Stretches::open(&self.broker, STREAM, self.extent().await, first).await.unwrap()
    }
}

/// The sequences of what is left of a stretch, at most so many.
async fn read(stretches: &mut Stretches, most: usize) -> Vec<u64> {
    let mut sequences = Vec::new();
    while sequences.len() < most
        && let Some(message) = stretches.next().await.unwrap()
    {
        sequences.push(message.sequence);
    }
    sequences
}

#[tokio::test]
async fn a_stretch_is_read_to_its_end_and_not_further() {
    let room = Room::with(30).await;
    let mut stretches = room.stretches((5, 14)).await;
    assert!(read(&mut stretches, 100).await.into_iter().eq(5..=14));
    assert_eq!(read(&mut stretches, 100).await, [0; 0]);
    stretches.turn_to((25, 40));
    assert!(read(&mut stretches, 100).await.into_iter().eq(25..=30), "the stream ends before it");
    stretches.turn_to((15, 15));
    assert_eq!(read(&mut stretches, 100).await, [15]);
}

#[tokio::test]
async fn gaps_are_no_end() {
    let room = Room::with(80).await;
    room.delete((3..=20).chain(30..=60).chain([80])).await;
    let mut stretches = room.stretches((1, 29)).await;
    assert!(read(&mut stretches, 100).await.into_iter().eq([1, 2].into_iter().chain(21..=29)));
    for empty in [(5, 9), (30, 60), (80, 80), (90, 99)] {
        stretches.turn_to(empty);
        assert_eq!(read(&mut stretches, 100).await, [0; 0], "{empty:?}");
    }
    stretches.turn_to((61, 80));
    assert!(read(&mut stretches, 100).await.into_iter().eq(61..=79));
}

#[tokio::test]
async fn what_is_removed_while_it_is_read_is_not_waited_for() {
    let room = Room::with(700).await;
    let mut stretches = room.stretches((1, 700)).await;
    // What is behind the first five hundred is asked for later.
    assert!(read(&mut stretches, 150).await.into_iter().eq(1..=150));
    room.delete(601..=700).await;
    assert!(read(&mut stretches, 700).await.into_iter().eq(151..=600));
}

#[tokio::test]
async fn what_comes_while_it_is_read_moves_no_end() {
    let room = Room::with(10).await;
    let mut stretches = room.stretches((1, 10)).await;
    assert!(read(&mut stretches, 5).await.into_iter().eq(1..=5));
    for _ in 0..10 {
        room.broker.jetstream.publish("mine.b", "y".into()).await.unwrap().await.unwrap();
    }
    assert!(read(&mut stretches, 100).await.into_iter().eq(6..=10));
}

#[tokio::test]
async fn a_stretch_goes_on_where_it_was_when_its_consumer_is_gone() {
    let room = Room::with(700).await;
    let mut stretches = room.stretches((1, 700)).await;
    assert!(read(&mut stretches, 50).await.into_iter().eq(1..=50));
    let stream = room.broker.jetstream.get_stream(STREAM).await.unwrap();
    let names: Vec<String> = stream.consumer_names().try_collect().await.unwrap();
    assert_eq!(names.len(), 1);
    stream.delete_consumer(&names[0]).await.unwrap();
    assert!(read(&mut stretches, 700).await.into_iter().eq(51..=700));
}

#[tokio::test]
async fn a_stretch_goes_on_where_it_was_when_its_broker_comes_back() {
    let mut room = Room::with(700).await;
    let mut stretches = room.stretches((1, 700)).await;
    assert!(read(&mut stretches, 50).await.into_iter().eq(1..=50));
    room.nats.restart().await;
    assert!(read(&mut stretches, 700).await.into_iter().eq(51..=700));
}

#[tokio::test]
async fn small_messages_come_whole_and_from_the_first_on_that_is_too_large_they_come_without_payloads() {
    const LARGE: usize = 1_000_000;
    let room = Room::with(2).await;
    let seen = room.extent().await;
    // What a stranger says of its size is not believed, however it is read.
    let lie = async_nats::HeaderMap::from_iter([("Nats-Msg-Size".parse().unwrap(), "7".into())]);
    for bytes in [1].into_iter().chain([LARGE; 8]) {
        let sent =
            room.broker.jetstream.publish_with_headers("mine.large", lie.clone(), vec![b'x'; bytes].into());
        sent.await.unwrap().await.unwrap();
    }
    let mut stretches = Stretches::open(&room.broker, STREAM, seen, (1, 11)).await.unwrap();
    let (mut sizes, mut whole) = (Vec::new(), 0);
    while let Some(message) = stretches.next().await.unwrap() {
        let said = message.headers().filter_map(|(name, value)| Glance::bytes_said(name, value)).last();
        sizes.push(message.bytes(said));
        whole += usize::from(!message.payload().is_empty());
    }
    assert_eq!(sizes[..3], [1; 3]);
    assert_eq!(sizes[3..], [LARGE; 8]);
    assert_eq!(whole, 7, "three small ones, and as many large ones as 4 MiB hold");
}

#[tokio::test]
async fn a_stretch_of_a_stream_nobody_made_is_refused_at_once() {
    let room = Room::with(1).await;
    let extent = room.extent().await;
    let refused = Stretches::open(&room.broker, "OTHER", extent, (1, 1)).await;
    assert_eq!(refused.err().unwrap().code, "stream-unreadable");
}
