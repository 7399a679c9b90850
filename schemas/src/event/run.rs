//! The life of a run: what is asked, and what becomes of it.

mod budget;
mod request;

use serde::{Deserialize, Serialize};

pub use budget::Budget;
pub use request::{Direction, RunCancelRequested, RunRequested};

use crate::{Failure, Json, Real, RunId};
use request::default_objective;

/// An attempt of a run began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(apache_avro::AvroSchema), avro(namespace = "cerebros.events"))]
pub struct RunStarted {
    /// The run.
    pub run_id: RunId,
    /// Attempt that speaks, from 1: the fence.
    pub attempt: u32,
    /// Worker that runs it.
    pub worker_id: String,
    /// Data set of the run.
    #[serde(default)]
    pub dataset_id: String,
    /// Metric the search optimises.
    #[serde(default = "default_objective")]
    pub objective: String,
    /// Trials of earlier attempts that are not trained again.
    #[serde(default)]
    pub resumed_trials: u32,
}

/// A file a run left behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(apache_avro::AvroSchema), avro(namespace = "cerebros.events"))]
pub struct ArtifactRef {
    /// Where it lies: `nats://<bucket>/<run>/<trial>/<name>`, or any URI.
    pub uri: String,
    /// `sha256:` and the hex digest of the content.
    #[serde(default)]
    pub checksum: Option<String>,
    /// Size in bytes.
    #[serde(default)]
    pub bytes: Option<i64>,
    /// Media type of the content.
    #[serde(default)]
    pub media_type: Option<String>,
}

/// A run ended successfully.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(apache_avro::AvroSchema), avro(namespace = "cerebros.events"))]
pub struct RunCompleted {
    /// The run.
    pub run_id: RunId,
    /// Attempt that speaks.
    pub attempt: u32,
    /// `succeeded`, or the budget that ended the run early (`max_seconds`, ...).
    pub status: String,
    /// Trials that ended, successful or not.
    #[serde(default)]
    pub completed_trials: u32,
    /// Trials that failed.
    #[serde(default)]
    pub failed_trials: u32,
    /// The trial with the best objective.
    #[serde(default)]
    pub best_trial_id: Option<String>,
    /// Its objective.
    #[serde(default)]
    pub best_metric: Option<Real>,
    /// Its parameters.
    #[serde(default = "Json::object")]
    pub best_model: Json,
    /// List of {generation, best, mean, std, size}.
    #[serde(default = "Json::list")]
    pub population_history: Json,
    /// Wall-clock time of this attempt in milliseconds.
    #[serde(default)]
    pub duration_ms: i64,
    /// Files the best trial left behind.
    #[serde(default)]
    pub artifact_refs: Vec<ArtifactRef>,
}

/// A run ended unsuccessfully.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(apache_avro::AvroSchema), avro(namespace = "cerebros.events"))]
pub struct RunFailed {
    /// The run.
    pub run_id: RunId,
    /// Attempt that speaks.
    pub attempt: u32,
    /// Why.
    pub failure: Failure,
    /// Trials that ended before.
    #[serde(default)]
    pub completed_trials: u32,
    /// Wall-clock time of this attempt in milliseconds.
    #[serde(default)]
    pub duration_ms: i64,
}

/// A run was ended on request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(apache_avro::AvroSchema), avro(namespace = "cerebros.events"))]
pub struct RunCancelled {
    /// The run.
    pub run_id: RunId,
    /// Attempt that speaks.
    pub attempt: u32,
    /// Why, as given in the request.
    #[serde(default)]
    pub reason: Option<String>,
    /// Trials that ended before.
    #[serde(default)]
    pub completed_trials: u32,
    /// Wall-clock time of this attempt in milliseconds.
    #[serde(default)]
    pub duration_ms: i64,
}

/// An attempt was stopped with its machine; the run goes on in a later attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(apache_avro::AvroSchema), avro(namespace = "cerebros.events"))]
pub struct RunInterrupted {
    /// The run.
    pub run_id: RunId,
    /// Attempt that speaks.
    pub attempt: u32,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// Trials that ended before.
    #[serde(default)]
    pub completed_trials: u32,
    /// Wall-clock time of this attempt in milliseconds.
    #[serde(default)]
    pub duration_ms: i64,
}
