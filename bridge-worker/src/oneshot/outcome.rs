//! What came of a run, gathered from its events: its trials, whichever attempt trained them, and how the last attempt
//! ended.
//!
//! Pure but for [`Outcome::print`], which is in `shown`.

mod shown;
#[cfg(test)]
mod tests;

use schemas::event::{ArtifactRef, Direction, TrialReported, TrialStatus};
use schemas::lifecycle::RunState;
use schemas::{Event, Failure, Json, Real, RunId, Stage};
use serde::Serialize;
use service_kit::exit::Exit;

/// What came of a run.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    run_id: RunId,
    state: RunState,
    objective: String,
    #[serde(skip)]
    direction: Direction,
    /// The attempt that is told of.
    #[serde(skip)]
    attempt: u32,
    completed_trials: u32,
    failed_trials: u32,
    best_trial_id: Option<String>,
    best_metric: Option<Real>,
    best_model: Json,
    duration_ms: i64,
    artifact_refs: Vec<ArtifactRef>,
    failure: Option<Failure>,
    reason: Option<String>,
    /// Every trial, by number; in NDJSON each has had its own line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trials: Vec<TrialReported>,
}

impl Outcome {
    /// Of a run nothing is known of yet.
    pub(super) fn new(run_id: &RunId, objective: &str, direction: Direction) -> Self {
        Self {
            run_id: run_id.clone(),
            state: RunState::Requested,
            objective: objective.to_owned(),
            direction,
            attempt: 0,
            completed_trials: 0,
            failed_trials: 0,
            best_trial_id: None,
            best_metric: None,
            best_model: Json::object(),
            duration_ms: 0,
            artifact_refs: Vec::new(),
            failure: None,
            reason: None,
            trials: Vec::new(),
        }
    }

    /// Of a run that failed before it had any event.
    pub(super) fn failed(mut self, failure: Failure) -> Self {
        self.state = RunState::Failed;
        self.failure = Some(failure);
        self
    }

    /// Takes an event of the run, in order.
    pub(super) fn take(&mut self, event: &Event) {
        if let Event::TrialReported(trial) = event {
            return self.count(trial);
        }
        if event.attempt().is_some_and(|attempt| attempt < self.attempt) {
            // Only the last attempt says how the run ended.
            return;
        }
        match event {
            Event::RunStarted(start) => self.begin(start.attempt),
            Event::RunCompleted(end) => {
                self.end(RunState::Completed, end.duration_ms);
                self.completed_trials = end.completed_trials;
                self.failed_trials = end.failed_trials;
                self.best_trial_id.clone_from(&end.best_trial_id);
                self.best_metric = end.best_metric;
                self.best_model = end.best_model.clone();
                self.artifact_refs.clone_from(&end.artifact_refs);
            }
            Event::RunFailed(end) => {
                self.end(RunState::Failed, end.duration_ms);
                self.failure = Some(end.failure.clone());
            }
            Event::RunCancelled(end) => {
                self.end(RunState::Cancelled, end.duration_ms);
                self.reason.clone_from(&end.reason);
            }
            Event::RunInterrupted(end) => {
                self.end(RunState::Interrupted, end.duration_ms);
                self.reason.clone_from(&end.reason);
            }
            Event::TrialReported(_)
            | Event::RunRequested(_)
            | Event::RunCancelRequested(_)
            | Event::MlRunStarted(_)
            | Event::MlRunFinalized(_)
            | Event::MetricReported(_)
            | Event::RunException(_) => {}
        }
    }

    /// An attempt begins: how one before it ended is told no more. One that follows a failed or cancelled end trains
    /// again what came to no result.
    fn begin(&mut self, attempt: u32) {
        if matches!(self.state, RunState::Failed | RunState::Cancelled) {
            self.trials.retain(|trial| !matches!(trial.status, TrialStatus::Failed | TrialStatus::Cancelled));
            self.sum_up();
        }
        (self.attempt, self.state) = (attempt, RunState::Running);
        (self.failure, self.reason, self.duration_ms) = (None, None, 0);
        self.artifact_refs.clear();
    }

    fn end(&mut self, state: RunState, duration_ms: i64) {
        (self.state, self.duration_ms) = (state, duration_ms);
        (self.failure, self.reason) = (None, None);
    }

    /// A trial that is trained again replaces what was known of it.
    fn count(&mut self, trial: &TrialReported) {
        self.trials.retain(|known| known.trial_id != trial.trial_id);
        self.trials.push(trial.clone());
        self.trials.sort_by_key(|trial| trial.number);
        self.sum_up();
    }

    fn sum_up(&mut self) {
        self.completed_trials = u32::try_from(self.trials.len()).unwrap_or(u32::MAX);
        let is_failed = |trial: &&TrialReported| trial.status == TrialStatus::Failed;
        self.failed_trials = u32::try_from(self.trials.iter().filter(is_failed).count()).unwrap_or(u32::MAX);
        let value =
            |trial: &TrialReported| trial.metrics.get(&self.objective).and_then(|value| value.finite());
        let is_usable =
            |trial: &&TrialReported| trial.status == TrialStatus::Succeeded && value(trial).is_some();
        // The first of equals, as the search has it.
        let best = self.trials.iter().rev().filter(is_usable).max_by(|one, other| {
            let order = value(one).unwrap_or(f64::NAN).total_cmp(&value(other).unwrap_or(f64::NAN));
            if self.direction == Direction::Maximize { order } else { order.reverse() }
        });
        let Some(best) = best else { return };
        let found = (best.trial_id.to_string(), best.metrics[&self.objective], best.parameters.clone());
        (self.best_trial_id, self.best_metric, self.best_model) = (Some(found.0), Some(found.1), found.2);
    }

    /// The exit code the run deserves.
    pub(super) fn exit(&self) -> Exit {
        let is_refusal = || self.failure.as_ref().is_some_and(|failure| failure.stage == Stage::Validate);
        match self.state {
            RunState::Completed => Exit::Done,
            RunState::Failed if is_refusal() => Exit::InvalidInput,
            RunState::Failed | RunState::Cancelled => Exit::Unsuccessful,
            RunState::Requested | RunState::Running | RunState::Interrupted => Exit::Interrupted,
        }
    }
}
