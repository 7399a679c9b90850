//! The sliding window.

use schemas::Encoding;
use service_kit::publish::{PublishFailure, Publisher};
use testkit::{Fault, Proxy};

use super::{Room, SOON, arrived, assert_each_once, connect, cut, trials, voice};

#[tokio::test]
async fn messages_are_stored_in_the_order_of_the_call_and_confirmed_in_it() {
    let room = Room::open().await;
    let confirmed = room.publisher().publish_all(&trials(0..3000), &voice()).await.unwrap();
    let sequences: Vec<u64> = confirmed.iter().map(|published| published.sequence).collect();
    assert_eq!(sequences, (1..=3000).collect::<Vec<_>>());
    assert_eq!(room.numbers().await, (0..3000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_second_call_with_the_same_ids_stores_nothing() {
    let room = Room::open().await;
    let first = room.publisher().publish_all(&trials(0..100), &voice()).await.unwrap();
    let second = room.publisher().publish_all(&trials(0..100), &voice()).await.unwrap();
    assert!(second.iter().all(|published| published.is_duplicate));
    assert!(first.iter().zip(&second).all(|(first, second)| first.sequence == second.sequence));
    assert_each_once(&room.numbers().await, 100);
}

#[tokio::test]
async fn a_connection_that_is_cut_in_the_middle_costs_no_message_and_doubles_none() {
    let room = Room::open().await;
    let proxy = Proxy::start(&room.nats.url()).await;
    let broker = connect(&proxy.url()).await;
    let publisher = Publisher::new(&broker, Encoding::Json);
    let mut arrivals = room.arrivals().await;
    proxy.set(Fault::Throttle(400_000));
    let publishing = tokio::spawn(async move { publisher.publish_all(&trials(0..3000), &voice()).await });
    arrived(&mut arrivals, 200).await;
    cut(&proxy, &broker).await;
    let confirmed = tokio::time::timeout(SOON, publishing).await.unwrap().unwrap().unwrap();
    assert_eq!(confirmed.len(), 3000);
    let kept = room.kept().await;
    let by_sequence: Vec<u32> = confirmed
        .iter()
        .map(|published| super::number(kept.iter().find(|kept| kept.sequence == published.sequence).unwrap()))
        .collect();
    assert_eq!(by_sequence, (0..3000).collect::<Vec<_>>(), "each confirmation is that of its own message");
    assert_each_once(&room.numbers().await, 3000);
}

#[tokio::test]
async fn a_broker_that_is_killed_and_comes_back_has_every_message_once() {
    let mut room = Room::durable().await;
    let publisher = Publisher::new(&connect(&room.nats.url()).await, Encoding::Json);
    let mut arrivals = room.arrivals().await;
    let publishing = tokio::spawn(async move { publisher.publish_all(&trials(0..3000), &voice()).await });
    arrived(&mut arrivals, 200).await;
    room.nats.kill().await;
    room.nats.restart().await;
    let confirmed = tokio::time::timeout(SOON, publishing).await.unwrap().unwrap().unwrap();
    assert_eq!(confirmed.len(), 3000);
    assert_each_once(&room.numbers().await, 3000);
}

#[tokio::test]
async fn a_message_the_stream_refuses_is_named() {
    let room = Room::open().await;
    let mut messages: Vec<_> =
        trials(0..100).iter().map(|event| room.publisher().prepare(event, &voice()).unwrap()).collect();
    messages[50].payload = vec![b'x'; 700 * 1024].into();
    let failure = room.publisher().send_all(&messages).await.unwrap_err();
    assert!(
        matches!(&failure, PublishFailure::Refused { subject, .. } if subject == "ml.run.trial"),
        "{failure}"
    );
}

#[tokio::test]
async fn an_event_that_makes_no_sense_ends_the_call_when_those_before_it_are_stored() {
    let room = Room::open().await;
    let mut events = trials(0..100);
    let schemas::Event::TrialReported(bad) = &mut events[70] else { unreachable!("they are trials") };
    bad.duration_ms = Some(-1);
    let refusal = "`duration_ms`: expected a number from 0, found -1";
    let failure = room.publisher().publish(&events[70], &voice()).await.unwrap_err().to_string();
    assert!(failure.contains(refusal), "{failure}");
    let failure = room.publisher().publish_batched(&events, &voice()).await.unwrap_err().to_string();
    assert!(failure.contains(refusal), "{failure}");
    assert_eq!(room.kept().await.len(), 0, "a batch is written before any of it leaves");
    let failure = room.publisher().publish_all(&events, &voice()).await.unwrap_err().to_string();
    assert!(failure.contains(refusal), "{failure}");
    assert_eq!(room.numbers().await, (0..70).collect::<Vec<_>>());
}
