//! One run as the registry knows it, and who may claim it.
//!
//! Pure: the clock is an argument.

mod claim;
mod scale;

use schemas::event::Budget;
use schemas::lifecycle::RunState;
use schemas::{Failure, Json, Real, RunId, Timestamp};
use serde::{Deserialize, Serialize};

pub use claim::{Claim, Claimant, claim};
pub use scale::{Scale, Unclaimed, scale};

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the run's events")]
pub struct RunRecord {
    pub run_id: RunId,
    pub state: RunState,
    /// Current or last attempt; the fence.
    pub attempt: u32,
    /// Attempt in which the run was last restarted after it had failed, 0 if never; see `Event::message_id`.
    #[serde(default)]
    pub epoch: u32,
    pub dataset_id: String,
    pub objective: String,
    /// Hard limits, for progress displays.
    pub budget: Budget,
    /// The request as it came, with every default filled in.
    pub spec: Json,
    /// Stream sequence of the request that is being served.
    pub request_sequence: u64,
    /// How often the broker had handed that request over when it was claimed; what it hands over is numbered.
    #[serde(default)]
    pub delivery: u64,
    /// First sequence that can hold events of this run.
    pub first_sequence: u64,
    /// Last sequence this attempt has published, as of the last update.
    #[serde(default)]
    pub last_sequence: u64,
    pub worker_id: Option<String>,
    #[serde(default)]
    pub completed_trials: u32,
    #[serde(default)]
    pub failed_trials: u32,
    #[serde(default)]
    pub running_trials: u32,
    #[serde(default)]
    pub best_metric: Option<Real>,
    #[serde(default)]
    pub best_trial_id: Option<String>,
    /// Failed attempts of the run.
    #[serde(default)]
    pub failures: u32,
    /// Attempts that ended with their machine, cleanly.
    #[serde(default)]
    pub interruptions: u32,
    /// Attempts whose worker vanished.
    #[serde(default)]
    pub worker_losses: u32,
    /// Those of them that vanished while trials of the run were training.
    #[serde(default)]
    pub losses_at_work: u32,
    /// Time attempts have worked on the run, in milliseconds, as of the last update.
    #[serde(default)]
    pub active_ms: u64,
    pub requested_at: Timestamp,
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When the request that is being served was taken first, which is when it had to be in time; `None` where it took
    /// over what another had begun, and in records of earlier builds.
    #[serde(default)]
    pub taken_at: Option<Timestamp>,
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    /// What ended the run: `max_trials`, `max_seconds`, `cancelled`, a failure class, ...
    #[serde(default)]
    pub ended_by: Option<String>,
    #[serde(default)]
    pub failure: Option<Failure>,
    /// Somebody asked for the end of the run, and why.
    #[serde(default)]
    pub cancel_requested: Option<String>,
    /// Trials that may be under way at once, when somebody has changed it; see [`scale()`].
    #[serde(default)]
    pub parallelism: Option<u32>,
    #[serde(default)]
    pub mlflow_run_id: Option<String>,
    /// Page of that run for people.
    #[serde(default)]
    pub mlflow_url: Option<String>,
}

/// Records that somebody asked for the end of a run, known or not; no change for a run that is over.
pub fn request_cancel(
    record: Option<&RunRecord>,
    run_id: &RunId,
    reason: &str,
    now: Timestamp,
) -> Option<RunRecord> {
    match record {
        Some(known) if known.state.is_final() || known.cancel_requested.is_some() => None,
        Some(known) => Some(RunRecord { cancel_requested: Some(reason.to_owned()), ..known.clone() }),
        None => {
            let mut record = blank(run_id, now);
            record.cancel_requested = Some(reason.to_owned());
            Some(record)
        }
    }
}

fn blank(run_id: &RunId, requested_at: Timestamp) -> RunRecord {
    RunRecord {
        run_id: run_id.clone(),
        state: RunState::Requested,
        attempt: 0,
        epoch: 0,
        dataset_id: String::new(),
        objective: String::new(),
        budget: Budget::default(),
        spec: Json::object(),
        request_sequence: 0,
        delivery: 0,
        first_sequence: u64::MAX,
        last_sequence: 0,
        worker_id: None,
        completed_trials: 0,
        failed_trials: 0,
        running_trials: 0,
        best_metric: None,
        best_trial_id: None,
        failures: 0,
        interruptions: 0,
        worker_losses: 0,
        losses_at_work: 0,
        active_ms: 0,
        requested_at,
        started_at: None,
        taken_at: None,
        ended_at: None,
        ended_by: None,
        failure: None,
        cancel_requested: None,
        parallelism: None,
        mlflow_run_id: None,
        mlflow_url: None,
    }
}

#[cfg(test)]
mod tests;
