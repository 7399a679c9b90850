//! A run as the parent run in MLflow.

use std::collections::BTreeMap;

use schemas::event::{Direction, FinalStatus, MlRunFinalized, MlRunStarted};
use schemas::lifecycle::RunState;
use schemas::{Event, Failure, Real, RunId, Timestamp};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::dataset::{self, DIGEST_OF_TAG, hex};
use super::flatten::flatten;
use super::note::{NOTE_TAG, note};
use super::writes::fitting;
use super::{Birth, Closing, RunStatus, Seen, Writes, millis};

/// Tag that says whether an MLflow run of ours is a run or a trial.
pub const KIND_TAG: &str = "cerebros.kind";
/// Value of [`KIND_TAG`] on a parent.
pub const KIND: &str = "run";
/// Tag with the id of the run, on the parent and on every trial.
pub const RUN_TAG: &str = "cerebros.run_id";
/// Tag with the metric the search optimises.
pub const OBJECTIVE_TAG: &str = "cerebros.objective";
/// Tag with the way it is better.
pub const DIRECTION_TAG: &str = "cerebros.direction";
/// Tag with the state the run itself announced as its last.
pub const STATE_TAG: &str = "cerebros.state";
/// Tag with the attempt that announced it.
pub const ATTEMPT_TAG: &str = "cerebros.attempt";
/// Tag with the time of the latest start of the run, in milliseconds since 1970: what ended before it is history.
pub const OPENED_TAG: &str = "cerebros.opened_at";
/// Tag with the name of the experiment.
pub const EXPERIMENT_TAG: &str = "cerebros.experiment";
/// Tag with the schema the start of the run was written with.
pub const SCHEMA_TAG: &str = "cerebros.schema_version";
/// Tag with the hash of what was asked for: two runs of the same have the same.
pub const SPEC_TAG: &str = "cerebros.spec_sha256";
/// Metric of the best so far, before the name of the objective.
pub const BEST_PREFIX: &str = "best/";
/// Metric of the trials with a result.
pub const FINISHED_METRIC: &str = "trials_finished";
/// Metric of the trials without one.
pub const FAILED_METRIC: &str = "trials_failed";
/// Metric of the trials that were stopped early.
pub const PRUNED_METRIC: &str = "trials_pruned";
/// Tag with why a run was cancelled.
pub const REASON_TAG: &str = "cerebros.reason";
/// Tag with MLflow's words when it took only a part of what was said about a run or a trial.
pub const REFUSED_TAG: &str = "cerebros.refused";
/// Tags that say how a run ended, and hold no longer once it is open again. A dot at the end stands for all behind it.
pub const ENDING_TAGS: [&str; 8] = [
    "cerebros.ended_by",
    REFUSED_TAG,
    REASON_TAG,
    "cerebros.returncode",
    "cerebros.warnings",
    "cerebros.artifact_uri",
    "cerebros.failure.",
    "cerebros.cut.tag.cerebros.",
];
/// Longest name of an experiment.
const EXPERIMENT_CHARS: usize = 500;

/// The experiment a run asks for: its start says it, else the request as the run registry keeps it.
pub fn experiment<'a>(started: Option<&'a MlRunStarted>, spec: Option<&'a Value>) -> Option<String> {
    let asked =
        |value: &'a Value| value.get("experiment").and_then(Value::as_str).filter(|name| !name.is_empty());
    let name = started.and_then(|event| asked(&event.extra.0)).or_else(|| spec.and_then(asked))?;
    Some(fitting(name, EXPERIMENT_CHARS))
}

/// How the parent is created at the first sight of the run.
pub fn birth(run: &RunId, first: &Seen, dashboard: Option<&str>) -> Birth {
    let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Birth {
        name: run.to_string(),
        start_time: millis(began(first)),
        tags: BTreeMap::from([
            tag(RUN_TAG, run.as_str()),
            tag(KIND_TAG, KIND),
            tag("mlflow.source.type", "JOB"),
            tag("mlflow.source.name", "cerebros"),
            tag(NOTE_TAG, &note(run, dashboard)),
        ]),
    }
}

