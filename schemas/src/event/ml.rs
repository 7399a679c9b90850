//! The run as a machine-learning record: trials, intermediate values, outcome.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::run::ArtifactRef;
use crate::{Failure, Json, Real, RunId, Timestamp, TrialId};

/// What is searched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(apache_avro::AvroSchema), avro(namespace = "cerebros.events"))]
pub struct MlRunStarted {
    /// The run.
    pub run_id: RunId,
    /// When the run began.
    pub timestamp: Timestamp,
    /// Data set of the run.
    #[serde(default)]
    pub dataset_id: Option<String>,
    /// The space as it was understood.
    #[serde(default = "Json::object")]
    pub search_space: Json,
    /// Metric the search optimises.
    #[serde(default = "default_objective")]
    pub objective: String,
    /// Group of runs.
    #[serde(default)]
    pub pulse_id: Option<String>,
    /// Hard limits of the run.
    #[serde(default = "Json::object")]
    pub budget: Json,
    /// Settings of the strategy.
    #[serde(default = "Json::object")]
    pub parameters: Json,
    /// Temperature of selection.
    #[serde(default)]
    pub tau: Option<Real>,
    /// Identity that follows the request.
    #[serde(default)]
    pub correlation_id: Option<String>,
    /// strategy, trainer, direction, seed, experiment, tags of the request and whatever else it carried.
    #[serde(default = "Json::object")]
    pub extra: Json,
}

fn default_objective() -> String {
    "accuracy".to_owned()
}

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(apache_avro::AvroSchema), avro(namespace = "cerebros.events"))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum TrialStatus {
    Succeeded,
    Failed,
    Skipped,
    Cancelled,
    Pruned,
}

impl TrialStatus {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::Pruned => "pruned",
        }
    }
}

/// A trial ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(apache_avro::AvroSchema), avro(namespace = "cerebros.events"))]
pub struct TrialReported {
    /// Identity of the trial, unique in its run.
    pub trial_id: TrialId,
    /// The run.
    pub run_id: RunId,
    /// How it ended.
    pub status: TrialStatus,
    /// Number of the trial in its run, from 0.
    #[serde(default)]
    pub number: Option<u32>,
    /// Attempt of the run that trained it.
    #[serde(default)]
    pub attempt: Option<u32>,
    /// Group of runs.
    #[serde(default)]
    pub pulse_id: Option<String>,
    /// Hash of the candidate's parameters.
    #[serde(default)]
    pub candidate_id: Option<String>,
    /// Trials the candidate was bred from.
    #[serde(default)]
    pub parent_ids: Vec<String>,
    /// Final metrics by name.
    #[serde(default)]
    #[cfg_attr(test, avro(with = crate::avro_types::doubles_by_name))]
    pub metrics: BTreeMap<String, Real>,
    /// Parameters the trial was trained with.
    #[serde(default = "Json::object")]
    pub parameters: Json,
    /// The model the trial left behind.
    #[serde(default)]
    pub artifact_uri: Option<String>,
    /// Files of the trial that were kept, with their checksums, the first named by `artifact_uri`. A trial that was not
    /// the best known when it ended keeps none. Since version 2.
    #[serde(default)]
    pub artifact_refs: Vec<ArtifactRef>,
    /// Wall-clock time in milliseconds.
    #[serde(default)]
    pub duration_ms: Option<i64>,
    /// Rank inside the run so far, from 1.
    #[serde(default)]
    pub rank: Option<i64>,
    /// Non-fatal warnings.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Why it failed.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// True when spectral normalisation was applied to the layers.
    #[serde(default)]
    pub spectral_norm: bool,
    /// Largest singular value over the layers, measured.
    #[serde(default)]
    pub spectral_norm_value: Option<Real>,
    /// Seed the trial was trained with.
    #[serde(default)]
    pub seed: Option<i64>,
    /// When it began.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
    /// Worker that trained it.
    #[serde(default)]
    pub worker_id: Option<String>,
    /// MLflow run of the trial, when known.
    #[serde(default)]
    pub mlflow_run_id: Option<String>,
}

impl TrialReported {
    /// A trial of a run with its outcome and every other field at its default.
    pub fn new(run_id: RunId, trial_id: TrialId, status: TrialStatus) -> Self {
        Self {
            trial_id,
            run_id,
            status,
            number: None,
            attempt: None,
            pulse_id: None,
            candidate_id: None,
            parent_ids: Vec::new(),
            metrics: BTreeMap::new(),
            parameters: Json::object(),
            artifact_uri: None,
            artifact_refs: Vec::new(),
            duration_ms: None,
            rank: None,
            warnings: Vec::new(),
            failure: None,
            spectral_norm: false,
            spectral_norm_value: None,
            seed: None,
            started_at: None,
            finished_at: None,
            worker_id: None,
            mlflow_run_id: None,
        }
    }
}

/// An intermediate value of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(apache_avro::AvroSchema), avro(namespace = "cerebros.events"))]
pub struct MetricReported {
    /// The run.
    pub run_id: RunId,
    /// The trial.
    pub trial_id: TrialId,
    /// Name of the metric.
    pub name: String,
    /// Its value.
    pub value: Real,
    /// Step it was taken at, such as the epoch.
    pub step: i64,
    /// When it was taken.
    pub recorded_at: Timestamp,
    /// Attempt of the run that speaks.
    #[serde(default)]
    pub attempt: Option<u32>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(apache_avro::AvroSchema), avro(namespace = "cerebros.events"))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum FinalStatus {
    Succeeded,
    Failed,
    Cancelled,
    Timeout,
}

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(apache_avro::AvroSchema), avro(namespace = "cerebros.events"))]
pub struct MlRunFinalized {
    /// The run.
    pub run_id: RunId,
    /// How it ended.
    pub status: FinalStatus,
    /// When it ended.
    pub timestamp: Timestamp,
    /// Group of runs.
    #[serde(default)]
    pub pulse_id: Option<String>,
    /// Identity that follows the request.
    #[serde(default)]
    pub correlation_id: Option<String>,
    /// Metrics of the best trial.
    #[serde(default)]
    #[cfg_attr(test, avro(with = crate::avro_types::doubles_by_name))]
    pub metrics: BTreeMap<String, Real>,
    /// The trial with the best objective.
    #[serde(default)]
    pub best_trial_id: Option<String>,
    /// Wall-clock time in milliseconds.
    #[serde(default)]
    pub duration_ms: Option<i64>,
    /// Exit status of an external process, when one ran the search.
    #[serde(default)]
    pub returncode: Option<i32>,
    /// Files the run left behind.
    #[serde(default)]
    pub artifact_refs: Vec<ArtifactRef>,
    /// Non-fatal warnings.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Last 4 KiB an opaque run printed.
    #[serde(default)]
    pub stdout_excerpt: Option<String>,
    /// Small raw result.
    #[serde(default = "Json::object")]
    pub payload: Json,
}

/// An attempt of a call failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(apache_avro::AvroSchema), avro(namespace = "cerebros.events"))]
pub struct RunException {
    /// The run.
    pub run_id: RunId,
    /// Attempt that speaks.
    pub attempt: u32,
    /// The trial, when the call trained one.
    #[serde(default)]
    pub trial_id: Option<TrialId>,
    /// The call that failed.
    #[serde(default)]
    pub op: Option<String>,
    /// Why.
    pub failure: Failure,
    /// True when the call is made again.
    pub will_retry: bool,
    /// Delay before it is, in milliseconds.
    #[serde(default)]
    pub next_attempt_in_ms: Option<i64>,
}
