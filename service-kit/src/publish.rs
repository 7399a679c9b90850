//! Publishing: an event counts as published when the broker has confirmed it, not before.
//!
//! A publish that timed out is unknown, not failed: it is repeated under the same message id, which the broker drops
//! if the first had arrived. Retries are bounded by the caller's patience.

mod acks;
mod envelope;
mod flight;
mod single;
mod window;

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::context::PublishError;
use bytes::Bytes;
pub use schemas::cloudevents::Voice;
use schemas::codec::EncodeError;
use schemas::{Encoding, Event};

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
            Self::Encode(_) | Self::Refused { .. } => false,
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
}

impl Publisher {
    /// A publisher on a broker.
    pub fn new(broker: &Broker, encoding: Encoding) -> Self {
        Self { broker: broker.clone(), encoding }
    }

    /// The message an event becomes. An event that every reader would reject is not written.
    pub fn prepare(&self, event: &Event, voice: &Voice) -> Result<Outgoing, PublishFailure> {
        check(event)?;
        self.write(event, &mut Envelope::new(voice, self.encoding))
    }

    fn write(&self, event: &Event, envelope: &mut Envelope<'_>) -> Result<Outgoing, PublishFailure> {
        let payload = schemas::codec::encode(event, self.encoding)?.into();
        let headers = envelope.headers(event, clock::now());
        Ok(Outgoing { subject: event.record().subject().to_owned(), headers, payload })
    }

    /// Publishes one event and waits for the confirmation.
    pub async fn publish(&self, event: &Event, voice: &Voice) -> Result<Published, PublishFailure> {
        self.send(&self.prepare(event, voice)?).await
    }

    /// Publishes events in order without waiting between them, and waits for every confirmation.
    pub async fn publish_all(
        &self,
        events: &[Event],
        voice: &Voice,
    ) -> Result<Vec<Published>, PublishFailure> {
        events.iter().try_for_each(check)?;
        let mut envelope = Envelope::new(voice, self.encoding);
        window::send_all(&self.broker, events.len(), PATIENCE, |number| {
            self.write(&events[number], &mut envelope)
        })
        .await
    }

    /// Sends a message until it is confirmed, within [`PATIENCE`].
    pub async fn send(&self, message: &Outgoing) -> Result<Published, PublishFailure> {
        send(&self.broker, message, PATIENCE).await
    }

    /// Sends messages in order without waiting between them, and waits for every confirmation. One that was not
    /// confirmed is repeated under its id, after those behind it that were on the way already.
    pub async fn send_all(&self, messages: &[Outgoing]) -> Result<Vec<Published>, PublishFailure> {
        window::send_all(&self.broker, messages.len(), PATIENCE, |number| Ok(messages[number].clone())).await
    }
}

/// Refuses what every reader would reject.
fn check(event: &Event) -> Result<(), EncodeError> {
    event.validate().map_err(|invalid| EncodeError::Unwritable(invalid.to_string()))
}
