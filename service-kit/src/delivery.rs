//! One hand-over of a message by the broker, and the duty that comes with it.
//!
//! A delivery is consumed by [`Delivery::ack`], [`Delivery::retry`] or [`Delivery::reject`]. One that is dropped is
//! redelivered when its lease runs out, and the drop is logged.

mod lazy;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, AckKind};
use bytes::Bytes;
use schemas::cloudevents::Headers;
use schemas::codec::{DecodeError, Decoded, Foreign, Glance};
use schemas::dead_letter::{Place, one_line};
use schemas::{Failure, RunId, Timestamp};

use crate::broker::Broker;
use crate::dead_letter;
use crate::publish::{PublishFailure, Published};
use crate::schema_registry::{self, Unavailable};
use crate::topology::CLASSIFIER_CONSUMER;
use lazy::{Standing, Unsorted};

/// Least time between two extensions of a lease, however short an operator made the ack wait.
const LEAST_PERIOD: Duration = Duration::from_millis(20);
/// Bytes of a reason that go into the broker's advisory; the dead letter has all of it.
const MAX_TERM_REASON_BYTES: usize = 256;
/// How long a reader tries to publish the letter of a message it cannot read, before it hands the message back.
const UNREADABLE_PATIENCE: Duration = Duration::from_secs(2);
/// Pause before a message nobody can read comes again while the classifiers have stopped.
const STOPPED_PAUSE: Duration = Duration::from_secs(15);
/// Longest pause before a message whose letter could not be published comes again.
const LONGEST_RETURN: Duration = Duration::from_secs(60);

/// Why a delivery could not be settled. Whether the broker has it is unknown; a redelivery settles it again.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The confirmation did not come.
    #[error("the broker did not confirm the {kind} of message {sequence}: {reason}")]
    Unconfirmed {
        /// What was tried.
        kind: &'static str,
        /// Sequence of the message.
        sequence: u64,
        /// The client's words.
        reason: String,
    },
    /// The dead letter could not be published, so the message was not given up.
    #[error("the dead letter was not published: {0}")]
    DeadLetter(#[from] PublishFailure),
    /// The classifiers have stopped at their storm limit, and nobody fills the queue in their name.
    #[error("message {0} is left where it is: the classifiers have stopped at their storm limit")]
    Stopped(u64),
}

/// One hand-over of a message by the broker.
#[must_use = "a delivery has to be settled: ack, retry or reject"]
#[derive(Debug)]
pub struct Delivery {
    message: jetstream::Message,
    headers: Unsorted,
    place: Standing,
    schema: Option<Arc<Foreign>>,
    ack_wait: Duration,
    is_settled: bool,
}

impl Delivery {
    /// Takes a message of a consumer; `None` for one that carries no delivery facts (never sent by a broker).
    /// `ack_wait` is how long the consumer waits before it hands a message over again.
    pub(crate) fn new(mut message: jetstream::Message, ack_wait: Duration) -> Option<Self> {
        let place = Standing::of(&message)?;
        let headers = Unsorted::new(message.message.headers.take());
        Some(Self { message, headers, place, schema: None, ack_wait, is_settled: false })
    }

    /// Where the message stands.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Subject it came on.
    pub fn subject(&self) -> &str {
        &self.message.subject
    }

    /// Its sequence in the stream.
    pub fn sequence(&self) -> u64 {
        self.place.stream_sequence()
    }

    /// When the stream took it in.
    pub fn published(&self) -> Timestamp {
        self.place.published()
    }

    /// Its headers.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Memory its headers take up, about.
    pub fn headers_bytes(&self) -> usize {
        self.headers.bytes()
    }

    /// Its payload.
    pub fn payload(&self) -> &Bytes {
        &self.message.payload
    }

    /// Looks up the schema it was written with, where this build was not made with it.
    pub(crate) async fn find_schema(&mut self, broker: &Broker) -> Result<(), Unavailable> {
        self.schema = schema_registry::resolve(broker, &self.headers, &self.message.payload).await?;
        Ok(())
    }

    /// Reads the event.
    pub fn decode(&self) -> Result<Decoded, DecodeError> {
        let schema = self.schema.as_deref();
        // Nearly every message is valid, and told so without a copy of its headers. Of one that is not the reason must
        // not depend on the order in which the client holds them.
        schemas::codec::decode_with(self.subject(), &self.headers, self.payload(), schema).or_else(|_| {
            let sorted: &Headers = &self.headers;
            schemas::codec::decode_with(self.subject(), sorted, self.payload(), schema)
        })
    }