fn began(first: &Seen) -> Timestamp {
    match &first.event {
        Event::MlRunStarted(event) => event.timestamp,
        Event::TrialReported(event) => event.started_at.unwrap_or(first.at),
        Event::MetricReported(event) => event.recorded_at,
        Event::RunRequested(_)
        | Event::RunCancelRequested(_)
        | Event::RunStarted(_)
        | Event::RunCompleted(_)
        | Event::RunFailed(_)
        | Event::RunCancelled(_)
        | Event::RunInterrupted(_)
        | Event::MlRunFinalized(_)
        | Event::RunException(_) => first.at,
    }
}

/// What the start of a run says about it; `schema` is the one it was written with.
pub fn started(event: &MlRunStarted, schema: Option<&str>) -> Writes {
    let mut writes = Writes::default();
    writes.tag_some(SCHEMA_TAG, schema);
    writes.tag(SPEC_TAG, spec_hash(event));
    writes.tag_some(EXPERIMENT_TAG, experiment(Some(event), None));
    if event.dataset_id.is_some() && dataset::sha256(event).is_none() {
        writes.tag(DIGEST_OF_TAG, "name");
    }
    writes.tag(OPENED_TAG, millis(event.timestamp).to_string());
    writes.tag(OBJECTIVE_TAG, &event.objective);
    writes.tag_some(
        "cerebros.correlation_id",
        event.correlation_id.as_ref().or(Some(&event.run_id.to_string())),
    );
    writes.tag_some("cerebros.pulse_id", event.pulse_id.as_ref());
    writes.tag_some("cerebros.dataset_id", event.dataset_id.as_ref());
    writes.param("objective", &event.objective);
    if let Some(dataset) = &event.dataset_id {
        writes.param("dataset_id", dataset);
    }
    if let Some(tau) = event.tau {
        writes.param("tau", tau.to_string());
    }
    for (prefix, json) in
        [("budget", &event.budget), ("parameters", &event.parameters), ("search_space", &event.search_space)]
    {
        flatten(prefix, &json.0, &mut |name, text| writes.param(name, text));
    }
    settings(&mut writes, &event.extra.0);
    writes
}

/// Hash of what a start asks for, without what only names the run or says when.
fn spec_hash(event: &MlRunStarted) -> String {
    let mut spec = Event::from(event.clone()).to_json();
    if let Some(spec) = spec.as_object_mut() {
        for name in ["run_id", "timestamp", "correlation_id", "pulse_id"] {
            spec.remove(name);
        }
        // Where it is filed, and what it is labelled with.
        if let Some(extra) = spec.get_mut("extra").and_then(serde_json::Value::as_object_mut) {
            extra.remove("experiment");
            extra.remove("tags");
        }
    }
    spec.sort_all_objects();
    hex(&Sha256::digest(spec.to_string()))
}

/// The tags of a run that is open again. Its last attempt stays: what older ones say counts no more.
pub fn reopened() -> Writes {
    let mut writes = Writes::default();
    writes.tag(STATE_TAG, RunState::Running.as_str());
    writes
}

