//! What is asked: a run, or its end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Budget;
use crate::{Json, Real, RunId};

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

pub(super) fn default_objective() -> String {
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
