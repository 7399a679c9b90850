//! The fence of a run: what makes the broker itself refuse the events of an attempt that was taken over.
//!
//! Every event of a run is published under the condition that the last message on the run's fence subject is the one
//! its attempt knows (`Nats-Expected-Last-Subject-Sequence` about `Nats-Expected-Last-Subject-Sequence-Subject`,
//! nats-server 2.12). As long as nobody takes a run over there is no such message, and the condition costs two headers.
//! A later attempt raises the fence before it reads the checkpoint: whatever an older attempt says from then on is
//! refused, so what was read is all there is.
//!
//! Replays have one of their own ([`Bar`] on [`schemas::subject::REPLAY_FENCE`]).

mod bar;

use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::HeaderMap;
pub use bar::{Bar, Unavailable, is_refusal_by_fence};
use schemas::RunId;
use schemas::subject::FENCE_PREFIX;
use serde::{Deserialize, Serialize};

use crate::broker::Broker;
use crate::publish::PATIENCE;

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

impl From<Unavailable> for FenceError {
    fn from(Unavailable(why): Unavailable) -> Self {
        Self::Unavailable(why)
    }
}

/// The fence as one attempt knows it.
#[derive(Debug)]
pub struct Fence {
    bar: Bar,
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
        let bar = Bar::on(broker, format!("{FENCE_PREFIX}{run}"), PATIENCE);
        Self { bar, attempt, position: AtomicU64::new(0) }
    }

    /// The condition, as headers of a message.
    pub fn condition(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        self.bar.demand(self.position.load(Ordering::Acquire), &mut headers);
        headers
    }

    /// Raises the fence against older attempts, or finds out that a later one has. Also what to do when an event was
    /// refused: a fence older than the stream keeps messages is gone, and raised again.
    ///
    /// # Errors
    /// [`FenceError`].
    pub async fn raise(&self) -> Result<(), FenceError> {
        let position = self.bar.raise(|last| self.mark(last)).await?;
        self.position.store(position, Ordering::Release);
        Ok(())
    }

    /// What to write over the last mark; nothing when that is ours.
    fn mark(&self, last: Option<&[u8]>) -> Result<Option<Vec<u8>>, FenceError> {
        let last: Option<Mark> = last
            .map(serde_json::from_slice)
            .transpose()
            .map_err(|error| FenceError::Unavailable(error.to_string()))?;
        let attempt = last.map_or(0, |mark| mark.attempt);
        if attempt > self.attempt {
            return Err(FenceError::Stale(attempt));
        }
        let ours = || serde_json::to_vec(&Mark { attempt: self.attempt }).expect("a mark is plain data");
        Ok((attempt < self.attempt).then(ours))
    }
}
