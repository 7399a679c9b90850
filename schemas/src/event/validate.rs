//! What the types cannot say: ranges, names, fields that belong together.
//!
//! Only what holds for everybody is checked here. Whether a worker has the data set, the strategy or the trainer
//! is the worker's to say.

use std::collections::BTreeMap;

use super::{
    Budget, MetricReported, MlRunFinalized, MlRunStarted, RunCancelRequested, RunCancelled, RunCompleted,
    RunException, RunFailed, RunInterrupted, RunRequested, RunStarted, TrialReported,
};
use crate::json_text::MAX_DEPTH;
use crate::{Json, Real, RunId, ids};

/// Longest name or short text.
pub(crate) const MAX_NAME_BYTES: usize = 512;
/// Most metrics, tags or parents of one event.
pub(crate) const MAX_ENTRIES: usize = 2000;
/// Most trials a run may ask for; bounds the memory of a search.
pub(crate) const MAX_TRIALS: u32 = 1_000_000;
/// Most trials of one run at once.
pub(crate) const MAX_PARALLELISM: u32 = 1024;
/// Most a run can be put before others, and behind them; what waiting adds has to be able to outweigh it.
pub(crate) const MAX_PRIORITY: i32 = 100;

/// A value that has the right type and makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at `{path}`: expected {expected}, found {found}")]
pub struct Invalid {
    /// JSON path of the value.
    pub path: String,
    /// What would make sense.
    pub expected: String,
    /// What was there, bounded.
    pub found: String,
}

impl Invalid {
    /// States what was expected and found at a path.
    pub fn new(path: impl Into<String>, expected: impl Into<String>, found: impl std::fmt::Display) -> Self {
        let found = crate::failure::bounded_head(&found.to_string(), 200);
        Self { path: path.into(), expected: expected.into(), found }
    }
}

type Check = Result<(), Invalid>;

fn run_id(run: &RunId) -> Check {
    id("run_id", run.as_str())
}

fn id(path: &str, text: &str) -> Check {
    let expected = "1 to 128 characters of A-Z a-z 0-9 . _ -, no dot at either end";
    ids::check(text).map_err(|_| Invalid::new(path, expected, format_args!("{text:?}")))
}

fn name(path: &str, text: &str) -> Check {
    named(format_args!("{path}"), text)
}

/// The path is written only when it is needed: most names are.
fn named(path: std::fmt::Arguments<'_>, text: &str) -> Check {
    let is_name = || !text.trim().is_empty() && !text.contains(char::is_control);
    if is_plain_name(text) || (text.len() <= MAX_NAME_BYTES && is_name()) {
        return Ok(());
    }
    Err(Invalid::new(
        path.to_string(),
        format!("a text of 1 to {MAX_NAME_BYTES} bytes without control characters"),
        format_args!("{text:?}"),
    ))
}

