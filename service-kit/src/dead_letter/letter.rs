//! One letter on its way into the dead-letter stream: in a form the broker has room for, and not taken for the letter of
//! another message.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use schemas::cloudevents::Headers;
use schemas::dead_letter::{self, Form, Place, Verdict};
use schemas::subject::DLQ_STREAM;
use tokio::time::Instant;

use super::room;
use crate::broker::{Broker, REQUEST_TIMEOUT};
use crate::history;
use crate::publish::{self, Outgoing, PublishFailure, Published};

/// What a letter keeps.
pub(super) struct Original<'a> {
    pub(super) headers: Cow<'a, Headers>,
    /// The header block of a message no client can receive.
    pub(super) block: Option<&'a [u8]>,
    pub(super) payload: Bytes,
}

impl Original<'_> {
    /// Bytes it is about to take.
    fn weight(&self) -> usize {
        let headers: usize = self.headers.0.iter().map(|(name, value)| name.len() + value.len()).sum();
        headers.max(self.block.map_or(0, <[u8]>::len)) + self.payload.len()
    }

    /// Headers and payload of the letter.
    fn letter(&self, verdict: &Verdict, form: Form, message_id: &str) -> (Headers, Bytes) {
        match form {
            Form::Beside => (verdict.headers(&self.headers, message_id), self.payload.clone()),
            Form::InFront => {
                let block = self.block.map_or_else(|| dead_letter::block(&self.headers), <[u8]>::to_vec);
                let headers = verdict.headers_beside_block(message_id, block.len());
                (headers, [&block[..], &self.payload[..]].concat().into())
            }
            Form::Left => (verdict.headers_of_left(message_id), Bytes::new()),
        }
    }
}

/// Publishes a letter in the first form the broker takes. What no client can receive is not left where it is.
pub(super) async fn send(
    broker: &Broker,
    place: &Place,
    verdict: &Verdict,
    original: &Original<'_>,
    patience: Duration,
) -> Result<Published, PublishFailure> {
    // What no client can receive stops everybody who is handed it: its letter may take the last of the room.
    if original.block.is_none() {
        room::for_letter(broker, &verdict.kept_on(), original.weight()).await?;
    }
    let max_payload = broker.client.server_info().max_payload;
    let (last, others): (Form, &[Form]) = match original.block {
        Some(_) => (Form::InFront, &[Form::Beside]),
        None => (Form::Left, &[Form::Beside, Form::InFront]),
    };
    for form in others {
        // As long as it will be at most.
        let (headers, payload) = original.letter(verdict, *form, &place.own_message_id());
        if !dead_letter::fits(&headers, payload.len(), max_payload) {
            continue;
        }
        match send_as(broker, place, verdict, original, *form, patience).await {
            Err(error) if error.is_too_large() => {
                tracing::debug!(sequence = place.sequence, %error, "a letter is too large");
            }
            sent => return sent,
        }
    }
    send_as(broker, place, verdict, original, last, patience).await
}

/// Publishes a letter in one form, and makes sure that the broker does not take it for another message's.
async fn send_as(
    broker: &Broker,
    place: &Place,
    verdict: &Verdict,
    original: &Original<'_>,
    form: Form,
    patience: Duration,
) -> Result<Published, PublishFailure> {
    let deadline = Instant::now() + patience;
    let letter = |message_id: &str| {
        let (headers, payload) = original.letter(verdict, form, message_id);
        Outgoing { subject: verdict.kept_on(), headers: publish::to_header_map(&headers), payload }
    };
    let published = publish::send(broker, &letter(&place.message_id()), patience).await?;
    // A message that is gone has no time of its own to be told by, and nothing but its place to be kept of.
    if !published.is_duplicate || verdict.is_payload_gone || is_letter_of(broker, &published, verdict).await?
    {
        return Ok(published);
    }
    tracing::warn!(
        sequence = place.sequence,
        consumer = place.consumer,
        kept_at = published.sequence,
        "another message had sequence {} before, its letter does not stand for this one",
        place.sequence
    );
    let left = deadline.saturating_duration_since(Instant::now());
    publish::send(broker, &letter(&place.own_message_id()), left).await
}

/// Whether what the broker takes for the same letter is the letter of the same message. One that is gone may have been
/// anybody's.
async fn is_letter_of(broker: &Broker, known: &Published, verdict: &Verdict) -> Result<bool, PublishFailure> {
    let kept = tokio::time::timeout(REQUEST_TIMEOUT, history::raw(broker, DLQ_STREAM, known.sequence)).await;
    match kept {
        Ok(Ok(kept)) => Ok(kept.is_some_and(|kept| kept.headers().get(dead_letter::ID) == Some(&verdict.id))),
        Ok(Err(_)) | Err(_) => {
            Err(PublishFailure::Unconfirmed { subject: verdict.kept_on(), patience: REQUEST_TIMEOUT })
        }
    }
}
