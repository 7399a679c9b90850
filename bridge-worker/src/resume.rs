//! What earlier attempts of a run have left on the stream: the checkpoint.
//!
//! Read behind the fence, so that nothing is added to it any more. Everything an attempt has to know is in the run's own
//! events: the trials that are over and in which order they ended, how long the attempts took, which trials have taken
//! processes down, and what must not be said twice.

mod evaluation;
mod fold;
mod opening;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemas::cloudevents::header;
use schemas::event::TrialReported;
use schemas::lifecycle::Lifecycle;
use schemas::subject::STREAM;
use schemas::{Event, RunId, Timestamp, TrialId};
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::history::{History, Kept};

pub use evaluation::{evaluation_of, usable_objective_of};
pub(crate) use opening::DATASET_SHA256;

/// Subjects an attempt has to know of.
const SUBJECTS: [&str; 8] = [
    "cerebros.nas.run.started",
    "cerebros.nas.run.interrupted",
    "cerebros.nas.run.completed",
    "cerebros.nas.run.failed",
    "cerebros.nas.run.cancelled",
    "ml.run.start",
    "ml.run.trial",
    "ml.run.exception",
];
/// Where intermediate values are, which only a search that prunes looks at.
const REPORTS: &str = "ml.run.metric";

/// A value a trial reported on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Number of the trial.
    pub trial: u64,
    /// Where in its course.
    pub step: i64,
    /// The objective.
    pub value: f64,
    /// It was reported since the run was restarted last.
    pub is_current: bool,
}

/// What earlier attempts have said.
#[derive(Debug, Default)]
pub struct Checkpoint {
    /// The trials that are over, in the order in which they ended.
    pub trials: Vec<(u64, TrialReported)>,
    /// Values of the objective on the way, when they were asked for.
    pub reports: Vec<Report>,
    /// Tries of trials that failed and were to be tried again.
    pub tries: BTreeMap<TrialId, u32>,
    /// The same of calls of a whole search.
    pub run_tries: u32,
    /// True when the record of the run was opened.
    pub is_opened: bool,
    /// Hex SHA-256 of the file the trials were trained on, when it was a file.
    pub dataset_sha256: Option<String>,
    /// The end of the run, when an attempt announced it and was lost before it could record it.
    pub ended: Option<Event>,
    /// Where the run stands.
    pub lifecycle: Lifecycle,
    /// The last attempt that got a trial to its end, or was stopped in order.
    pub last_fruitful: u32,
    numbers: BTreeSet<u64>,
    spans: BTreeMap<u32, (Timestamp, Timestamp)>,
}

/// What of a run is read.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The run.
    pub run: &'a RunId,
    /// First sequence that can hold events of it.
    pub first_sequence: u64,
    /// The attempt that reads; what claims to be of a later one is none of ours.
    pub attempt: u32,
    /// Of attempts before it, only trials that came to a result count.
    pub epoch: u32,
    /// Name of the objective, when intermediate values are needed.
    pub reports_of: Option<&'a str>,
}

impl Checkpoint {
    /// Reads the events of a run up to the present.
    pub async fn read(broker: &Broker, reading: Reading<'_>) -> Result<Self, CliError> {
        let subjects: Vec<&str> = SUBJECTS.into_iter().chain(reading.reports_of.map(|_| REPORTS)).collect();
        let mut history = History::to_the_present(broker, STREAM, &subjects, reading.first_sequence).await?;
        let mut checkpoint = Self::default();
        while let Some(kept) = history.next().await? {
            if let Some(event) = event_of(&kept, reading.run) {
                checkpoint.note_opening(&event, &kept.headers, &reading);
                checkpoint.take(event, kept.time, &reading);
            }
        }
        Ok(checkpoint)
    }

    /// True when an attempt has announced that it begins.
    pub fn has_begun(&self) -> bool {
        !self.spans.is_empty()
    }

    /// Values reported by trials whose course counts: those whose result does, and those that are under way.
    pub fn reports_that_count(&self) -> impl Iterator<Item = &Report> {
        self.reports.iter().filter(|report| report.is_current || self.numbers.contains(&report.trial))
    }

    /// How long earlier attempts of this epoch have worked on the run.
    pub fn active(&self) -> Duration {
        let micros =
            |(from, to): &(Timestamp, Timestamp)| (to.micros() - from.micros()).max(0).unsigned_abs();
        Duration::from_micros(self.spans.values().map(micros).sum())
    }

    /// Workers that were lost over the run since anything came of it, as of an attempt; `losses` of that kind in all.
    pub fn losses_in_a_row(&self, attempt: u32, losses: u32) -> u32 {
        attempt.saturating_sub(1).saturating_sub(self.last_fruitful).min(losses)
    }
}

/// The event, when it is one of this run; others are skipped by their header before they are decoded.
fn event_of(kept: &Kept, run: &RunId) -> Option<Event> {
    let header = kept.headers.get(header::RUN_ID);
    if header.is_some_and(|id| id != run.as_str()) {
        return None;
    }
    let decoded = kept.decode().ok()?;
    (decoded.event.run_id() == Some(run)).then_some(decoded.event)
}

#[cfg(test)]
mod tests;
