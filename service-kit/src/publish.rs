//! Publishing: an event counts as published when the broker has confirmed it, not before.
//!
//! A publish that timed out is unknown, not failed: it is repeated under the same message id, which the broker drops
//! if the first had arrived. Retries are bounded by the caller's patience.

use std::time::Duration;

use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
pub use schemas::cloudevents::Voice;
use schemas::cloudevents::{self, Headers};
use schemas::{Encoding, Event};

use crate::broker::Broker;
use crate::clock;

/// How long a publish is repeated while the broker does not confirm.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Messages of one call that are on the way at once. Far below what the connection allows in all
/// ([`crate::broker`]): an ack that nobody awaits yet holds its place, so a call that waits for a place while it holds
/// them all would wait for ever.
const WINDOW: usize = 256;

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
    Encode(#[from] schemas::codec::EncodeError),
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

    /// The message an event becomes.
    pub fn prepare(&self, event: &Event, voice: &Voice) -> Result<Outgoing, PublishFailure> {
        let payload = schemas::codec::encode(event, self.encoding)?;
        let headers = cloudevents::headers(event, voice, self.encoding, clock::now());
        Ok(Outgoing {
            subject: event.record().subject().to_owned(),
            headers: to_header_map(&headers),
            payload: payload.into(),
        })
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
        let messages =
            events.iter().map(|event| self.prepare(event, voice)).collect::<Result<Vec<_>, _>>()?;
        self.send_all(&messages).await
    }

    /// Sends a message until it is confirmed, within [`PATIENCE`].
    pub async fn send(&self, message: &Outgoing) -> Result<Published, PublishFailure> {
        send(&self.broker, message, PATIENCE).await
    }

    /// Sends messages in order, [`WINDOW`] of them on the way at once; those that were not confirmed are repeated one
    /// by one.
    pub async fn send_all(&self, messages: &[Outgoing]) -> Result<Vec<Published>, PublishFailure> {
        let mut confirmed = Vec::with_capacity(messages.len());
        for window in messages.chunks(WINDOW) {
            let mut acks = Vec::with_capacity(window.len());
            for message in window {
                acks.push(begin(&self.broker, message).await);
            }
            for (ack, message) in acks.into_iter().zip(window) {
                let first = match ack {
                    Ok(ack) => ack.await,
                    Err(error) => Err(error),
                };
                confirmed.push(match first {
                    Ok(ack) => Published { sequence: ack.sequence, is_duplicate: ack.duplicate },
                    Err(error) if is_refusal(&error) => return Err(refused(message, error)),
                    Err(_) => self.send(message).await?,
                });
            }
        }
        Ok(confirmed)
    }
}

/// Sends a message until it is confirmed or `patience` ran out.
pub async fn send(
    broker: &Broker,
    message: &Outgoing,
    patience: Duration,
) -> Result<Published, PublishFailure> {
    let deadline = tokio::time::Instant::now() + patience;
    let mut delay = Duration::from_millis(50);
    loop {
        let outcome = match begin(broker, message).await {
            Ok(ack) => ack.await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(ack) => return Ok(Published { sequence: ack.sequence, is_duplicate: ack.duplicate }),
            Err(error) if is_refusal(&error) => return Err(refused(message, error)),
            Err(error) => {
                tracing::warn!(subject = message.subject, %error, "publish not confirmed, repeating")
            }
        }
        if tokio::time::Instant::now() + delay > deadline {
            return Err(PublishFailure::Unconfirmed { subject: message.subject.clone(), patience });
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(Duration::from_secs(2));
    }
}

async fn begin(broker: &Broker, message: &Outgoing) -> Result<PublishAckFuture, PublishError> {
    let publish = PublishMessage::build().headers(message.headers.clone()).payload(message.payload.clone());
    broker.jetstream.send_publish(message.subject.clone(), publish).await
}

fn refused(message: &Outgoing, error: PublishError) -> PublishFailure {
    PublishFailure::Refused { subject: message.subject.clone(), error }
}

fn is_refusal(error: &PublishError) -> bool {
    match error.kind() {
        PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::WrongLastSequence
        | PublishErrorKind::MaxPayloadExceeded
        | PublishErrorKind::Other => true,
        // A stream that is not there yet answers like no responders while the broker restarts.
        PublishErrorKind::StreamNotFound
        | PublishErrorKind::TimedOut
        | PublishErrorKind::BrokenPipe
        | PublishErrorKind::MaxAckPending => false,
    }
}

/// Our headers as the client takes them. A header the protocol cannot carry is left out.
pub fn to_header_map(headers: &Headers) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in &headers.0 {
        match (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            (Ok(name), Ok(value)) => map.append(name, value),
            _ => tracing::warn!(header = name, "header cannot be written and is left out"),
        }
    }
    map
}

/// The client's headers as ours.
pub fn from_header_map(map: Option<&HeaderMap>) -> Headers {
    let Some(map) = map else { return Headers::default() };
    let pairs = map.iter().flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        values.iter().map(move |value| (name.to_owned(), value.as_str().to_owned()))
    });
    let mut headers = Headers(pairs.collect());
    headers.0.sort();
    headers
}