/// strategy, trainer, direction, seed and the labels of the request; whatever else there is becomes a parameter.
fn settings(writes: &mut Writes, extra: &Value) {
    let Some(extra) = extra.as_object() else { return };
    for (key, value) in extra {
        match (key.as_str(), value) {
            ("tags", Value::Object(tags)) => {
                for (name, value) in tags {
                    writes.foreign_tag(name, &text_of(value));
                }
            }
            ("experiment", _) | (_, Value::Null) => {}
            ("strategy" | "trainer" | "direction" | "seed" | "entrypoint", value) => {
                writes.tag(&format!("cerebros.{key}"), text_of(value));
                writes.param(key, text_of(value));
            }
            (_, value) => flatten(key, value, &mut |name, text| writes.param(name, text)),
        }
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The way the objective is better, when the run says it. Without it there is no best, and no curve of it.
pub fn direction(text: Option<&str>) -> Option<Direction> {
    [Direction::Maximize, Direction::Minimize].into_iter().find(|direction| text == Some(direction.as_str()))
}

/// The way the objective is better, as the start of the run says it.
pub fn direction_of(event: &MlRunStarted) -> Option<Direction> {
    direction(event.extra.0.get("direction").and_then(Value::as_str))
}

/// How a run ended, as one event tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// Attempt that speaks, for an event of the run's own life; those decide over the machine-learning record.
    pub attempt: Option<u32>,
    /// Status and time.
    pub closing: Closing,
    /// Counts, best trial, failure.
    pub writes: Writes,
    /// Metrics of the best trial.
    pub metrics: BTreeMap<String, Real>,
}

/// The ending an event tells; `None` for one that ends nothing.
pub fn ending(seen: &Seen) -> Option<Ending> {
    let mut writes = Writes::default();
    let mut metrics = BTreeMap::new();
    let (attempt, status, end) = match &seen.event {
        Event::RunCompleted(event) => {
            announced(&mut writes, "completed", event.attempt, event.completed_trials, event.duration_ms);
            writes.tag("cerebros.ended_by", &event.status);
            writes.tag("cerebros.failed_trials", event.failed_trials.to_string());
            writes.tag_some("cerebros.best_trial_id", event.best_trial_id.as_ref());
            writes.tag_some("cerebros.best_metric", event.best_metric);
            if !event.best_model.is_empty() {
                writes.tag("cerebros.best_model", event.best_model.0.to_string());
            }
            (Some(event.attempt), RunStatus::Finished, seen.at)
        }
        Event::RunFailed(event) => {
            announced(&mut writes, "failed", event.attempt, event.completed_trials, event.duration_ms);
            failed(&mut writes, &event.failure);
            (Some(event.attempt), RunStatus::Failed, seen.at)
        }
        Event::RunCancelled(event) => {
            announced(&mut writes, "cancelled", event.attempt, event.completed_trials, event.duration_ms);
            writes.tag_some(REASON_TAG, event.reason.as_ref());
            (Some(event.attempt), RunStatus::Killed, seen.at)
        }
        Event::MlRunFinalized(event) => {
            finalized(&mut writes, event);
            metrics.clone_from(&event.metrics);
            (None, status_of(event.status), event.timestamp)
        }
        Event::RunRequested(_)
        | Event::RunCancelRequested(_)
        | Event::RunStarted(_)
        | Event::RunInterrupted(_)
        | Event::MlRunStarted(_)
        | Event::TrialReported(_)
        | Event::MetricReported(_)
        | Event::RunException(_) => return None,
    };
    Some(Ending { attempt, closing: Closing { status, end_time: millis(end), name: None }, writes, metrics })
}

fn announced(writes: &mut Writes, state: &str, attempt: u32, completed_trials: u32, duration_ms: i64) {
    writes.tag(STATE_TAG, state);
    writes.tag(ATTEMPT_TAG, attempt.to_string());
    writes.tag("cerebros.completed_trials", completed_trials.to_string());
    writes.tag("cerebros.duration_ms", duration_ms.to_string());
}

fn finalized(writes: &mut Writes, event: &MlRunFinalized) {
    writes.tag_some("cerebros.best_trial_id", event.best_trial_id.as_ref());
    writes.tag_some("cerebros.returncode", event.returncode);
    if !event.warnings.is_empty() {
        writes.tag("cerebros.warnings", event.warnings.join("\n"));
    }
    if let Some(artifact) = event.artifact_refs.first() {
        writes.tag("cerebros.artifact_uri", &artifact.uri);
    }
}

/// A run that hit a time limit did not do what was asked; where it ended well all the same, the run's own terminal
/// event says so and decides.
fn status_of(status: FinalStatus) -> RunStatus {
    match status {
        FinalStatus::Succeeded => RunStatus::Finished,
        FinalStatus::Failed | FinalStatus::Timeout => RunStatus::Failed,
        FinalStatus::Cancelled => RunStatus::Killed,
    }
}

/// The failure of a run or a trial, as tags.
pub fn failed(writes: &mut Writes, failure: &Failure) {
    writes.tag("cerebros.failure.class", failure.class.as_str());
    writes.tag("cerebros.failure.stage", failure.stage.as_str());
    writes.tag("cerebros.failure.message", &failure.message);
    writes.tag("cerebros.failure.fingerprint", &failure.fingerprint);
    writes.tag_some("cerebros.failure.exit_code", failure.exit_code);
    writes.tag_some("cerebros.failure.signal", failure.signal);
    writes.tag_some("cerebros.failure.traceback", failure.traceback.as_ref());
}

#[cfg(test)]
mod tests;
