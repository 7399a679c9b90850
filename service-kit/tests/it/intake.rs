//! Taking messages on a real broker.

use std::time::Duration;

use futures_util::FutureExt as _;
use service_kit::broker::Broker;
use service_kit::config::BrokerTarget;
use service_kit::intake::Intake;
use service_kit::intake::ordered::{OrderedIntake, Rewind, Room};
use service_kit::topology;
use testkit::Nats;

/// Far below the ack wait of 30 s, after which the broker would hand a lost delivery over again.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_wait_that_is_given_up_again_and_again_loses_no_delivery() {
    let nats = Nats::start().await;
    let target = BrokerTarget::at(&nats.url()).unwrap();
    let broker = Broker::connect(&target, "test", SOON).await.unwrap();
    topology::ensure(&broker).await.unwrap();
    for _ in 0..20 {
        broker.jetstream.publish("cerebros.nas.run.requested", "{}".into()).await.unwrap().await.unwrap();
    }
    let mut intake = Intake::new(&broker, topology::WORKER_CONSUMER, 20);
    let take_all = async {
        let mut taken = 0;
        while taken < 20 {
            // Polled once and dropped, as a select does when another branch is ready.
            match intake.next().now_or_never() {
                Some(delivery) => {
                    delivery.ack().await.unwrap();
                    taken += 1;
                }
                None => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(SOON, take_all).await.expect("every delivery reaches somebody");
}

/// Numbers the messages brought by one request after the consumer was set back.
async fn brought(intake: &mut OrderedIntake, room: Room) -> Vec<service_kit::delivery::Delivery> {
    intake.ask(room);
    let mut brought = Vec::new();
    while brought.len() < room.messages {
        match tokio::time::timeout(SOON, intake.next()).await.expect("a request ends") {
            Some(delivery) => brought.push(delivery),
            None => break,
        }
    }
    while intake.is_asking() {
        assert!(intake.next().await.is_none());
    }
    brought
}

#[tokio::test]
async fn everything_behind_the_first_unsettled_message_comes_again_in_order_at_once() {
    for how in [Rewind::Reset, Rewind::Recreate] {
        let nats = Nats::start().await;
        let target = BrokerTarget::at(&nats.url()).unwrap();
        let broker = Broker::connect(&target, "test", SOON).await.unwrap();
        topology::ensure(&broker).await.unwrap();
        for _ in 0..6 {
            broker.jetstream.publish("cerebros.nas.run.requested", "{}".into()).await.unwrap().await.unwrap();
        }
        let room = |messages| Room { messages, bytes: 1 << 20 };
        let mut first = OrderedIntake::new(&broker, topology::WORKER_CONSUMER).rewound_by(how);
        assert!(!first.is_in_order(), "nothing is known at the beginning");
        first.rewind().await.unwrap();
        for (index, delivery) in brought(&mut first, room(4)).await.into_iter().enumerate() {
            // The first and the third are done, the others are with somebody who dies.
            if index % 2 == 0 {
                delivery.ack().await.unwrap();
            } else {
                delivery.leave();
            }
        }
        let mut second = OrderedIntake::new(&broker, topology::WORKER_CONSUMER).rewound_by(how);
        second.rewind().await.unwrap();
        assert!(second.is_in_order());
        let again = brought(&mut second, room(5)).await;
        let sequences: Vec<u64> = again.iter().map(service_kit::delivery::Delivery::sequence).collect();
        assert_eq!(sequences, [2, 3, 4, 5, 6], "{how:?}");
        for delivery in again {
            delivery.ack().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_consumer_lost_between_its_end_and_its_new_beginning_goes_on_where_it_was() {
    let nats = Nats::start().await;
    let target = BrokerTarget::at(&nats.url()).unwrap();
    let broker = Broker::connect(&target, "test", SOON).await.unwrap();
    topology::ensure(&broker).await.unwrap();
    for _ in 0..6 {
        broker.jetstream.publish("cerebros.nas.run.requested", "{}".into()).await.unwrap().await.unwrap();
    }
    let room = |messages| Room { messages, bytes: 1 << 20 };
    let mut first = OrderedIntake::new(&broker, topology::WORKER_CONSUMER).rewound_by(Rewind::Recreate);
    first.rewind().await.unwrap();
    for delivery in brought(&mut first, room(4)).await {
        delivery.ack().await.unwrap();
    }
    // As a kill in the middle leaves it: the consumer is gone, and somebody else makes all that is missing. The broker
    // answers one connection in order, so that its word about the consumer is newer than whatever the rewind has sent.
    let stream = broker.jetstream.get_stream("CEREBROS").await.unwrap();
    let mut rewind = Box::pin(first.rewind());
    while stream.consumer_info(topology::WORKER_CONSUMER).await.is_ok() {
        assert!(rewind.as_mut().now_or_never().is_none(), "it does not end before its middle");
    }
    drop(rewind);
    topology::ensure(&broker).await.unwrap();
    let sequences = async |intake: &mut OrderedIntake| {
        let brought = brought(intake, room(6)).await;
        let sequences: Vec<u64> = brought.iter().map(service_kit::delivery::Delivery::sequence).collect();
        brought.into_iter().for_each(service_kit::delivery::Delivery::leave);
        sequences
    };
    let mut second = OrderedIntake::new(&broker, topology::WORKER_CONSUMER).rewound_by(Rewind::Recreate);
    second.rewind().await.unwrap();
    assert_eq!(sequences(&mut second).await, [5, 6]);

    // Who deletes the consumer to have everything again gets that.
    stream.delete_consumer(topology::WORKER_CONSUMER).await.unwrap();
    topology::ensure(&broker).await.unwrap();
    second.rewind().await.unwrap();
    assert_eq!(sequences(&mut second).await, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn a_request_brings_no_more_bytes_than_there_is_room_for() {
    let nats = Nats::start().await;
    let target = BrokerTarget::at(&nats.url()).unwrap();
    let broker = Broker::connect(&target, "test", SOON).await.unwrap();
    topology::ensure(&broker).await.unwrap();
    for _ in 0..4 {
        let payload = "x".repeat(100_000);
        broker.jetstream.publish("cerebros.nas.run.requested", payload.into()).await.unwrap().await.unwrap();
    }
    let mut intake = OrderedIntake::new(&broker, topology::WORKER_CONSUMER);
    intake.rewind().await.unwrap();
    let taken = brought(&mut intake, Room { messages: 4, bytes: 250_000 }).await;
    assert_eq!(taken.len(), 2);
    assert!(intake.is_in_order(), "that is no loss");
    let rest = brought(&mut intake, Room { messages: 4, bytes: 250_000 }).await;
    assert_eq!(rest.len(), 2);
    for delivery in taken.into_iter().chain(rest) {
        delivery.ack().await.unwrap();
    }
}

#[tokio::test]
async fn a_lost_connection_is_a_lost_order() {
    let mut nats = Nats::start().await;
    let target = BrokerTarget::at(&nats.url()).unwrap();
    let broker = Broker::connect(&target, "test", SOON).await.unwrap();
    topology::ensure(&broker).await.unwrap();
    let mut intake = OrderedIntake::new(&broker, topology::WORKER_CONSUMER);
    intake.rewind().await.unwrap();
    nats.restart().await;
    testkit::wait_until("the order is known to be lost", SOON, async || {
        (!intake.is_in_order()).then_some(())
    })
    .await;
    let mut intake = intake;
    testkit::wait_until("it is set back again", SOON, async || intake.rewind().await.ok()).await;
    assert!(intake.is_in_order());
}
