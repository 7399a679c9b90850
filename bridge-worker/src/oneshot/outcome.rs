//! What came of a run, gathered from its events: its trials, whichever attempt trained them, and how the last attempt
//! ended.
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

    /// Prints the result: in NDJSON without its trials, each of which has had its line.
    pub(super) fn print(self, printer: Printer) -> Result<(), CliError> {
        match printer.format() {
            Format::Ndjson => {
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
    use schemas::event::{RunCancelled, RunFailed, RunInterrupted, RunStarted};
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

    fn started(attempt: u32) -> Event {
        RunStarted {
            run_id: RunId::parse("r").unwrap(),
            attempt,
            worker_id: "w".to_owned(),
            dataset_id: "digits".to_owned(),
            objective: "loss".to_owned(),
            resumed_trials: 0,
        }
        .into()
    }

    fn failed(attempt: u32) -> Event {
        let failure = Failure::new(FailureClass::UserCode, Stage::Execute, "out of luck");
        let run_id = RunId::parse("r").unwrap();
        RunFailed { run_id, attempt, failure, completed_trials: 1, duration_ms: 7 }.into()
    }

    fn interrupted(attempt: u32, reason: &str) -> Event {
        let (run_id, reason) = (RunId::parse("r").unwrap(), Some(reason.to_owned()));
        RunInterrupted { run_id, attempt, reason, completed_trials: 1, duration_ms: 5 }.into()
    }

    fn cancelled(attempt: u32) -> Event {
        let run_id = RunId::parse("r").unwrap();
        RunCancelled { run_id, attempt, reason: None, completed_trials: 0, duration_ms: 9 }.into()
    }

    fn told(events: impl IntoIterator<Item = Event>) -> Outcome {
        let mut outcome = outcome();
        events.into_iter().for_each(|event| outcome.take(&event));
        outcome
    }

    #[test]
    fn only_the_end_of_the_last_attempt_counts() {
        let end = |outcome: &Outcome| {
            (outcome.state, outcome.failure.is_some(), outcome.reason.clone(), outcome.duration_ms)
        };
        let stopped = || Some("stopped".to_owned());
        let again = told([started(1), failed(1), started(2), interrupted(2, "stopped")]);
        assert_eq!(end(&again), (RunState::Interrupted, false, stopped(), 5));
        let gone_on = told([started(1), interrupted(1, "stopped"), started(2), failed(2)]);
        assert_eq!(end(&gone_on), (RunState::Failed, true, None, 7));
        let silent = told([started(1), interrupted(1, "stopped"), started(2), cancelled(2)]);
        assert_eq!(end(&silent), (RunState::Cancelled, false, None, 9));
        let under_way = told([started(1), failed(1), started(2)]);
        assert_eq!(end(&under_way), (RunState::Running, false, None, 0));
        let late = told([started(1), started(2), interrupted(2, "stopped"), failed(1)]);
        assert_eq!(end(&late), (RunState::Interrupted, false, stopped(), 5), "the first has nothing to say");
    }

    #[test]
    fn an_attempt_after_a_failed_end_trains_again_what_failed_and_one_after_an_interruption_does_not() {
        let trials = || [trial(0, TrialStatus::Failed, 0.1), trial(1, TrialStatus::Succeeded, 0.5)];
        let counts = |end: Event| {
            let outcome = told([started(1)].into_iter().chain(trials()).chain([end, started(2)]));
            (outcome.completed_trials, outcome.failed_trials)
        };
        assert_eq!(counts(failed(1)), (1, 0));
        assert_eq!(counts(interrupted(1, "stopped")), (2, 1));
    }

    #[test]
    fn the_exit_code_tells_a_refusal_from_a_failure_and_an_interruption() {
        let ended = |stage| {
            let failure = Failure::new(FailureClass::Validation, stage, "x");
            let (run_id, attempt) = (RunId::parse("r").unwrap(), 1);
            let mut outcome = outcome();
            outcome.take(&RunFailed { run_id, attempt, failure, completed_trials: 0, duration_ms: 0 }.into());
            outcome.exit()
        };
        assert_eq!(ended(Stage::Validate), Exit::InvalidInput);
        assert_eq!(ended(Stage::Execute), Exit::Unsuccessful);
        assert_eq!(outcome().exit(), Exit::Interrupted);
    }
}
