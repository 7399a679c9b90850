//! Taking the messages of a durable consumer in the order of the stream, for one reader at a time.
//!
//! A broker hands over again what was not settled, but behind what it had not handed over yet. A reader that needs the
//! order therefore begins by setting the consumer back to where everything before is settled ([`OrderedIntake::rewind`]),
//! and does so again after anything that may have swallowed a message on its way: then all of it comes once more, in
//! order. What was settled beyond that place comes again too, so handling it twice must change nothing.
//!
//! Messages are asked for by count and bytes, and only as many as the reader has room for: none lies in a buffer where
//! nobody extends its lease.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, FromConsumer as _, PullConsumer, pull};
use futures_util::StreamExt as _;
use schemas::subject::STREAM;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::floor::Floor;
use crate::broker::Broker;
use crate::delivery::Delivery;
use crate::topology;

/// How long one request for messages waits at the broker.
const EXPIRES: Duration = Duration::from_secs(5);
/// Pause between two looks at a schema registry that does not answer.
const SCHEMA_PAUSE: Duration = Duration::from_secs(2);

/// What a reader can take in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Messages.
    pub messages: usize,
    /// Bytes of them, headers included.
    pub bytes: usize,
}

/// How a consumer is set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewind {
    /// The broker does it (nats-server 2.14 and later).
    Reset,
    /// The consumer is deleted and made anew behind what is settled; where that is survives a kill between the two.
    Recreate,
}

impl Rewind {
    /// What a broker of this version can do.
    pub fn of_version(version: &str) -> Self {
        let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        let known = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        if known >= (2, 14) { Self::Reset } else { Self::Recreate }
    }
}

/// The messages of one durable consumer of the event stream, in order.
pub struct OrderedIntake {
    broker: Broker,
    consumer: &'static str,
    how: Option<Rewind>,
    open: Option<Open>,
    pull: Option<Pull>,
}

/// A consumer that was set back, and of which nothing was lost since.
struct Open {
    consumer: PullConsumer,
    /// Connections made until then: a lost one may have taken messages with it.
    connects: u64,
}

/// A request for messages that is under way.
struct Pull {
    deliveries: mpsc::Receiver<Delivery>,
    /// True at its end when every message sent for it was received.
    task: JoinHandle<bool>,
}

impl OrderedIntake {
    /// The messages of a consumer; nothing is taken before [`OrderedIntake::rewind`].
    pub fn new(broker: &Broker, consumer: &'static str) -> Self {
        Self { broker: broker.clone(), consumer, how: None, open: None, pull: None }
    }

    /// The same, set back in this way whatever the broker can do.
    pub fn rewound_by(mut self, how: Rewind) -> Self {
        self.how = Some(how);
        self
    }

