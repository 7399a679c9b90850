//! One subject on the stream of the events whose last message everybody has to know who wants to publish behind it.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::Bytes;
use schemas::subject::STREAM;

use crate::broker::Broker;
use crate::publish::{Outgoing, PublishFailure, send};

/// Names the subject the expected sequence is about.
const EXPECTED_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
/// Raises lost in a row to others before it is given up; each means that somebody else made progress.
const MAX_RACES: usize = 16;

/// Why a bar could not be looked at or raised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub(super) String);

/// The subject.
#[derive(Debug, Clone)]
pub struct Bar {
    broker: Broker,
    subject: String,
    patience: Duration,
}

impl Bar {
    /// The bar on a subject the event stream takes in; `patience` is how long a message on it is repeated.
    pub fn on(broker: &Broker, subject: String, patience: Duration) -> Self {
        Self { broker: broker.clone(), subject, patience }
    }

    /// The condition that the last message on the subject is the one at `position` (0: there is none), as headers of a
    /// message for the same stream.
    pub fn demand(&self, position: u64, headers: &mut HeaderMap) {
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, position.to_string());
        headers.insert(EXPECTED_SUBJECT, self.subject.as_str());
    }

    /// Payload and sequence of the last message on the subject.
    ///
    /// # Errors
    /// The broker does not say.
    pub async fn last(&self) -> Result<Option<(Bytes, u64)>, Unavailable> {
        let stream = self.broker.jetstream.get_stream_no_info(STREAM).await.map_err(unavailable)?;
        match stream.get_last_raw_message_by_subject(&self.subject).await {
            Ok(message) => Ok(Some((message.payload, message.sequence))),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Raises it over whatever is there, unless `decide` says that it stands as it should; it is told the last message
    /// and answers what to write. The sequence it stands at then.
    ///
    /// The condition on the message does what a message id would, for as long as the stream lives: one whose confirmation
    /// was lost is not written twice.
    ///
    /// # Errors
    /// What `decide` refuses, and what the broker does not do.
    pub async fn raise<E: From<Unavailable>>(
        &self,
        mut decide: impl FnMut(Option<&[u8]>) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<u64, E> {
        for _ in 0..MAX_RACES {
            let last = self.last().await?;
            let (payload, position) = last.map_or((None, 0), |(payload, position)| (Some(payload), position));
            let Some(mark) = decide(payload.as_deref())? else { return Ok(position) };
            if let Some(position) = self.raise_over(position, mark).await? {
                return Ok(position);
            }
        }
        Err(Unavailable(format!("{MAX_RACES} others raised it meanwhile")).into())
    }

    /// The sequence of our message behind `last`; `None` when something is there already, which may be our own message.
    async fn raise_over(&self, last: u64, mark: Vec<u8>) -> Result<Option<u64>, Unavailable> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, last.to_string());
        let message = Outgoing { subject: self.subject.clone(), headers, payload: mark.into() };
        match send(&self.broker, &message, self.patience).await {
            Ok(published) => Ok(Some(published.sequence)),
            Err(failure) if is_refusal_by_fence(&failure) => Ok(None),
            Err(failure) => Err(unavailable(failure)),
        }
    }
}

/// True when the broker refused a message because of the fence.
pub fn is_refusal_by_fence(failure: &PublishFailure) -> bool {
    match failure {
        PublishFailure::Refused { error, .. } => error.kind() == PublishErrorKind::WrongLastSequence,
        PublishFailure::Encode(_) | PublishFailure::Full { .. } | PublishFailure::Unconfirmed { .. } => false,
    }
}

fn unavailable(error: impl std::fmt::Display) -> Unavailable {
    Unavailable(error.to_string())
}
