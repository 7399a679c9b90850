//! Publishing: an event counts as published when the broker has confirmed it, not before.
//!
//! A publish that timed out is unknown, not failed: it is repeated under the same message id, which the broker drops
//! if the first had arrived. Retries are bounded by the caller's patience.

mod acks;
mod batch;
mod envelope;
mod flight;
mod single;
mod window;

use std::borrow::Borrow;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::context::PublishError;
use bytes::Bytes;
pub use schemas::cloudevents::Voice;
use schemas::codec::EncodeError;
use schemas::{Encoding, Event, Timestamp};

use crate::broker::Broker;
use crate::clock;
use envelope::Envelope;
pub use envelope::{from_header_map, to_header_map};
pub use single::send;

/// How long a publish is repeated while the broker does not confirm.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What the broker confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Sequence of the message in its stream.
    pub sequence: u64,
    /// True when the broker already had a message with this id.
    pub is_duplicate: bool,
}

/// Why an event was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishFailure {
    /// It cannot be written.
    #[error("the event cannot be written: {0}")]
    Encode(#[from] EncodeError),
    /// The broker refused it; repeating changes nothing.
    #[error("the broker refused a message on {subject}: {error}")]
    Refused {
        /// Where it was to go.
        subject: String,
        /// The broker's words.
        error: PublishError,
    },
    /// There is no room for it; repeating changes nothing until somebody has made some.
    #[error("there is no room for a message on {subject}: {reason}")]
    Full {
        /// Where it was to go.
        subject: String,
        /// What is full, and what to do.
        reason: String,
    },
    /// The broker did not confirm in time; whether it has the message is unknown.
    #[error("the broker did not confirm a message on {subject} within {}", humantime::format_duration(*patience))]
    Unconfirmed {
        /// Where it was to go.
        subject: String,
        /// How long was tried.
        patience: Duration,
    },
}

impl PublishFailure {
    /// True when the broker may be at fault and the same publish may succeed later.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unconfirmed { .. } => true,
            Self::Encode(_) | Self::Refused { .. } | Self::Full { .. } => false,
        }
    }

    /// True when a smaller message might have been taken.
    pub fn is_too_large(&self) -> bool {
        match self {
            Self::Refused { error, .. } => single::is_too_large(error),
            Self::Unconfirmed { .. } | Self::Encode(_) | Self::Full { .. } => false,
        }
    }
}

/// A message ready to be sent, as often as it takes.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Where it goes.
    pub subject: String,
    /// Its headers, with the message id.
    pub headers: HeaderMap,
    /// Its payload.
    pub payload: Bytes,
}

/// Publishes events of one source in one encoding.
#[derive(Debug, Clone)]
pub struct Publisher {
    broker: Broker,
    encoding: Encoding,
    are_batches_disabled: Arc<batch::IsDisabled>,
}

impl Publisher {
    /// A publisher on a broker.
    pub fn new(broker: &Broker, encoding: Encoding) -> Self {
        Self { broker: broker.clone(), encoding, are_batches_disabled: Arc::default() }
    }

    /// The message an event becomes. An event that every reader would reject is not written.
    pub fn prepare(&self, event: &Event, voice: &Voice) -> Result<Outgoing, PublishFailure> {
        self.write(event, |now| envelope::headers_of(event, voice, self.encoding, now))
    }

    fn write(
        &self,
        event: &Event,
        headers: impl FnOnce(Timestamp) -> HeaderMap,
    ) -> Result<Outgoing, PublishFailure> {
        event.validate().map_err(|invalid| EncodeError::Unwritable(invalid.to_string()))?;
        let payload = schemas::codec::encode(event, self.encoding)?.into();
        Ok(Outgoing { subject: event.record().subject().to_owned(), headers: headers(clock::now()), payload })
    }

    /// Writes each event when it is asked for.
    fn writer<'a, E: Borrow<Event>>(
        &'a self,
        events: &'a [E],
        mut envelope: Envelope<'a>,
    ) -> impl FnMut(usize) -> Result<Outgoing, PublishFailure> {
        move |number: usize| {
            let event = events[number].borrow();
            self.write(event, |now| envelope.headers(event, now))
        }
    }

    /// Publishes one event and waits for the confirmation.
    pub async fn publish(&self, event: &Event, voice: &Voice) -> Result<Published, PublishFailure> {
        self.send(&self.prepare(event, voice)?).await
    }

    /// Publishes events of one stream in order and waits for every confirmation: as atomic batches where the broker
    /// offers them and there are enough (see [`Publisher::send_batched`]), else like [`Publisher::publish_all`].
    ///
    /// For events that belong together, and for a broker that syncs every write, where a batch pays once for all of
    /// it. A broker with its default settings takes a window several times as fast; clients cannot see which it is.
    pub async fn publish_batched(
        &self,
        events: &[Event],
        voice: &Voice,
    ) -> Result<Vec<Published>, PublishFailure> {
        let message = self.writer(events, Envelope::new(voice, self.encoding));
        batch::send_all(&self.broker, &self.are_batches_disabled, events.len(), PATIENCE, message).await
    }

    /// Publishes events in order without waiting between them, and waits for every confirmation. Each is written when
    /// it leaves; one that cannot be written ends the call when those before it are confirmed.
    ///
    /// The order in the stream is that of the events; only around an outage one that was lost is repeated after those
    /// behind it that were on the way already, 1023 at most.
    pub async fn publish_all(
        &self,
        events: &[Event],
        voice: &Voice,
    ) -> Result<Vec<Published>, PublishFailure> {
        let message = self.writer(events, Envelope::new(voice, self.encoding));
        window::send_all(&self.broker, events.len(), PATIENCE, message).await
    }

    /// The same with more headers, which are those of every message: a condition under which the broker is to take it.
    pub async fn publish_all_if(
        &self,
        events: &[&Event],
        voice: &Voice,
        condition: HeaderMap,
    ) -> Result<Vec<Published>, PublishFailure> {
        let message = self.writer(events, Envelope::new(voice, self.encoding).with(condition));
        window::send_all(&self.broker, events.len(), PATIENCE, message).await
    }

    /// Sends a message until it is confirmed, within [`PATIENCE`].
    pub async fn send(&self, message: &Outgoing) -> Result<Published, PublishFailure> {
        send(&self.broker, message, PATIENCE).await
    }

    /// Sends messages in order without waiting between them, and waits for every confirmation. The order
    /// is as with [`Publisher::publish_all`].
    pub async fn send_all(&self, messages: &[Outgoing]) -> Result<Vec<Published>, PublishFailure> {
        window::send_all(&self.broker, messages.len(), PATIENCE, |number| Ok(messages[number].clone())).await
    }

    /// Sends messages of one stream in order: 50 and more as atomic batches where the broker and the stream offer
    /// them, else like [`Publisher::send_all`].
    ///
    /// A batch, up to 1000 messages and 8 MiB, is stored whole or not at all, also over an outage. A message in it
    /// whose id the broker knows, or which the stream refuses, ends that: then each is sent for itself.
    pub async fn send_batched(&self, messages: &[Outgoing]) -> Result<Vec<Published>, PublishFailure> {
        let message = |number: usize| Ok(messages[number].clone());
        batch::send_all(&self.broker, &self.are_batches_disabled, messages.len(), PATIENCE, message).await
    }
}
