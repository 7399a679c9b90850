//! What came of a run, gathered from its events.
//!
//! Pure but for [`Outcome::print`].

use std::io::{self, Write};

use schemas::event::{ArtifactRef, Direction, TrialReported, TrialStatus};
use schemas::lifecycle::RunState;
use schemas::{Event, Failure, Json, Real, RunId, Stage};
use serde::Serialize;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::{Format, Printer};

/// What came of a run.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    run_id: RunId,
    state: RunState,
    objective: String,
    #[serde(skip)]
    direction: Direction,
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
        match event {
            Event::TrialReported(trial) => self.count(trial),
            Event::RunStarted(_) => self.state = RunState::Running,
            Event::RunCompleted(end) => {
                self.state = RunState::Completed;
                self.completed_trials = end.completed_trials;
                self.failed_trials = end.failed_trials;
                self.best_trial_id.clone_from(&end.best_trial_id);
                self.best_metric = end.best_metric;
                self.best_model = end.best_model.clone();
                self.duration_ms = end.duration_ms;
                self.artifact_refs.clone_from(&end.artifact_refs);
                (self.failure, self.reason) = (None, None);
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
            Event::RunRequested(_)
            | Event::RunCancelRequested(_)
            | Event::MlRunStarted(_)
            | Event::MlRunFinalized(_)
            | Event::MetricReported(_)
            | Event::RunException(_) => {}
        }
    }

    fn end(&mut self, state: RunState, duration_ms: i64) {
        self.state = state;
        self.duration_ms = duration_ms;
    }

    /// A trial that is trained again replaces what was known of it.
    fn count(&mut self, trial: &TrialReported) {
        self.trials.retain(|known| known.trial_id != trial.trial_id);
        self.trials.push(trial.clone());
        self.trials.sort_by_key(|trial| trial.number);
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

    /// One line about how far the run is.
    pub(super) fn progress(&self, trial: &TrialReported, max_trials: u32) -> String {
        let shown =
            |value: Option<Real>| value.map_or_else(|| "-".to_owned(), |Real(value)| format!("{value:.4}"));
        format!(
            "{} of {max_trials}: trial {} {}, {} {} (best {})",
            self.completed_trials,
            trial.number.unwrap_or_default(),
            trial.status.as_str(),
            self.objective,
            shown(trial.metrics.get(&self.objective).copied()),
            shown(self.best_metric),
        )
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

    /// Prints the result: in NDJSON every trial on a line, then the result without them.
    pub(super) fn print(self, printer: Printer) -> Result<(), CliError> {
        match printer.format() {
            Format::Ndjson => {
                self.trials.iter().try_for_each(|trial| printer.stream_item(trial, ""))?;
                let rest = Self { trials: Vec::new(), ..self };
                printer.stream_item(&rest, "")
            }
            Format::Json | Format::Table => printer.object(&self, |out| self.write(out)),
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "run      {} {}", self.run_id, self.state)?;
        writeln!(out, "trials   {} ({} failed)", self.completed_trials, self.failed_trials)?;
        if let (Some(Real(value)), Some(id)) = (self.best_metric, &self.best_trial_id) {
            writeln!(out, "best     {} {value} of {id}", self.objective)?;
            writeln!(out, "model    {}", self.best_model.0)?;
        }
        for file in &self.artifact_refs {
            writeln!(out, "file     {}", file.uri)?;
        }
        match (&self.failure, &self.reason) {
            (Some(failure), _) => writeln!(out, "because  {}: {}", failure.class, failure.message),
            (None, Some(reason)) => writeln!(out, "because  {reason}"),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::event::RunFailed;
    use schemas::{FailureClass, TrialId};

    use super::*;

    fn trial(number: u32, status: TrialStatus, value: f64) -> Event {
        let run = RunId::parse("r").unwrap();
        let id = TrialId::numbered(&run, number.into());
        TrialReported {
            number: Some(number),
            metrics: [("loss".to_owned(), Real(value))].into(),
            ..TrialReported::new(run, id, status)
        }
        .into()
    }

    fn outcome() -> Outcome {
        Outcome::new(&RunId::parse("r").unwrap(), "loss", Direction::Minimize)
    }

    #[test]
    fn the_best_so_far_is_the_first_of_the_best_that_succeeded() {
        let mut outcome = outcome();
        for event in [
            trial(2, TrialStatus::Succeeded, 0.5),
            trial(1, TrialStatus::Succeeded, 0.5),
            trial(3, TrialStatus::Failed, 0.1),
            trial(0, TrialStatus::Succeeded, f64::NAN),
        ] {
            outcome.take(&event);
        }
        assert_eq!((outcome.completed_trials, outcome.failed_trials), (4, 1));
        assert_eq!(outcome.best_trial_id, Some(TrialId::numbered(&outcome.run_id, 1).to_string()));
    }

    #[test]
    fn the_exit_code_tells_a_refusal_from_a_failure_and_an_interruption() {
        let failed = |stage| {
            let failure = Failure::new(FailureClass::Validation, stage, "x");
            let (run_id, attempt) = (RunId::parse("r").unwrap(), 1);
            let mut outcome = outcome();
            outcome.take(&RunFailed { run_id, attempt, failure, completed_trials: 0, duration_ms: 0 }.into());
            outcome.exit()
        };
        assert_eq!(failed(Stage::Validate), Exit::InvalidInput);
        assert_eq!(failed(Stage::Execute), Exit::Unsuccessful);
        assert_eq!(outcome().exit(), Exit::Interrupted);
    }
}
