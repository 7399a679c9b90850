//! The life of a run: what is asked, and what becomes of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Failure, Json, Real, RunId};

/// Which way an objective is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(apache_avro::AvroSchema), avro(namespace = "cerebros.events"))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Direction {
    Maximize,
    Minimize,
}

impl Direction {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Maximize => "maximize",
            Self::Minimize => "minimize",
        }
    }
}

/// Hard limits of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(apache_avro::AvroSchema), avro(namespace = "cerebros.events"))]
pub struct Budget {
    /// Most trials the run may start.
    #[serde(default = "default_max_trials")]
    pub max_trials: u32,
    /// Candidates that make one generation.
    #[serde(default = "default_population_size")]
    pub population_size: u32,
    /// Wall-clock limit of the whole run in seconds.
    #[serde(default)]
    pub max_seconds: Option<Real>,
    /// Wall-clock limit of one trial in seconds.
    #[serde(default)]
    pub max_trial_seconds: Option<Real>,
    /// Failed trials after which the run fails.
    #[serde(default)]
    pub max_failed_trials: Option<u32>,
    /// Trials of this run that may train at once; also the lag of the search.
    #[serde(default)]
    pub parallelism: Option<u32>,
    /// Failed trials in a row, by the order in which they ended, after which the run fails.
    #[serde(default)]
    pub max_consecutive_failures: Option<u32>,
}

/// Trials of a run that may be under way at once when its request does not say. Fixed, not taken from the slots at
/// hand: candidates depend on it, and the same request has to give the same trials on any worker.
const DEFAULT_PARALLELISM: u32 = 4;

impl Budget {
    /// Trials of the run that may be under way at once, and how far its search looks back.
    pub fn max_parallelism(&self) -> u32 {
        self.parallelism.unwrap_or(DEFAULT_PARALLELISM)
    }
}

fn default_max_trials() -> u32 {
    10
}

fn default_population_size() -> u32 {
    20
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            max_trials: default_max_trials(),
            population_size: default_population_size(),
            max_seconds: None,
            max_trial_seconds: None,
            max_failed_trials: None,
            parallelism: None,
            max_consecutive_failures: None,
        }
    }
}

/// Asks for one architecture search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(apache_avro::AvroSchema), avro(namespace = "cerebros.events"))]
pub struct RunRequested {
    /// Identity of the run; derived from the message when absent.
    #[serde(default)]
    pub run_id: Option<RunId>,
    /// A bundled data set, a file under the allowed directory, or `artifact:<run>/<trial>/<name>`; see [`crate::dataset`].
    pub dataset_id: String,
    /// Metric the search optimises.
    #[serde(default = "default_objective")]
    pub objective: String,
    /// Which way is better; from the objective when absent.
    #[serde(default)]
    pub direction: Option<Direction>,
    /// Which parameters may vary, and how; empty means the trainer's default.
    #[serde(default = "Json::object")]
    pub search_space: Json,
    /// Search strategy by name.
    #[serde(default = "default_strategy")]
    pub strategy: String,
    /// Trainer by name, or `module:function` where the operator allows it.
    #[serde(default = "default_trainer")]
    pub trainer: String,
    /// `module:function` of an opaque run that brings its own search.
    #[serde(default)]
    pub entrypoint: Option<String>,
    /// Hard limits.
    #[serde(default)]
    pub budget: Budget,
    /// Settings of the strategy and of pruning: `mutation_rate`, `crossover_rate`, `elite_size`, `pruner`.
    #[serde(default = "Json::object")]
    pub parameters: Json,
    /// Temperature of selection.
    #[serde(default = "default_tau")]
    pub tau: Real,
    /// Seed of the search, from 0; derived from the run id when absent.
    #[serde(default)]
    pub seed: Option<i64>,
    /// Group of runs this one belongs to.
    #[serde(default)]
    pub pulse_id: Option<String>,
    /// MLflow experiment.
    #[serde(default)]
    pub experiment: Option<String>,
    /// Identity that follows the request through all systems; the run id when absent.
    #[serde(default)]
    pub correlation_id: Option<String>,
    /// Labels, kept as they are.
    #[serde(default)]
    #[cfg_attr(test, avro(with = crate::avro_types::texts_by_name))]
    pub tags: BTreeMap<String, String>,
    /// Anything else, kept as it is.
    #[serde(default = "Json::object")]
    pub extra: Json,
    /// Higher goes first among the runs a worker has in hand; waiting raises it. From -100 to 100.
    #[serde(default)]
    pub priority: i32,
}

fn default_objective() -> String {
    "accuracy".to_owned()
}

fn default_strategy() -> String {
    "ga".to_owned()
}

fn default_trainer() -> String {
    "mlp".to_owned()
}

fn default_tau() -> Real {
    Real(1.0)
}

impl RunRequested {
    /// A request for a data set with every other field at its default.
    pub fn new(dataset_id: impl Into<String>) -> Self {
        Self {
            run_id: None,
            dataset_id: dataset_id.into(),
            objective: default_objective(),
            direction: None,
            search_space: Json::object(),
            strategy: default_strategy(),
            trainer: default_trainer(),
            entrypoint: None,
            budget: Budget::default(),
            parameters: Json::object(),
            tau: default_tau(),
            seed: None,
            pulse_id: None,
            experiment: None,
            correlation_id: None,
            tags: BTreeMap::new(),
            extra: Json::object(),
            priority: 0,
        }
    }
}

/// Asks to end a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(apache_avro::AvroSchema), avro(namespace = "cerebros.events"))]
pub struct RunCancelRequested {
    /// The run.
    pub run_id: RunId,
    /// Why, for people.
    #[serde(default)]
    pub reason: Option<String>,
}

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
