//! What a run may use up.

use serde::{Deserialize, Serialize};

use crate::Real;

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
