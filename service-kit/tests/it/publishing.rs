//! Publishing many messages on a real broker, which is slow, refuses, or goes away in between.

mod batches;
mod windows;

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use schemas::cloudevents::Context;
use schemas::event::{TrialReported, TrialStatus};
use schemas::subject::STREAM;
use schemas::{Encoding, Event, RunId, TrialId};
use service_kit::broker::Broker;
use service_kit::config::BrokerTarget;
use service_kit::history::{History, Kept};
use service_kit::publish::{Outgoing, PublishFailure, Publisher, Voice};
use service_kit::topology;
use testkit::{Fault, Nats, Proxy};

/// Longer than every wait of the publisher within one of these tests.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A broker with our streams, and a way to it that no proxy disturbs.
pub(crate) struct Room {
    pub(crate) nats: Nats,
    pub(crate) broker: Broker,
}

impl Room {
    pub(crate) async fn open() -> Self {
        Self::on(Nats::start().await).await
    }

    /// As one runs it where an ack has to mean that the message is on the disk.
    pub(crate) async fn durable() -> Self {
        Self::on(Nats::start_with(|config| config.sync_always = true).await).await
    }

    async fn on(nats: Nats) -> Self {
        let broker = connect(&nats.url()).await;
        topology::ensure(&broker).await.unwrap();
        Self { nats, broker }
    }

    pub(crate) fn publisher(&self) -> Publisher {
        Publisher::new(&self.broker, Encoding::Json)
    }

    /// Everything in the event stream, in order.
    pub(crate) async fn kept(&self) -> Vec<Kept> {
        let mut history = History::to_the_present(&self.broker, STREAM, &[], 1).await.unwrap();
        let mut all = Vec::new();
        while let Some(kept) = tokio::time::timeout(SOON, history.next()).await.unwrap().unwrap() {
            all.push(kept);
        }
        all
    }

    /// The numbers of the trials in the event stream, in order.
    pub(crate) async fn numbers(&self) -> Vec<u32> {
        self.kept().await.iter().map(number).collect()
    }

    /// Resolves when so many trials have reached the broker, whatever becomes of them there.
    pub(crate) async fn arrivals(&self) -> async_nats::Subscriber {
        testkit::subscribe(&self.broker.client, "ml.run.trial").await
    }
}

pub(crate) async fn connect(url: &str) -> Broker {
    Broker::connect(&BrokerTarget::at(url).unwrap(), "test", SOON).await.unwrap()
}

pub(crate) async fn arrived(arrivals: &mut async_nats::Subscriber, count: usize) {
    let all = arrivals.take(count).count();
    assert_eq!(tokio::time::timeout(SOON, all).await.unwrap(), count);
}

/// Cuts the connection, and lets the client connect again once it has noticed.
pub(crate) async fn cut(proxy: &Proxy, broker: &Broker) {
    proxy.set(Fault::Cut);
    testkit::wait_until("the client noticed that it is cut off", SOON, async || {
        (!broker.is_connected()).then_some(())
    })
    .await;
    proxy.set(Fault::Pass);
}

pub(crate) fn voice() -> Voice {
    Voice::outside(RunId::parse("run-1").unwrap(), Context::default())
}

/// Trials with these numbers, whose ids differ as the numbers do.
pub(crate) fn trials(numbers: impl IntoIterator<Item = u32>) -> Vec<Event> {
    let run = voice().run;
    let trial = |number| {
        let id = TrialId::numbered(&run, u64::from(number));
        TrialReported { number: Some(number), ..TrialReported::new(run.clone(), id, TrialStatus::Succeeded) }
            .into()
    };
    numbers.into_iter().map(trial).collect()
}

fn number(kept: &Kept) -> u32 {
    let decoded = schemas::codec::decode(&kept.subject, &kept.headers, &kept.payload).unwrap();
    let Event::TrialReported(trial) = decoded.event else { panic!("{} is no trial", kept.subject) };
    trial.number.unwrap()
}

/// Every number below `count` once, in whatever order.
pub(crate) fn assert_each_once(numbers: &[u32], count: u32) {
    assert_eq!(numbers.len(), count as usize);
    assert_eq!(numbers.iter().copied().collect::<HashSet<_>>(), (0..count).collect());
}

#[tokio::test]
async fn what_is_published_without_a_connection_is_not_sent_behind_the_publisher_s_back_later() {
    let room = Room::open().await;
    let proxy = Proxy::start(&room.nats.url()).await;
    let broker = connect(&proxy.url()).await;
    let publisher = Publisher::new(&broker, Encoding::Json);
    proxy.set(Fault::Cut);
    testkit::wait_until("the client noticed that it is cut off", SOON, async || {
        (!broker.is_connected()).then_some(())
    })
    .await;
    for count in [1, 100] {
        let events = trials(0..count);
        let voice = voice();
        let publishing = publisher.publish_all(&events, &voice);
        let outcome = tokio::time::timeout(Duration::from_secs(1), publishing).await;
        assert!(outcome.is_err(), "nobody could confirm it");
    }
    proxy.set(Fault::Pass);
    testkit::wait_until("the client is connected", SOON, async || broker.is_connected().then_some(())).await;
    // The broker answers in order: whatever the client still had to send is there before this.
    broker.client.flush().await.unwrap();
    publisher.publish_all(&trials([1000]), &voice()).await.unwrap();
    assert_eq!(room.numbers().await, [1000]);
}

#[tokio::test]
async fn a_short_patience_is_not_exceeded_by_waiting_for_the_connection_or_for_the_answer() {
    const SHORT: Duration = Duration::from_millis(300);
    let room = Room::open().await;
    let proxy = Proxy::start(&room.nats.url()).await;
    let broker = connect(&proxy.url()).await;
    let message =
        Outgoing { subject: "cerebros.test".to_owned(), headers: Default::default(), payload: "x".into() };
    let send = async || {
        let began = tokio::time::Instant::now();
        let sent = service_kit::publish::send(&broker, &message, SHORT).await;
        assert!(matches!(sent, Err(PublishFailure::Unconfirmed { patience: SHORT, .. })), "{sent:?}");
        // A request of the client by itself waits for five seconds.
        assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    };
    proxy.set(Fault::BlackHole);
    send().await;
    proxy.set(Fault::Cut);
    testkit::wait_until("the client noticed that it is cut off", SOON, async || {
        (!broker.is_connected()).then_some(())
    })
    .await;
    send().await;
}
