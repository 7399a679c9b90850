//! One run as `producer list` prints it.

use schemas::lifecycle::RunState;
use schemas::{Real, RunId, Timestamp};
use serde::Serialize;
use service_kit::output::Row;
use service_kit::registry::RunRecord;

use super::Request;

/// A run, in the shape scripts rely on.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the run registry")]
pub struct RunRow {
    pub run_id: RunId,
    pub state: RunState,
    pub dataset_id: String,
    pub objective: String,
    pub attempt: u32,
    pub completed_trials: u32,
    pub failed_trials: u32,
    /// Most trials the run may start; `None` if nobody has asked for it yet.
    pub max_trials: Option<u32>,
    pub best_metric: Option<Real>,
    pub best_trial_id: Option<String>,
    pub requested_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub worker_id: Option<String>,
}

impl RunRow {
    /// `3/10`: trials that ended, of those the run may start.
    pub(crate) fn trials(&self) -> String {
        match self.max_trials {
            Some(total) => format!("{}/{total}", self.completed_trials),
            None => self.completed_trials.to_string(),
        }
    }

    pub(super) fn of_record(record: &RunRecord) -> Self {
        Self {
            run_id: record.run_id.clone(),
            state: record.state,
            dataset_id: record.dataset_id.clone(),
            objective: record.objective.clone(),
            attempt: record.attempt,
            completed_trials: record.completed_trials,
            failed_trials: record.failed_trials,
            max_trials: (record.request_sequence > 0).then_some(record.budget.max_trials),
            best_metric: record.best_metric,
            best_trial_id: record.best_trial_id.clone(),
            requested_at: record.requested_at,
            started_at: record.started_at,
            ended_at: record.ended_at,
            worker_id: record.worker_id.clone(),
        }
    }

    pub(super) fn of_request(request: &Request) -> Self {
        Self {
            run_id: request.run_id.clone(),
            state: RunState::Requested,
            dataset_id: request.request.dataset_id.clone(),
            objective: request.request.objective.clone(),
            attempt: 0,
            completed_trials: 0,
            failed_trials: 0,
            max_trials: Some(request.request.budget.max_trials),
            best_metric: None,
            best_trial_id: None,
            requested_at: request.time,
            started_at: None,
            ended_at: None,
            worker_id: None,
        }
    }

    /// Asked for again: what it reached so far stays, the rest is as the new request says.
    pub(super) fn of_retry(record: &RunRecord, request: &Request) -> Self {
        Self {
            attempt: record.attempt,
            completed_trials: record.completed_trials,
            failed_trials: record.failed_trials,
            best_metric: record.best_metric,
            best_trial_id: record.best_trial_id.clone(),
            ..Self::of_request(request)
        }
    }
}

/// What a person wants to know of a time.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_micros(time.micros() - time.micros().rem_euclid(1_000_000))
}

impl Row for RunRow {
    fn headings() -> &'static [&'static str] {
        &[
            "run",
            "state",
            "trials",
            "failed",
            "best",
            "objective",
            "data set",
            "attempt",
            "requested",
            "worker",
        ]
    }

    fn cells(&self) -> Vec<String> {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        vec![
            self.run_id.to_string(),
            self.state.to_string(),
            self.trials(),
            self.failed_trials.to_string(),
            or_dash(self.best_metric.map(|best| format!("{:.4}", best.0))),
            or_dash(Some(self.objective.clone()).filter(|name| !name.is_empty())),
            or_dash(Some(self.dataset_id.clone()).filter(|name| !name.is_empty())),
            self.attempt.to_string(),
            whole_seconds(self.requested_at).to_string(),
            or_dash(self.worker_id.clone()),
        ]
    }
}

/// The beginning of a row, for a terminal that has no room for more.
#[derive(Debug, Serialize)]
pub(crate) struct ShortRow<'a>(pub(crate) &'a RunRow);

/// Columns of it: with a UUID and a long state they fit 80.
const SHORT: usize = 5;

impl Row for ShortRow<'_> {
    fn headings() -> &'static [&'static str] {
        &RunRow::headings()[..SHORT]
    }

    fn cells(&self) -> Vec<String> {
        let mut cells = self.0.cells();
        cells.truncate(SHORT);
        cells
    }
}