    /// Looks at the event without reading it; see [`schemas::codec::glance`].
    pub fn glance(&self) -> Option<Glance<'_>> {
        schemas::codec::glance(self.subject(), &self.headers, self.payload())
    }

    /// The run id a request without one gets: the same for every reader of this message.
    pub fn derived_run_id(&self) -> RunId {
        self.place.derived_run()
    }

    /// A handle that extends the lease of this delivery.
    pub fn lease(&self) -> Lease {
        Lease {
            client: self.message.context.client(),
            reply: self.message.reply.clone(),
            ack_wait: self.ack_wait,
        }
    }

    /// Done: waits until the broker confirmed the ack.
    pub async fn ack(mut self) -> Result<(), SettleError> {
        self.settle("ack", AckKind::Ack.into()).await
    }

    /// Done, without waiting for the broker: for consumers whose work is idempotent and cheap to repeat.
    pub async fn ack_unconfirmed(mut self) {
        self.is_settled = true;
        if let Err(error) = self.message.ack().await {
            tracing::debug!(sequence = self.place.sequence, %error, "ack not sent; the message comes again");
        }
    }

    /// Not now: the broker hands it over again after `delay`.
    pub async fn retry(mut self, delay: Duration) -> Result<(), SettleError> {
        self.settle("retry", AckKind::Nak(Some(delay)).into()).await
    }

    /// The same without waiting for the broker: when the word is lost, the message comes again when its lease runs out.
    pub async fn retry_unconfirmed(mut self, delay: Duration) {
        self.is_settled = true;
        if let Err(error) = self.message.ack_with(AckKind::Nak(Some(delay))).await {
            tracing::debug!(sequence = self.place.sequence, %error, "not handed back; its lease runs out instead");
        }
    }

    /// Never: publishes the dead letter, waits for its confirmation, and only then terminates the delivery with the
    /// reason, which the broker repeats in its advisory.
    pub async fn reject(self, broker: &Broker, failure: &Failure) -> Result<(), SettleError> {
        self.bury(broker, failure, dead_letter::PATIENCE).await?;
        self.terminate(failure).await
    }

    /// The first half of [`Delivery::reject`], for whoever has something else to do when it fails: publishes the dead
    /// letter and waits for its confirmation.
    pub async fn bury(
        &self,
        broker: &Broker,
        failure: &Failure,
        patience: Duration,
    ) -> Result<Published, PublishFailure> {
        let payload = self.message.payload.clone();
        dead_letter::publish_within(broker, &self.place, failure, &self.headers, payload, patience).await
    }

    /// The second half: terminates the delivery of a message whose dead letter is confirmed.
    pub async fn terminate(mut self, failure: &Failure) -> Result<(), SettleError> {
        let reason = one_line(&failure.message, MAX_TERM_REASON_BYTES);
        self.settle("reject", format!("+TERM {}: {reason}", failure.class).into()).await
    }

    /// Nobody can read it, as far as this reader can tell: publishes the letter the classifier would, in its name, and
    /// acks when that is confirmed. The two make one entry, whoever is first; a message that only one of them can read
    /// (a schema was late, their builds differ) is in the queue all the same, not between them.
    ///
    /// # Errors
    /// The letter could not be published, and the message comes again, after a pause that grows with its deliveries.
    pub async fn leave_unread(mut self, broker: &Broker, error: &DecodeError) -> Result<(), SettleError> {
        if dead_letter::are_stopped(broker).await {
            let sequence = self.place.sequence;
            self.settle("retry", AckKind::Nak(Some(STOPPED_PAUSE)).into()).await?;
            return Err(SettleError::Stopped(sequence));
        }
        let place = Place { consumer: CLASSIFIER_CONSUMER.to_owned(), deliveries: 1, ..self.place.clone() };
        let (headers, payload) = (&self.headers, self.message.payload.clone());
        let failure = error.to_failure();
        let kept =
            dead_letter::publish_within(broker, &place, &failure, headers, payload, UNREADABLE_PATIENCE)
                .await;
        match kept {
            Ok(_) => self.settle("ack", AckKind::Ack.into()).await,
            Err(error) => {
                let doubled = u32::try_from(self.place.deliveries.min(6)).unwrap_or(6);
                let pause = (Duration::from_secs(1) * 2_u32.pow(doubled)).min(LONGEST_RETURN);
                self.settle("retry", AckKind::Nak(Some(pause)).into()).await?;
                Err(error.into())
            }
        }
    }

    /// Somebody else has it by now: nothing is said about it.
    pub fn leave(mut self) {
        self.is_settled = true;
    }

    /// Says a word about the delivery and waits until the broker has it.
    async fn settle(&mut self, kind: &'static str, word: Bytes) -> Result<(), SettleError> {
        self.is_settled = true;
        let unconfirmed =
            |reason: String| SettleError::Unconfirmed { kind, sequence: self.place.sequence, reason };
        let reply =
            self.message.reply.clone().ok_or_else(|| unconfirmed("it has no reply subject".to_owned()))?;
        let answer = self.message.context.client().request(reply, word).await;
        answer.map(drop).map_err(|error| unconfirmed(error.to_string()))
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.is_settled {
            tracing::warn!(
                sequence = self.place.sequence,
                consumer = self.place.consumer,
                "delivery was not settled; the broker hands it over again"
            );
        }
    }
}

/// Gives a delivery back for somebody who can no longer do it: the broker hands the message over again at once. The
/// broker takes it for a word about the latest hand-over, whichever `reply` belongs to: make sure it is that one.
///
/// # Errors
/// When the client is closed.
pub async fn give_back(broker: &Broker, reply: &str) -> Result<(), async_nats::PublishError> {
    broker.client.publish(reply.to_owned(), AckKind::Nak(None).into()).await
}

/// The right to keep a delivery a while longer.
#[derive(Debug, Clone)]
pub struct Lease {
    client: async_nats::Client,
    reply: Option<async_nats::Subject>,
    ack_wait: Duration,
}

impl Lease {
    /// How often to extend leases of consumers with our own ack wait, of which many are extended at once.
    pub const PERIOD: Duration = Duration::from_secs(crate::topology::ACK_WAIT.as_secs() / 3);

    /// How often a lease is extended: a third of the consumer's own ack wait, so that two lost extensions do no harm.
    pub fn period(&self) -> Duration {
        (self.ack_wait / 3).max(LEAST_PERIOD)
    }

    /// How long the broker waits for a word.
    pub fn ack_wait(&self) -> Duration {
        self.ack_wait
    }

    /// Where words about the delivery go. Whoever knows it may give the delivery back; see [`give_back`].
    pub fn reply(&self) -> Option<&str> {
        self.reply.as_deref()
    }

    /// Tells the broker that the work goes on.
    pub async fn extend(&self) {
        if let Some(reply) = &self.reply
            && let Err(error) = self.client.publish(reply.clone(), "+WPI".into()).await
        {
            tracing::warn!(%error, "lease not extended");
        }
    }
}