/// What nearly every name is: printable ASCII that begins with no space.
pub(crate) fn is_plain_name(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES
        && matches!(text.as_bytes(), [b'!'..=b'~', ..])
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

fn optional_name(path: &str, text: Option<&String>) -> Check {
    text.map_or(Ok(()), |text| name(path, text))
}

fn range<T: PartialOrd + std::fmt::Display>(path: &str, value: T, low: T, high: T) -> Check {
    if value >= low && value <= high {
        return Ok(());
    }
    Err(Invalid::new(path, format!("a number from {low} to {high}"), value))
}

fn positive(path: &str, value: Option<Real>) -> Check {
    match value {
        Some(Real(seconds)) if !(seconds.is_finite() && seconds > 0.0) => {
            Err(Invalid::new(path, "a finite number above 0", seconds))
        }
        Some(_) | None => Ok(()),
    }
}

fn not_negative(path: &str, value: Option<i64>) -> Check {
    match value {
        Some(number) if number < 0 => Err(Invalid::new(path, "a number from 0", number)),
        Some(_) | None => Ok(()),
    }
}

fn attempt(number: u32) -> Check {
    range("attempt", number, 1, u32::MAX)
}

/// A free-form part: any value every reader can take.
fn free(path: &str, value: &Json) -> Check {
    if value.is_too_deep() {
        return Err(Invalid::new(path, format!("at most {MAX_DEPTH} levels of lists and objects"), "more"));
    }
    Ok(())
}

fn object(path: &str, value: &Json) -> Check {
    if value.0.is_object() || value.0.is_null() {
        return free(path, value);
    }
    Err(Invalid::new(path, "an object", &value.0))
}

fn entries(path: &str, count: usize) -> Check {
    range(path, count, 0, MAX_ENTRIES)
}

fn metrics(metrics: &BTreeMap<String, Real>) -> Check {
    entries("metrics", metrics.len())?;
    metrics.keys().try_for_each(|metric| named(format_args!("metrics.{metric}"), metric))
}

impl Budget {
    fn validate(&self) -> Check {
        range("budget.max_trials", self.max_trials, 1, MAX_TRIALS)?;
        range("budget.population_size", self.population_size, 1, MAX_TRIALS)?;
        positive("budget.max_seconds", self.max_seconds)?;
        positive("budget.max_trial_seconds", self.max_trial_seconds)?;
        if let Some(failed) = self.max_failed_trials {
            range("budget.max_failed_trials", failed, 1, MAX_TRIALS)?;
        }
        if let Some(failed) = self.max_consecutive_failures {
            range("budget.max_consecutive_failures", failed, 1, MAX_TRIALS)?;
        }
        self.parallelism.map_or(Ok(()), |slots| range("budget.parallelism", slots, 1, MAX_PARALLELISM))
    }
}

impl RunRequested {
    pub(super) fn validate(&self) -> Check {
        if let Some(run) = &self.run_id {
            run_id(run)?;
        }
        name("dataset_id", &self.dataset_id)?;
        name("objective", &self.objective)?;
        name("strategy", &self.strategy)?;
        name("trainer", &self.trainer)?;
        optional_name("entrypoint", self.entrypoint.as_ref())?;
        optional_name("pulse_id", self.pulse_id.as_ref())?;
        optional_name("experiment", self.experiment.as_ref())?;
        optional_name("correlation_id", self.correlation_id.as_ref())?;
        self.budget.validate()?;
        object("search_space", &self.search_space)?;
        object("parameters", &self.parameters)?;
        object("extra", &self.extra)?;
        positive("tau", Some(self.tau))?;
        not_negative("seed", self.seed)?;
        range("priority", self.priority, -MAX_PRIORITY, MAX_PRIORITY)?;
        entries("tags", self.tags.len())?;
        self.tags.keys().try_for_each(|tag| named(format_args!("tags.{tag}"), tag))
    }
}

impl RunCancelRequested {
    pub(super) fn validate(&self) -> Check {
        run_id(&self.run_id)
    }
}

impl RunStarted {
    pub(super) fn validate(&self) -> Check {
        run_id(&self.run_id)?;
        attempt(self.attempt)
    }
}

impl RunCompleted {
    pub(super) fn validate(&self) -> Check {
        run_id(&self.run_id)?;
        attempt(self.attempt)?;
        free("best_model", &self.best_model)?;
        free("population_history", &self.population_history)?;
        entries("artifact_refs", self.artifact_refs.len())?;
        not_negative("duration_ms", Some(self.duration_ms))
    }
}

impl RunFailed {
    pub(super) fn validate(&self) -> Check {
        run_id(&self.run_id)?;
        attempt(self.attempt)?;
        not_negative("duration_ms", Some(self.duration_ms))
    }
}

impl RunCancelled {
    pub(super) fn validate(&self) -> Check {
        run_id(&self.run_id)?;
        attempt(self.attempt)?;
        not_negative("duration_ms", Some(self.duration_ms))
    }
}

impl RunInterrupted {
    pub(super) fn validate(&self) -> Check {
        run_id(&self.run_id)?;
        attempt(self.attempt)?;
        not_negative("duration_ms", Some(self.duration_ms))
    }
}

impl MlRunStarted {
    pub(super) fn validate(&self) -> Check {
        run_id(&self.run_id)?;
        free("search_space", &self.search_space)?;
        free("budget", &self.budget)?;
        free("parameters", &self.parameters)?;
        free("extra", &self.extra)
    }
}

impl TrialReported {
    pub(super) fn validate(&self) -> Check {
        id("trial_id", self.trial_id.as_str())?;
        run_id(&self.run_id)?;
        self.attempt.map_or(Ok(()), attempt)?;
        object("parameters", &self.parameters)?;
        not_negative("duration_ms", self.duration_ms)?;
        not_negative("rank", self.rank)?;
        not_negative("seed", self.seed)?;
        entries("parent_ids", self.parent_ids.len())?;
        entries("artifact_refs", self.artifact_refs.len())?;
        entries("warnings", self.warnings.len())?;
        metrics(&self.metrics)
    }
}

impl MetricReported {
    pub(super) fn validate(&self) -> Check {
        run_id(&self.run_id)?;
        id("trial_id", self.trial_id.as_str())?;
        name("name", &self.name)?;
        not_negative("step", Some(self.step))?;
        self.attempt.map_or(Ok(()), attempt)
    }
}

impl MlRunFinalized {
    pub(super) fn validate(&self) -> Check {
        run_id(&self.run_id)?;
        not_negative("duration_ms", self.duration_ms)?;
        free("payload", &self.payload)?;
        entries("artifact_refs", self.artifact_refs.len())?;
        entries("warnings", self.warnings.len())?;
        metrics(&self.metrics)
    }
}

impl RunException {
    pub(super) fn validate(&self) -> Check {
        run_id(&self.run_id)?;
        attempt(self.attempt)?;
        self.trial_id.as_ref().map_or(Ok(()), |trial| id("trial_id", trial.as_str()))?;
        not_negative("next_attempt_in_ms", self.next_attempt_in_ms)
    }
}
