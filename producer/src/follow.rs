//! The events of one run, as the stream has them: from a sequence to the present, or for as long as it takes.
//!
//! Invariants: every event once and in the order of the stream, across reconnects; a broker that is silent for
//! longer than the patience is an error, a run that is quiet is not. What is no valid event is left out: the
//! classifier takes care of it.

use std::time::Duration;

use schemas::cloudevents::header;
use schemas::subject::STREAM;
use schemas::{Event, RunId};
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::event_line::EventLine;
use service_kit::history::{History, Kept};
use tokio::time::{Instant, sleep, timeout};

use crate::connection::silent;
use crate::runs::asks_for_failed_trials;

/// Pause between two tries to open the stream again.
const PAUSE: Duration = Duration::from_millis(200);

/// An event of a run.
#[derive(Debug, Clone)]
pub struct RunEvent {
    /// Sequence, time and subject, and the event as every live view prints it.
    pub line: EventLine,
    /// The event.
    pub event: Event,
    /// True for a request that wants only the trials again that failed; its headers say so.
    pub is_for_failed_trials: bool,
}

/// Reads the events of one run.
pub struct Follower {
    broker: Broker,
    run: RunId,
    subjects: Vec<&'static str>,
    /// Sequence to go on from.
    next: u64,
    patience: Duration,
    ends_at_present: bool,
    open: Option<History>,
}

impl Follower {
    /// Everything about `run` from sequence `from` on, and what is yet to come. The broker may be silent for
    /// `patience`.
    pub fn new(broker: &Broker, run: &RunId, from: u64, patience: Duration) -> Self {
        Self {
            broker: broker.clone(),
            run: run.clone(),
            subjects: Vec::new(),
            next: from,
            patience,
            ends_at_present: false,
            open: None,
        }
    }

    /// Ends when everything the stream holds at present was read.
    #[must_use]
    pub fn up_to_the_present(mut self) -> Self {
        self.ends_at_present = true;
        self
    }

    /// Only what came on these subjects.
    #[must_use]
    pub fn on(mut self, subjects: &[&'static str]) -> Self {
        self.subjects = subjects.to_vec();
        self
    }

    /// The next event; `None` only at the present, if that is the end.
    ///
    /// # Errors
    /// The broker was silent for longer than the patience. Not cancel safe: call it again only after it returned.
    pub async fn next(&mut self) -> Result<Option<RunEvent>, CliError> {
        loop {
            let Some(history) = self.open.as_mut() else {
                self.open = Some(self.reopen().await?);
                continue;
            };
            match timeout(self.patience / 4, history.next()).await {
                Ok(Ok(Some(kept))) => {
                    self.next = kept.sequence + 1;
                    if let Some(event) = self.of_this_run(&kept) {
                        return Ok(Some(event));
                    }
                }
                Ok(Ok(None)) if self.ends_at_present => return Ok(None),
                Ok(Ok(None) | Err(_)) => self.open = None,
                Err(_) if self.ends_at_present || self.is_stalled().await => self.open = None,
                Err(_) => {}
            }
        }
    }

    async fn reopen(&self) -> Result<History, CliError> {
        let deadline = Instant::now() + self.patience / 2;
        loop {
            let open = async {
                if self.ends_at_present {
                    History::to_the_present(&self.broker, STREAM, &self.subjects, self.next).await
                } else {
                    History::following(&self.broker, STREAM, &self.subjects, self.next).await
                }
            };
            let left = deadline.saturating_duration_since(Instant::now());
            match timeout(left, open).await {
                Ok(Ok(history)) => return Ok(history),
                Ok(Err(error)) if Instant::now() + PAUSE > deadline => return Err(error),
                Err(_) => return Err(silent(self.broker.url(), self.patience)),
                Ok(Err(error)) => tracing::debug!(because = error.because, "stream cannot be read yet"),
            }
            sleep(PAUSE).await;
        }
    }

    /// A quiet reader: is there nothing new, or did it lose its place when the broker went away? The reader itself
    /// notices that after half a minute, its first missed heartbeat not counted.
    async fn is_stalled(&self) -> bool {
        match timeout(self.patience / 4, self.broker.jetstream.get_stream(STREAM)).await {
            Ok(Ok(stream)) => stream.cached_info().state.last_sequence >= self.next,
            Ok(Err(_)) | Err(_) => true,
        }
    }

    fn of_this_run(&self, kept: &Kept) -> Option<RunEvent> {
        // The header saves decoding the events of every other run.
        if kept.headers.get(header::RUN_ID).is_some_and(|run| run != self.run.as_str()) {
            return None;
        }
        let (line, event) = EventLine::of(kept);
        let is_ours = line.run_id.as_ref() == Some(&self.run);
        let is_for_failed_trials = asks_for_failed_trials(&kept.headers);
        event.filter(|_| is_ours).map(|event| RunEvent { line, event, is_for_failed_trials })
    }
}
