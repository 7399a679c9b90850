//! Taking messages from a durable consumer, for as long as it takes.
//!
//! The stream of the client can end, stall or repeat an error for ever when the consumer vanishes; any error but a
//! missed heartbeat therefore drops it, makes sure of the topology and opens a new one, with growing pauses.

mod floor;
pub mod ordered;

use std::time::Duration;

use async_nats::jetstream::consumer::{PullConsumer, pull};
use futures_util::StreamExt as _;
use schemas::subject::STREAM;
use tokio::task::JoinHandle;

use crate::broker::Broker;
use crate::delivery::Delivery;
use crate::topology;

/// How long one pull waits at the broker.
const EXPIRES: Duration = Duration::from_secs(15);
/// How often an idle broker says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Longest pause between two tries to open the consumer.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// The messages of one durable consumer.
pub struct Intake {
    broker: Broker,
    stream: &'static str,
    consumer: &'static str,
    batch: usize,
    open: Option<Open>,
    /// Kept across a cancelled `next`: a message that was taken is returned.
    taken: Option<Delivery>,
    /// Kept across a cancelled `next`: what a pull that was sent brings must reach somebody.
    opening: Option<JoinHandle<Option<Open>>>,
    pause: Duration,
}

/// A consumer that is open.
struct Open {
    messages: pull::Stream,
    ack_wait: Duration,
}

impl Intake {
    /// Messages of a consumer of the event stream, at most `batch` of them on the way at once.
    pub fn new(broker: &Broker, consumer: &'static str, batch: usize) -> Self {
        Self::of_stream(broker, STREAM, consumer, batch)
    }

    /// The same for a consumer of another stream.
    pub fn of_stream(broker: &Broker, stream: &'static str, consumer: &'static str, batch: usize) -> Self {
        Self {
            broker: broker.clone(),
            stream,
            consumer,
            batch: batch.max(1),
            open: None,
            taken: None,
            opening: None,
            pause: Duration::ZERO,
        }
    }

    /// The next message. Never ends and never fails: it waits until the broker has one. Cancel safe: a message that
    /// was not returned is not lost.
    pub async fn next(&mut self) -> Delivery {
        loop {
            if let Some(taken) = self.taken.as_mut() {
                // Without its schema a message could be taken for malformed, so an outage of the registry is waited for.
                match taken.find_schema(&self.broker).await {
                    Ok(()) => {
                        if let Some(taken) = self.taken.take() {
                            return taken;
                        }
                    }
                    Err(error) => {
                        tracing::warn!(consumer = self.consumer, %error, "waiting for the schema registry");
                        // Nobody else could read it now either.
                        taken.lease().extend().await;
                        tokio::time::sleep(MAX_PAUSE).await;
                        if let Err(error) = topology::ensure(&self.broker).await {
                            tracing::debug!(error = %error.what, "topology cannot be checked yet");
                        }
                    }
                }
                continue;
            }
            let Some(open) = self.open.as_mut() else {
                self.reopen().await;
                continue;
            };
            match open.messages.next().await {
                Some(Ok(message)) => {
                    self.pause = Duration::ZERO;
                    self.taken = Delivery::new(message, open.ack_wait);
                }
                Some(Err(error)) => {
                    tracing::warn!(consumer = self.consumer, %error, "intake interrupted, reopening");
                    self.open = None;
                }
                None => self.open = None,
            }
        }
    }

    async fn reopen(&mut self) {
        let opening = self.opening.get_or_insert_with(|| {
            let try_once =
                open_after(self.pause, self.broker.clone(), self.stream, self.consumer, self.batch);
            tokio::spawn(try_once)
        });
        // A task that panicked opened nothing.
        let opened = opening.await.unwrap_or(None);
        self.opening = None;
        self.pause = (self.pause * 2).clamp(Duration::from_millis(50), MAX_PAUSE);
        self.open = opened;
    }
}

/// One try, after a pause. What is missing is made for the next one.
async fn open_after(
    pause: Duration,
    broker: Broker,
    stream: &'static str,
    consumer: &'static str,
    batch: usize,
) -> Option<Open> {
    tokio::time::sleep(pause).await;
    match open(&broker, stream, consumer, batch).await {
        Ok(stream) => Some(stream),
        Err(reason) => {
            tracing::warn!(consumer, reason, "consumer cannot be opened yet");
            if let Err(error) = topology::ensure(&broker).await {
                tracing::debug!(error = %error.what, "topology cannot be checked yet");
            }
            None
        }
    }
}

async fn open(
    broker: &Broker,
    stream: &'static str,
    consumer: &'static str,
    batch: usize,
) -> Result<Open, String> {
    let consumer: PullConsumer = broker
        .jetstream
        .get_consumer_from_stream(consumer, stream)
        .await
        .map_err(|error| error.to_string())?;
    let ack_wait = match consumer.cached_info().config.ack_wait {
        Duration::ZERO => topology::ACK_WAIT,
        known => known,
    };
    let messages = consumer
        .stream()
        .max_messages_per_batch(batch)
        .expires(EXPIRES)
        .heartbeat(HEARTBEAT)
        .messages()
        .await
        .map_err(|error| error.to_string())?;
    Ok(Open { messages, ack_wait })
}
