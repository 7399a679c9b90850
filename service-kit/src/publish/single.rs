//! One message at a time: sent until it is confirmed or refused, or until the patience of the caller runs out.

use std::time::Duration;

use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;

use super::{Outgoing, PublishFailure, Published};
use crate::broker::Broker;

/// Pause before the first repetition; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause between two repetitions.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Sends a message until it is confirmed or `patience` ran out.
pub async fn send(
    broker: &Broker,
    message: &Outgoing,
    patience: Duration,
) -> Result<Published, PublishFailure> {
    let deadline = tokio::time::Instant::now() + patience;
    let mut delay = FIRST_PAUSE;
    loop {
        match outcome(begin(broker, message.clone()).await).await {
            Ok(published) => return Ok(published),
            Err(error) if is_refusal(&error) => return Err(refused(message, error)),
            Err(error) => {
                tracing::warn!(subject = message.subject, %error, "publish not confirmed, repeating")
            }
        }
        if tokio::time::Instant::now() + delay > deadline {
            return Err(PublishFailure::Unconfirmed { subject: message.subject.clone(), patience });
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(LONGEST_PAUSE);
    }
}

/// Hands a message to the client; the ack is the broker's word.
pub(super) async fn begin(broker: &Broker, message: Outgoing) -> Result<PublishAckFuture, PublishError> {
    let publish = PublishMessage::build().headers(message.headers).payload(message.payload);
    broker.jetstream.send_publish(message.subject, publish).await
}

/// What became of a message that was begun.
pub(super) async fn outcome(
    begun: Result<PublishAckFuture, PublishError>,
) -> Result<Published, PublishError> {
    begun?.await.map(Published::from)
}

impl From<PublishAck> for Published {
    fn from(ack: PublishAck) -> Self {
        Self { sequence: ack.sequence, is_duplicate: ack.duplicate }
    }
}

pub(super) fn refused(message: &Outgoing, error: PublishError) -> PublishFailure {
    PublishFailure::Refused { subject: message.subject.clone(), error }
}

/// True when repeating changes nothing.
pub(super) fn is_refusal(error: &PublishError) -> bool {
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
