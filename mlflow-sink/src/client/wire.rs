//! What MLflow sends and takes, as far as we look at it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::projection::Point;
use crate::projection::split::{Batch, Pair};

/// An answer of which only the success counts.
#[derive(Debug, Deserialize)]
pub(super) struct Anything {}

/// An experiment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Experiment {
    /// Its id.
    #[serde(rename = "experiment_id")]
    pub id: String,
    /// `active` or `deleted`.
    #[serde(default)]
    pub lifecycle_stage: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ExperimentAnswer {
    pub(super) experiment: Experiment,
}

#[derive(Debug, Deserialize)]
pub(super) struct ExperimentsAnswer {
    #[serde(default)]
    pub(super) experiments: Vec<Experiment>,
    #[serde(default)]
    pub(super) next_page_token: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ExperimentCreated {
    pub(super) experiment_id: String,
}

/// A run the server has.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundRun {
    /// MLflow's id.
    pub run_id: String,
    /// Its experiment.
    pub experiment_id: String,
    /// Milliseconds since 1970, when it ended.
    pub end_time: Option<i64>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// The last value of each metric.
    pub metrics: BTreeMap<String, f64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RunAnswer {
    pub(super) run: WireRun,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireRun {
    info: WireInfo,
    #[serde(default)]
    data: WireData,
}

#[derive(Debug, Deserialize)]
struct WireInfo {
    run_id: String,
    experiment_id: String,
    #[serde(default)]
    end_time: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
struct WireData {
    #[serde(default)]
    tags: Vec<WireTag>,
    #[serde(default)]
    metrics: Vec<HistoryPoint>,
}

#[derive(Debug, Deserialize)]
struct WireTag {
    key: String,
    #[serde(default)]
    value: String,
}

/// One value of a metric's history. MLflow leaves out what is zero, and writes what is not finite as text.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct HistoryPoint {
    /// Name of the metric.
    #[serde(default)]
    pub key: String,
    /// Its value.
    #[serde(default)]
    pub value: schemas::Real,
    /// Milliseconds since 1970.
    #[serde(default)]
    pub timestamp: i64,
    /// Step.
    #[serde(default)]
    pub step: i64,
}

impl HistoryPoint {
    /// The value as it was written to a metric.
    pub fn into_point(self, key: &str) -> Point {
        Point { key: key.to_owned(), value: self.value.0, timestamp: self.timestamp, step: self.step }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct HistoryAnswer {
    #[serde(default)]
    pub(super) metrics: Vec<HistoryPoint>,
    #[serde(default)]
    pub(super) next_page_token: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct LogBatch<'a> {
    pub(super) run_id: &'a str,
    #[serde(flatten)]
    pub(super) batch: &'a Batch,
}

impl From<WireRun> for FoundRun {
    fn from(run: WireRun) -> Self {
        Self {
            run_id: run.info.run_id,
            experiment_id: run.info.experiment_id,
            end_time: run.info.end_time,
            tags: run.data.tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
            metrics: run.data.metrics.into_iter().map(|metric| (metric.key, metric.value.0)).collect(),
        }
    }
}

pub(super) fn pairs(tags: &BTreeMap<String, String>) -> Vec<Pair> {
    tags.iter().map(|(key, value)| Pair { key: key.clone(), value: value.clone() }).collect()
}
