//! Ten thousand events, one in twenty of them poisoned, while the classifier and a consumer are killed at random.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use schemas::subject::{DLQ_STREAM, EVENT_SUBJECTS, STREAM};
use schemas::{Failure, FailureClass, Stage};
use service_kit::broker::Broker;
use service_kit::config::BrokerArgs;
use service_kit::delivery::Delivery;
use service_kit::history::History;
use service_kit::intake::Intake;
use service_kit::topology::{CLASSIFIER_CONSUMER, SINK_CONSUMER};
use testkit::wait_until;
use tokio::task::JoinHandle;

use crate::room::Room;

const TRIAL: &str = "ml.run.trial";
const EVENTS: u64 = 10_000;
/// One in so many is poisoned, by turns for every reader and for the consumer alone.
const POISON_EVERY: u64 = 20;
const KILLS: usize = 24;
/// Everything killed leaves deliveries behind that come back after this.
const LEASE: Duration = Duration::from_secs(2);
/// Ten thousand acks, one after the other, are 80 s with a broker that takes 8 ms for one.
const PATIENCE: Duration = Duration::from_secs(240);
/// A trial of a run nobody has heard of is held against it soon: its announcement may be in the hand of one that was killed.
const SOON: [&str; 2] = ["--unknown-run-after", "300ms"];
/// The consumer settles nothing that says so.
const REFUSED: &str = "refused";

/// What comes after what, the same for the same seed.
struct Chance(u64);

impl Chance {
    /// Its seed is printed; `CHAOS_SEED` plays one again.
    #[expect(clippy::print_stdout, reason = "shown with a failure, to play it again")]
    fn new() -> Self {
        let given = std::env::var("CHAOS_SEED").ok().and_then(|text| text.parse().ok());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = given.unwrap_or_else(|| u64::from(now.subsec_nanos()) | 1);
        println!("CHAOS_SEED={seed}");
        Self(seed)
    }

    /// A number below `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The payload of an event, and whether it has to end in the queue.
fn event(number: u64) -> (Vec<u8>, bool) {
    let trial = |id: &str| format!(r#"{{"trial_id":"{id}","run_id":"r","status":"succeeded"}}"#).into_bytes();
    match number % (2 * POISON_EVERY) {
        0 => ([b"\xff\x00{".as_slice(), number.to_string().as_bytes()].concat(), true),
        POISON_EVERY => (trial(&format!("{REFUSED}-{number}")), true),
        _ => (trial(&format!("t{number}")), false),
    }
}

/// A consumer on a connection of its own. Aborting it is its sudden death: whatever it has in hand stays unsettled.
async fn consumer(url: String) -> JoinHandle<()> {
    let args = BrokerArgs { nats_url: Some(url), ..BrokerArgs::default() };
    let broker = Broker::connect(&args.resolve().unwrap(), "chaos", PATIENCE).await.unwrap();
    tokio::spawn(async move {
        let mut intake = Intake::new(&broker, SINK_CONSUMER, 100);
        loop {
            settle(&broker, intake.next().await).await;
        }
    })
}

async fn settle(broker: &Broker, delivery: Delivery) {
    let is_refused = delivery.payload().windows(REFUSED.len()).any(|part| part == REFUSED.as_bytes());
    // A settlement that is not confirmed is no matter: the message comes again.
    let _ = if is_refused {
        let failure = Failure::new(FailureClass::SinkRefused, Stage::Sink, "refused by the consumer");
        delivery.reject(broker, &failure).await
    } else {
        delivery.ack().await
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_with_poison_and_kills_balance() {
    let room = Room::new().await;
    let mut chance = Chance::new();
    short_leases(&room).await;
    room.announce("r").await;

    let publishing = {
        let jetstream = async_nats::jetstream::new(room.stranger.clone());
        tokio::spawn(async move {
            let mut poison = BTreeMap::new();
            for start in (1..=EVENTS).step_by(250) {
                let mut sent = Vec::new();
                for number in start..(start + 250).min(EVENTS + 1) {
                    let (payload, is_poison) = event(number);
                    let ack = jetstream.publish(TRIAL, payload.clone().into()).await.unwrap();
                    sent.push((ack, payload, is_poison));
                }
                for (ack, payload, is_poison) in sent {
                    let sequence = ack.await.unwrap().sequence;
                    if is_poison {
                        poison.insert(sequence, payload);
                    }
                }
            }
            poison
        })
    };
    let (mut serving, mut consuming) = (room.serve_with(&SOON), consumer(room.nats.url()).await);
    let stream = room.broker.jetstream.get_stream_no_info(STREAM).await.unwrap();
    let mut moments: Vec<u64> = (0..KILLS).map(|_| chance.below(EVENTS)).collect();
    moments.sort_unstable();
    for moment in moments {
        wait_until("the classifier was handed so many events", PATIENCE, async || {
            let info = stream.consumer_info(CLASSIFIER_CONSUMER).await.unwrap();
            (info.delivered.stream_sequence >= moment).then_some(())
        })
        .await;
        if chance.below(2) == 0 {
            serving.child.kill().await.unwrap();
            serving = room.serve_with(&SOON);
        } else {
            consuming.abort();
            consuming = consumer(room.nats.url()).await;
        }
    }
    let poison = publishing.await.unwrap();
    assert_eq!(poison.len() as u64, EVENTS / POISON_EVERY);
    wait_until("everything is settled", PATIENCE, async || {
        for name in [CLASSIFIER_CONSUMER, SINK_CONSUMER] {
            let info = stream.consumer_info(name).await.unwrap();
            if info.num_pending > 0 || info.num_ack_pending > 0 {
                return None;
            }
        }
        Some(())
    })
    .await;
    consuming.abort();

    let sums = room.explained().await;
    let found = ["last_sequence", "done", "dead", "in_flight"].map(|name| sums[name].as_u64().unwrap());
    let dead = EVENTS / POISON_EVERY;
    // With the announcement of the run.
    assert_eq!(found, [EVENTS + 1, EVENTS + 1 - dead, dead, 0]);
    assert_eq!(letters(&room).await, poison, "exactly once, bit for bit");
}

/// Deliveries that come back soon.
async fn short_leases(room: &Room) {
    let stream = room.broker.jetstream.get_stream_no_info(STREAM).await.unwrap();
    for (name, filters) in [(CLASSIFIER_CONSUMER, &EVENT_SUBJECTS[..]), (SINK_CONSUMER, &["ml.run.*"])] {
        stream.delete_consumer(name).await.unwrap();
        let config = pull::Config {
            durable_name: Some(name.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: LEASE,
            filter_subjects: filters.iter().map(|filter| (*filter).to_owned()).collect(),
            max_ack_pending: 5000,
            ..pull::Config::default()
        };
        room.consumer(config).await;
    }
}

/// Sequence and payload of everything in the queue; one that is there twice ends the test.
async fn letters(room: &Room) -> BTreeMap<u64, Vec<u8>> {
    let mut letters = BTreeMap::new();
    let mut history = History::to_the_present(&room.broker, DLQ_STREAM, &[], 1).await.unwrap();
    while let Some(letter) = history.next().await.unwrap() {
        let Some(sequence) = letter.headers.get("Cerebros-Dlq-Sequence") else { continue };
        let sequence = sequence.parse().unwrap();
        let twin = letters.insert(sequence, letter.payload.to_vec());
        assert_eq!(twin, None, "message {sequence} is in the queue twice");
    }
    letters
}