    /// True when no message can have been lost since the consumer was set back.
    pub fn is_in_order(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.connects == connects(&self.broker))
    }

    /// Something was lost: [`OrderedIntake::rewind`] has to come next.
    pub fn lose_order(&mut self) {
        self.open = None;
        if let Some(pull) = self.pull.take() {
            pull.task.abort();
        }
    }

    /// Sets the consumer back to where everything before is settled. Whoever calls this has forgotten every message it
    /// had in hand: all of them come again.
    ///
    /// # Errors
    /// What the broker said; try again later.
    pub async fn rewind(&mut self) -> Result<(), String> {
        self.lose_order();
        let connects = connects(&self.broker);
        let found = self.broker.jetstream.get_consumer_from_stream(self.consumer, STREAM).await;
        let mut consumer: PullConsumer = match found {
            Ok(consumer) => consumer,
            Err(error) => {
                topology::ensure(&self.broker).await.map_err(|error| error.what)?;
                return Err(error.to_string());
            }
        };
        let how = self.how.unwrap_or_else(|| Rewind::of_version(&self.broker.client.server_info().version));
        match how {
            Rewind::Reset => drop(consumer.reset(None).await.map_err(|error| error.to_string())?),
            Rewind::Recreate => consumer = self.recreate(&consumer).await?,
        }
        self.open = Some(Open { consumer, connects });
        Ok(())
    }

    async fn recreate(&self, consumer: &PullConsumer) -> Result<PullConsumer, String> {
        let (config, floor) = self.take_away(consumer).await?;
        let stream =
            self.broker.jetstream.get_stream_no_info(STREAM).await.map_err(|error| error.to_string())?;
        let made = stream.create_consumer(config).await.map_err(|error| error.to_string())?;
        floor.drop().await?;
        Ok(made)
    }

    /// Deletes the consumer, and says how it is made anew. Where it goes on is written down first.
    async fn take_away(&self, consumer: &PullConsumer) -> Result<(pull::Config, Floor), String> {
        let info = consumer.cached_info();
        let mut config =
            pull::Config::try_from_consumer_config(info.config.clone()).map_err(|error| error.to_string())?;
        let stream = self.broker.jetstream.get_stream(STREAM).await.map_err(|error| error.to_string())?;
        let kept = Floor::of(&self.broker, self.consumer).await?;
        let left = kept.left(stream.cached_info().state.last_sequence).await?;
        let floor = info.ack_floor.stream_sequence.max(left.unwrap_or(0));
        if floor > 0 {
            config.deliver_policy = DeliverPolicy::ByStartSequence { start_sequence: floor + 1 };
            kept.keep(floor).await?;
        }
        stream.delete_consumer(self.consumer).await.map_err(|error| error.to_string())?;
        Ok((config, kept))
    }

    /// True while a request is under way; all it brings has to be taken with [`OrderedIntake::next`].
    pub fn is_asking(&self) -> bool {
        self.pull.is_some()
    }

    /// Asks for messages, unless a request is under way or the order is lost.
    pub fn ask(&mut self, room: Room) {
        let Some(open) = self.open.as_ref().filter(|_| self.pull.is_none() && room.messages > 0) else {
            return;
        };
        // Room for all of them: whoever is slow to take them delays nobody.
        let (sender, deliveries) = mpsc::channel(room.messages);
        let task = tokio::spawn(bring(self.broker.clone(), open.consumer.clone(), room, sender));
        self.pull = Some(Pull { deliveries, task });
    }

    /// The next message of the request under way; `None` when there is none (any more). Cancel safe.
    pub async fn next(&mut self) -> Option<Delivery> {
        let pull = self.pull.as_mut()?;
        if let Some(delivery) = pull.deliveries.recv().await {
            return Some(delivery);
        }
        let is_whole = (&mut pull.task).await.unwrap_or(false);
        self.pull = None;
        if !is_whole {
            self.lose_order();
        }
        None
    }
}

impl Drop for OrderedIntake {
    fn drop(&mut self) {
        self.lose_order();
    }
}

fn connects(broker: &Broker) -> u64 {
    broker.client.statistics().connects.load(Ordering::Relaxed)
}

/// Takes what one request brings; true when nothing of it can be lost.
async fn bring(broker: Broker, consumer: PullConsumer, room: Room, sender: mpsc::Sender<Delivery>) -> bool {
    let ack_wait = match consumer.cached_info().config.ack_wait {
        Duration::ZERO => topology::ACK_WAIT,
        known => known,
    };
    // No heartbeat: the client's own batch would go to sleep for good at the first one.
    let batch = consumer.batch().max_messages(room.messages).max_bytes(room.bytes).expires(EXPIRES);
    let mut messages = match batch.messages().await {
        Ok(messages) => messages,
        Err(error) => {
            tracing::warn!(%error, "messages cannot be asked for");
            return false;
        }
    };
    while let Some(message) = messages.next().await {
        let message = match message {
            Ok(message) => message,
            Err(error) => {
                let words = error.to_string();
                // The usual end of a request that is limited by bytes.
                if words.contains("MaxBytes") {
                    return true;
                }
                tracing::warn!(error = words, "intake interrupted");
                return false;
            }
        };
        let Some(mut delivery) = Delivery::new(message, ack_wait) else { continue };
        // Without its schema a message could be taken for malformed, so an outage of the registry is waited for.
        while let Err(error) = delivery.find_schema(&broker).await {
            tracing::warn!(%error, "waiting for the schema registry");
            delivery.lease().extend().await;
            tokio::time::sleep(SCHEMA_PAUSE).await;
            if let Err(error) = topology::ensure(&broker).await {
                tracing::debug!(error = %error.what, "topology cannot be checked yet");
            }
        }
        if sender.send(delivery).await.is_err() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_before_2_14_has_its_consumer_made_anew() {
        for (version, how) in [
            ("2.14.0", Rewind::Reset),
            ("2.15.1", Rewind::Reset),
            ("3.0.0", Rewind::Reset),
            ("2.12.9", Rewind::Recreate),
            ("2.9.0", Rewind::Recreate),
            ("", Rewind::Recreate),
        ] {
            assert_eq!(Rewind::of_version(version), how, "{version}");
        }
    }
}
