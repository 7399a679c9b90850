//! How far a run is, folded from its events alone.
//!
//! Pure: events and their times in, numbers out. Whoever has the events of a run, from the stream or from a test,
//! gets the same progress.
//!
//! Invariants: a trial counts once, however often its event is seen; an older attempt changes nothing; after the end
//! nothing changes until the run is asked for again, which forgets the trials that will be trained again. It is lenient
//! where the contract allows strangers to speak: a trial that somebody trained elsewhere counts before any attempt has
//! started.
//!
//! Deliberately not here: which event ends a watch (an earlier attempt's end is no end); the one who watches knows which
//! request is served.

use std::collections::{BTreeSet, HashMap};

use schemas::event::{Direction, RunRequested, TrialReported, TrialStatus};
use schemas::lifecycle::RunState;
use schemas::{Event, Json, Real, Timestamp, TrialId};

use crate::follow::RunEvent;

/// Trials remembered as under way; no run has more at once.
const MAX_RUNNING: usize = 1024;

/// How far a run is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Trials that ended, successful or not.
    pub done: u32,
    /// Trials that failed.
    pub failed: u32,
    /// Trials that reported values and have not ended. One that reports nothing until its end is not seen here.
    pub running: u32,
    /// The best objective.
    pub best: Option<f64>,
    /// The trial that reached it.
    pub best_trial: Option<TrialId>,
    /// What that trial was trained with.
    pub best_parameters: Json,
    /// Trials the run may start, once its request was seen.
    pub total: Option<u32>,
    /// Where the run stands.
    pub state: RunState,
    /// The metric the search optimises.
    pub objective: String,
    /// Which way it is better.
    pub direction: Direction,
    /// Attempt that speaks, 0 before the first.
    pub attempt: u32,
    /// When this attempt started.
    started_at: Option<Timestamp>,
    /// Trials that had ended when it did.
    done_before: u32,
    in_flight: BTreeSet<TrialId>,
    /// Every trial that ended, and how.
    ended: HashMap<TrialId, TrialStatus>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            done: 0,
            failed: 0,
            running: 0,
            best: None,
            best_trial: None,
            best_parameters: Json::object(),
            total: None,
            state: RunState::Requested,
            objective: "accuracy".to_owned(),
            direction: Direction::Maximize,
            attempt: 0,
            started_at: None,
            done_before: 0,
            in_flight: BTreeSet::new(),
            ended: HashMap::new(),
        }
    }
}

impl Progress {
    /// Takes the next event as a [`crate::follow::Follower`] gives it: with what its headers say beside it.
    pub fn take(&mut self, event: &RunEvent) -> bool {
        if let Event::RunRequested(request) = &event.event
            && event.is_for_failed_trials
            && self.state.is_final()
        {
            return self.request(request, true);
        }
        self.apply(&event.event, event.line.time)
    }

    /// Takes the next event of the run, which the stream took in at `time`. False if it changed nothing: seen
    /// before, from an older attempt, after the end, or no matter of progress.
    pub fn apply(&mut self, event: &Event, time: Timestamp) -> bool {
        let may_restart = matches!(self.state, RunState::Failed | RunState::Cancelled);
        if let (Event::RunRequested(request), true) = (event, may_restart || self.attempt == 0) {
            return self.request(request, may_restart);
        }
        let is_stale = event.attempt().is_some_and(|attempt| attempt < self.attempt);
        let is_later = matches!(event, Event::RunStarted(started) if started.attempt > self.attempt);
        if is_stale || (self.state.is_final() && !is_later) {
            return false;
        }
        match event {
            Event::RunStarted(started) => {
                if self.state.is_final() {
                    self.restart();
                }
                self.objective_is(&started.objective, None);
                self.attempt = started.attempt;
                self.started_at = Some(time);
                self.done_before = self.done;
                self.stand(RunState::Running)
            }
            Event::MlRunStarted(started) => {
                let direction =
                    started.extra.0.get("direction").and_then(|direction| match direction.as_str() {
                        Some("maximize") => Some(Direction::Maximize),
                        Some("minimize") => Some(Direction::Minimize),
                        Some(_) | None => None,
                    });
                self.objective_is(&started.objective, direction);
                let total = started.budget.0.get("max_trials").and_then(serde_json::Value::as_u64);
                self.total = total.and_then(|total| u32::try_from(total).ok()).or(self.total);
                true
            }
            Event::MetricReported(metric) => {
                let is_new = !self.ended.contains_key(&metric.trial_id)
                    && self.in_flight.len() < MAX_RUNNING
                    && self.in_flight.insert(metric.trial_id.clone());
                self.count_running();
                is_new
            }
            Event::TrialReported(trial) => self.trial(trial),
            Event::RunCompleted(completed) => {
                let trial = completed.best_trial_id.as_ref().map(TrialId::from_text);
                if let (Some(best), true) =
                    (completed.best_metric.and_then(Real::finite), trial != self.best_trial)
                {
                    self.best = Some(best);
                    self.best_trial = trial;
                    self.best_parameters = completed.best_model.clone();
                }
                self.stand(RunState::Completed)
            }
            Event::RunFailed(_) => self.stand(RunState::Failed),
            Event::RunCancelled(_) => self.stand(RunState::Cancelled),
            Event::RunInterrupted(_) => self.stand(RunState::Interrupted),
            Event::RunRequested(_)
            | Event::RunCancelRequested(_)
            | Event::MlRunFinalized(_)
            | Event::RunException(_) => false,
        }
    }

