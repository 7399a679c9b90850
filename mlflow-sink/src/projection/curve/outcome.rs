//! How a trial ended, and how many ended how.

use schemas::event::{TrialReported, TrialStatus};
use serde::{Deserialize, Serialize};

use super::super::{Seen, millis};

/// How a trial ended, as far as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Outcome {
    /// It has a result.
    Finished,
    /// It has none.
    Failed,
    /// It was stopped early, because others were better.
    Pruned,
    /// It was cancelled or skipped: nobody counts these.
    #[default]
    Other,
}

impl From<TrialStatus> for Outcome {
    fn from(status: TrialStatus) -> Self {
        match status {
            TrialStatus::Succeeded => Self::Finished,
            TrialStatus::Failed => Self::Failed,
            TrialStatus::Pruned => Self::Pruned,
            TrialStatus::Cancelled | TrialStatus::Skipped => Self::Other,
        }
    }
}

/// A trial that ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// Its objective; `None` unless it succeeded with a finite one.
    pub objective: Option<f64>,
    /// How it ended.
    #[serde(default)]
    pub outcome: Outcome,
    /// Attempt of the run that trained it, 0 when nobody says.
    #[serde(default)]
    pub attempt: u32,
    /// When, in milliseconds since 1970.
    pub at: i64,
}

impl Finished {
    /// What a report says. One MLflow did not take is over, and its values are not there.
    pub fn of(report: &TrialReported, seen: &Seen, objective: &str, is_written: bool) -> Self {
        let value = report.metrics.get(objective).and_then(|value| value.finite());
        Self {
            objective: value.filter(|_| is_written && report.status == TrialStatus::Succeeded),
            outcome: report.status.into(),
            attempt: report.attempt.unwrap_or(0),
            at: millis(report.finished_at.unwrap_or(seen.at)),
        }
    }
}

/// How many trials ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Counts {
    pub finished: u32,
    pub failed: u32,
    pub pruned: u32,
}

impl Counts {
    pub(super) fn of(&mut self, outcome: Outcome) -> Option<&mut u32> {
        match outcome {
            Outcome::Finished => Some(&mut self.finished),
            Outcome::Failed => Some(&mut self.failed),
            Outcome::Pruned => Some(&mut self.pruned),
            Outcome::Other => None,
        }
    }
}

/// Of two reports of a trial that waits, the one that counts.
pub(super) fn later(known: Finished, new: Finished) -> Finished {
    let is_result = |one: &Finished| one.outcome == Outcome::Finished;
    match (is_result(&known), is_result(&new)) {
        (true, false) => known,
        (false, true) => new,
        _ if new.attempt >= known.attempt => new,
        _ => known,
    }
}
