//! What the stream holds, event by event, read on from where the last look ended.

use schemas::cloudevents::header;
use schemas::subject::STREAM;
use schemas::{Event, RunId};
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::history::{History, Kept};

/// An event as the stream has it.
#[derive(Debug, Clone)]
pub(super) struct Said {
    /// Its place.
    pub(super) sequence: u64,
    /// The attempt whose word it is, 0 for whoever is none.
    pub(super) attempt: u32,
    /// What was said.
    pub(super) event: Event,
}

/// Everything that was said so far.
pub(super) struct Timeline {
    broker: Broker,
    next: u64,
    said: Vec<(RunId, Said)>,
    unreadable: Vec<String>,
}

impl Timeline {
    /// Nothing yet.
    pub(super) fn new(broker: &Broker) -> Self {
        Self { broker: broker.clone(), next: 1, said: Vec::new(), unreadable: Vec::new() }
    }

    /// Reads what has come since the last look. What was read before an error is kept.
    pub(super) async fn catch_up(&mut self) -> Result<(), CliError> {
        let mut history = History::to_the_present(&self.broker, STREAM, &[], self.next).await?;
        while let Some(kept) = history.next().await? {
            self.next = kept.sequence + 1;
            self.take(&kept);
        }
        Ok(())
    }

    fn take(&mut self, kept: &Kept) {
        let at = kept.sequence;
        let decoded = match kept.decode() {
            Ok(decoded) => decoded,
            Err(error) => {
                return self.unreadable.push(format!("sequence {at}: no event can be read: {error}"));
            }
        };
        let event = decoded.event;
        let named = kept.headers.get(header::RUN_ID).and_then(|id| RunId::parse(id).ok());
        let Some(run) = event.run_id().cloned().or(named) else {
            return self.unreadable.push(format!("sequence {at}: an event of no run"));
        };
        let attempt = kept.headers.get(header::ATTEMPT).and_then(|attempt| attempt.parse().ok());
        self.said.push((run, Said { sequence: at, attempt: attempt.unwrap_or(0), event }));
    }

    /// What was said of a run, in the order of the stream.
    pub(super) fn of(&self, run: &RunId) -> Vec<&Said> {
        self.said.iter().filter(|(of, _)| of == run).map(|(_, said)| said).collect()
    }

    /// How many trials of a run were reported.
    pub(super) fn trials(&self, run: &RunId) -> usize {
        self.of(run).iter().filter(|said| matches!(said.event, Event::TrialReported(_))).count()
    }

    /// How many terminal events there are, of whatever run.
    pub(super) fn endings(&self) -> usize {
        self.said.iter().filter(|(_, said)| said.event.is_terminal()).count()
    }

    /// True once an attempt later than this one was announced.
    pub(super) fn is_started_after(&self, run: &RunId, attempt: u32) -> bool {
        self.of(run)
            .iter()
            .any(|said| matches!(&said.event, Event::RunStarted(start) if start.attempt > attempt))
    }

    /// Messages that are no events, which nobody in these scenarios sends.
    pub(super) fn unreadable(&self) -> &[String] {
        &self.unreadable
    }
}
