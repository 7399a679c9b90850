//! What an attempt says, in the order a run allows, confirmed.
//!
//! A broker that does not answer makes the attempt wait, for as long as it lasts; only somebody else's claim on the
//! run silences it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use schemas::Event;
use schemas::lifecycle::{Lifecycle, OrderError};
use service_kit::publish::{PublishFailure, Publisher, Voice};
use tokio_util::sync::CancellationToken;

/// Why an attempt could not say something.
#[derive(Debug, thiserror::Error)]
pub enum Unsaid {
    /// Another attempt owns the run.
    #[error("this attempt no longer owns the run")]
    Silenced,
    /// The order of events forbids it: a defect of ours.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// The broker refused it, or it cannot be written.
    #[error(transparent)]
    Refused(PublishFailure),
}

/// The voice of one attempt.
#[derive(Debug)]
pub struct Announcer {
    publisher: Publisher,
    voice: Voice,
    lifecycle: Mutex<Lifecycle>,
    last_sequence: AtomicU64,
    silenced: CancellationToken,
}

impl Announcer {
    /// An attempt that has said nothing yet. `silenced` is cancelled when another attempt owns the run.
    pub fn new(publisher: Publisher, voice: Voice, silenced: CancellationToken) -> Self {
        Self { publisher, voice, lifecycle: Mutex::default(), last_sequence: AtomicU64::new(0), silenced }
    }

    /// Publishes events in order and returns when the broker has confirmed every one. Around an outage, events of one
    /// call may be stored in another order; those of the next call are stored later in any case.
    pub async fn say(&self, events: &[Event]) -> Result<(), Unsaid> {
        self.check_order(events)?;
        let messages = events
            .iter()
            .map(|event| self.publisher.prepare(event, &self.voice))
            .collect::<Result<Vec<_>, _>>();
        let messages = messages.map_err(Unsaid::Refused)?;
        loop {
            let sent = tokio::select! {
                biased;
                () = self.silenced.cancelled() => return Err(Unsaid::Silenced),
                sent = self.publisher.send_all(&messages) => sent,
            };
            match sent {
                Ok(confirmed) => {
                    // Not the last one's: around an outage an earlier event may have been stored after it.
                    if let Some(last) = confirmed.iter().map(|published| published.sequence).max() {
                        self.last_sequence.fetch_max(last, Ordering::Relaxed);
                    }
                    return Ok(());
                }
                // The ids are the same, so what had arrived is dropped as a duplicate.
                Err(failure) if failure.is_outage() => {
                    tracing::warn!(run = %self.voice.run, %failure, "the broker does not confirm, waiting for it");
                }
                Err(failure) => return Err(Unsaid::Refused(failure)),
            }
        }
    }

    /// The highest sequence of an event that was confirmed.
    pub fn last_sequence(&self) -> u64 {
        self.last_sequence.load(Ordering::Relaxed)
    }

    fn check_order(&self, events: &[Event]) -> Result<(), OrderError> {
        let mut lifecycle = self.lifecycle.lock().expect("nobody panics while holding the lifecycle");
        events.iter().try_for_each(|event| lifecycle.apply(event))
    }
}