    /// Trials per second in this attempt, as of `now`.
    pub fn rate(&self, now: Timestamp) -> Option<f64> {
        let seconds = (now.micros() - self.started_at?.micros()) as f64 / 1e6;
        let done = f64::from(self.done - self.done_before);
        (seconds > 0.0 && done > 0.0).then_some(done / seconds)
    }

    /// Seconds to the last trial if the rate stays as it is.
    pub fn seconds_left(&self, now: Timestamp) -> Option<f64> {
        let left = self.total?.saturating_sub(self.done);
        self.rate(now).map(|rate| f64::from(left) / rate)
    }

    fn request(&mut self, request: &RunRequested, is_again: bool) -> bool {
        self.total = Some(request.budget.max_trials);
        self.objective_is(&request.objective, request.direction);
        if is_again {
            self.restart();
        }
        true
    }

    /// A run that is asked for again keeps what is not trained again.
    fn restart(&mut self) {
        let is_result = |status: TrialStatus| !matches!(status, TrialStatus::Failed | TrialStatus::Cancelled);
        self.ended.retain(|_, status| is_result(*status));
        self.done = u32::try_from(self.ended.len()).unwrap_or(u32::MAX);
        self.failed = 0;
        self.stand(RunState::Requested);
    }

    fn objective_is(&mut self, objective: &str, direction: Option<Direction>) {
        if let Some(direction) = direction {
            self.direction = direction;
        } else if self.objective != objective || self.total.is_none() {
            self.direction = match search::direction_of(objective) {
                search::Direction::Maximize => Direction::Maximize,
                search::Direction::Minimize => Direction::Minimize,
            };
        }
        objective.clone_into(&mut self.objective);
    }

    /// What was under way is not any more when a run changes its state.
    fn stand(&mut self, state: RunState) -> bool {
        self.state = state;
        self.in_flight.clear();
        self.count_running();
        true
    }

    fn trial(&mut self, trial: &TrialReported) -> bool {
        if self.ended.contains_key(&trial.trial_id) {
            return false;
        }
        self.ended.insert(trial.trial_id.clone(), trial.status);
        self.in_flight.remove(&trial.trial_id);
        self.count_running();
        self.done = self.done.saturating_add(1);
        match trial.status {
            TrialStatus::Failed => self.failed = self.failed.saturating_add(1),
            TrialStatus::Succeeded => self.consider(trial),
            TrialStatus::Skipped | TrialStatus::Cancelled | TrialStatus::Pruned => {}
        }
        true
    }

    fn consider(&mut self, trial: &TrialReported) {
        let Some(found) = objective_of(trial, &self.objective) else { return };
        let is_better = self.best.is_none_or(|best| match self.direction {
            Direction::Maximize => found > best,
            Direction::Minimize => found < best,
        });
        if is_better {
            self.best = Some(found);
            self.best_trial = Some(trial.trial_id.clone());
            self.best_parameters = trial.parameters.clone();
        }
    }

    fn count_running(&mut self) {
        self.running = u32::try_from(self.in_flight.len()).unwrap_or(u32::MAX);
    }
}

/// The objective a trial reached, if it is a number one can compare.
pub fn objective_of(trial: &TrialReported, objective: &str) -> Option<f64> {
    trial.metrics.get(objective).copied().and_then(Real::finite)
}

#[cfg(test)]
mod tests;
