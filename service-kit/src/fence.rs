//! The fence of a run: what makes the broker itself refuse the events of an attempt that was taken over.
//!
//! Every event of a run is published under the condition that the last message on the run's fence subject is the one
//! its attempt knows (`Nats-Expected-Last-Subject-Sequence` about `Nats-Expected-Last-Subject-Sequence-Subject`,
//! nats-server 2.12). As long as nobody takes a run over there is no such message, and the condition costs two headers.
//! A later attempt raises the fence before it reads the checkpoint: whatever an older attempt says from then on is
//! refused, so what was read is all there is.

use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use schemas::RunId;
use schemas::subject::{FENCE_PREFIX, STREAM};
use serde::{Deserialize, Serialize};

use crate::broker::Broker;
use crate::publish::{Outgoing, PATIENCE, PublishFailure, send};

/// Names the subject the expected sequence is about.
const EXPECTED_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
/// Raises lost in a row to others before it is given up; each means that somebody else made progress.
const MAX_RACES: usize = 16;

/// Why a fence could not be raised.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// A later attempt has raised it: this one is stale.
    #[error("attempt {0} has taken the run over")]
    Stale(u32),
    /// The broker did not do it.
    #[error("the fence of the run is not available: {0}")]
    Unavailable(String),
}

/// The fence as one attempt knows it.
#[derive(Debug)]
pub struct Fence {
    broker: Broker,
    subject: String,
    attempt: u32,
    /// Sequence of the message on the subject; 0 while there is none.
    position: AtomicU64,
}

/// What a fence message says.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    attempt: u32,
}

impl Fence {
    /// The fence of an attempt before which nobody had raised it.
    pub fn new(broker: &Broker, run: &RunId, attempt: u32) -> Self {
        let subject = format!("{FENCE_PREFIX}{run}");
        Self { broker: broker.clone(), subject, attempt, position: AtomicU64::new(0) }
    }

    /// The condition, as headers of a message.
    pub fn condition(&self) -> HeaderMap {
        let position = self.position.load(Ordering::Acquire);
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, position.to_string());
        headers.insert(EXPECTED_SUBJECT, self.subject.as_str());
        headers
    }

    /// Raises the fence against older attempts, or finds out that a later one has. Also what to do when an event was
    /// refused: a fence older than the stream keeps messages is gone, and raised again.
    pub async fn raise(&self) -> Result<(), FenceError> {
        for _ in 0..MAX_RACES {
            let (attempt, last) = self.last().await?;
            if attempt > self.attempt {
                return Err(FenceError::Stale(attempt));
            }
            let raised = if attempt == self.attempt { Some(last) } else { self.raise_over(last).await? };
            if let Some(position) = raised {
                self.position.store(position, Ordering::Release);
                return Ok(());
            }
        }
        Err(FenceError::Unavailable(format!("{MAX_RACES} others raised it meanwhile")))
    }

    /// Attempt and sequence of the last message on the subject; zeros when there is none.
    async fn last(&self) -> Result<(u32, u64), FenceError> {
        let stream = self.broker.jetstream.get_stream_no_info(STREAM).await.map_err(unavailable)?;
        match stream.get_last_raw_message_by_subject(&self.subject).await {
            Ok(message) => {
                let mark: Mark = serde_json::from_slice(&message.payload).map_err(unavailable)?;
                Ok((mark.attempt, message.sequence))
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok((0, 0)),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// The sequence of our message behind `last`; `None` when something is there already, which may be our own message
    /// whose confirmation was lost: the condition does what a message id would, for as long as the stream lives.
    async fn raise_over(&self, last: u64) -> Result<Option<u64>, FenceError> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, last.to_string());
        let payload =
            serde_json::to_vec(&Mark { attempt: self.attempt }).expect("a mark is plain data").into();
        let message = Outgoing { subject: self.subject.clone(), headers, payload };
        match send(&self.broker, &message, PATIENCE).await {
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

fn unavailable(error: impl std::fmt::Display) -> FenceError {
    FenceError::Unavailable(error.to_string())
}
