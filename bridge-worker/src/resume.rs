//! What earlier attempts of a run have left on the stream: the checkpoint.
//!
//! Read behind the fence, so that nothing is added to it any more. Everything an attempt has to know is in the run's own
//! events: the trials that are over and in which order they ended, how long the attempts took, which trials have taken
//! processes down, and what must not be said twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemas::cloudevents::{Headers, header};
use schemas::event::{TrialReported, TrialStatus};
use schemas::lifecycle::Lifecycle;
use schemas::subject::STREAM;
use schemas::{Event, Failure, FailureClass, RunId, Stage, Timestamp, TrialId};
use search::Evaluation;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::history::{History, Kept};

use crate::plan::RunPlan;
use crate::supervisor::search_status;

/// Subjects an attempt has to know of.
const SUBJECTS: [&str; 8] = [
    "cerebros.nas.run.started",
    "cerebros.nas.run.interrupted",
    "cerebros.nas.run.completed",
    "cerebros.nas.run.failed",
    "cerebros.nas.run.cancelled",
    "ml.run.start",
    "ml.run.trial",
    "ml.run.exception",
];
/// Where intermediate values are, which only a search that prunes looks at.
const REPORTS: &str = "ml.run.metric";

/// Where the record of a run says what its data set was.
pub(crate) const DATASET_SHA256: &str = "dataset_sha256";

/// A value a trial reported on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Number of the trial.
    pub trial: u64,
    /// Where in its course.
    pub step: i64,
    /// The objective.
    pub value: f64,
    /// It was reported since the run was restarted last.
    pub is_current: bool,
}

/// What earlier attempts have said.
#[derive(Debug, Default)]
pub struct Checkpoint {
    /// The trials that are over, in the order in which they ended.
    pub trials: Vec<(u64, TrialReported)>,
    /// Values of the objective on the way, when they were asked for.
    pub reports: Vec<Report>,
    /// Tries of trials that failed and were to be tried again.
    pub tries: BTreeMap<TrialId, u32>,
    /// The same of calls of a whole search.
    pub run_tries: u32,
    /// True when the record of the run was opened.
    pub is_opened: bool,
    /// Hex SHA-256 of the file the trials were trained on, when it was a file.
    pub dataset_sha256: Option<String>,
    /// The end of the run, when an attempt announced it and was lost before it could record it.
    pub ended: Option<Event>,
    /// Where the run stands.
    pub lifecycle: Lifecycle,
    /// The last attempt that got a trial to its end, or was stopped in order.
    pub last_fruitful: u32,
    numbers: BTreeSet<u64>,
    spans: BTreeMap<u32, (Timestamp, Timestamp)>,
}

/// What of a run is read.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The run.
    pub run: &'a RunId,
    /// First sequence that can hold events of it.
    pub first_sequence: u64,
    /// The attempt that reads; what claims to be of a later one is none of ours.
    pub attempt: u32,
    /// Of attempts before it, only trials that came to a result count.
    pub epoch: u32,
    /// Name of the objective, when intermediate values are needed.
    pub reports_of: Option<&'a str>,
}

impl Checkpoint {
    /// Reads the events of a run up to the present.
    pub async fn read(broker: &Broker, reading: Reading<'_>) -> Result<Self, CliError> {
        let subjects: Vec<&str> = SUBJECTS.into_iter().chain(reading.reports_of.map(|_| REPORTS)).collect();
        let mut history = History::to_the_present(broker, STREAM, &subjects, reading.first_sequence).await?;
        let mut checkpoint = Self::default();
        while let Some(kept) = history.next().await? {
            if let Some(event) = event_of(&kept, reading.run) {
                checkpoint.note_opening(&event, &kept.headers, &reading);
                checkpoint.take(event, kept.time, &reading);
            }
        }
        Ok(checkpoint)
    }

    /// True when an attempt has announced that it begins.
    pub fn has_begun(&self) -> bool {
        !self.spans.is_empty()
    }

    /// Values reported by trials whose course counts: those whose result does, and those that are under way.
    pub fn reports_that_count(&self) -> impl Iterator<Item = &Report> {
        self.reports.iter().filter(|report| report.is_current || self.numbers.contains(&report.trial))
    }

    /// Whether the trials there are and those of this plan learn from the same file. A search of the user's own begins
    /// anew, and so does one that has trained nothing.
    ///
    /// # Errors
    /// They do not.
    pub fn check_dataset(&self, plan: &RunPlan) -> Result<(), Failure> {
        let (Some(before), Some(now)) = (self.bound_to(), &plan.dataset) else { return Ok(()) };
        if plan.search().is_none() || before == now.sha256 {
            return Ok(());
        }
        let message = format!(
            "at `dataset_id`: data set \"{}\" was replaced: the run was begun with the one with SHA-256 {before}, \
             and now it is {}; put the old file back, or request a new run",
            now.name, now.sha256
        );
        Err(Failure::new(FailureClass::Validation, Stage::Validate, message))
    }

    /// The data set the run has to go on with: that of its trials, or, once it was announced, the one it was announced
    /// with, because nobody announces it again.
    fn bound_to(&self) -> Option<&str> {
        let is_bound = self.is_opened || !self.trials.is_empty();
        self.dataset_sha256.as_deref().filter(|_| is_bound)
    }

    /// How long earlier attempts of this epoch have worked on the run.
    pub fn active(&self) -> Duration {
        let micros =
            |(from, to): &(Timestamp, Timestamp)| (to.micros() - from.micros()).max(0).unsigned_abs();
        Duration::from_micros(self.spans.values().map(micros).sum())
    }

    /// Workers that were lost over the run since anything came of it, as of an attempt; `losses` of that kind in all.
    pub fn losses_in_a_row(&self, attempt: u32, losses: u32) -> u32 {
        attempt.saturating_sub(1).saturating_sub(self.last_fruitful).min(losses)
    }

    /// The record of a run is opened once an epoch, which its id names; a stranger's has none.
    fn note_opening(&mut self, event: &Event, headers: &Headers, reading: &Reading<'_>) {
        let Event::MlRunStarted(opening) = event else { return };
        let id = headers.get(header::MESSAGE_ID);
        let is_of = |epoch| id.is_some_and(|id| id == event.message_id(reading.run, 0, epoch));
        self.is_opened |= is_of(reading.epoch) || (id.is_none() && reading.epoch == 0);
        // What was trained in an earlier epoch counts, and so does what it was trained on.
        if self.trials.is_empty() && (0..=reading.epoch).any(is_of) {
            self.dataset_sha256 = opening.extra.0[DATASET_SHA256].as_str().map(str::to_owned);
        }
    }

    fn take(&mut self, event: Event, time: Timestamp, reading: &Reading<'_>) {
        if event.attempt().is_some_and(|attempt| attempt >= reading.attempt) {
            return;
        }
        let attempt = event.attempt().unwrap_or(0);
        let is_current = attempt >= reading.epoch;
        if is_current {
            // Out of order is what a stranger said; it changes nothing of what the others said. Events before a restart
            // belong to a life that is over.
            let _ = self.lifecycle.apply(&event);
        }
        if is_current {
            self.note_time(&event, attempt, time);
        }
        match event {
            Event::TrialReported(trial) => self.take_trial(trial, is_current),
            Event::RunInterrupted(_) => self.last_fruitful = self.last_fruitful.max(attempt),
            Event::RunCompleted(_) | Event::RunFailed(_) | Event::RunCancelled(_) if is_current => {
                self.ended = Some(event);
            }
            Event::RunException(exception) if is_current && exception.will_retry => {
                match exception.trial_id {
                    Some(trial) => *self.tries.entry(trial).or_default() += 1,
                    None => self.run_tries += 1,
                }
            }
            Event::MetricReported(metric) if reading.reports_of == Some(metric.name.as_str()) => {
                if let Some(trial) = metric.trial_id.number_in(reading.run) {
                    self.reports.push(Report { trial, step: metric.step, value: metric.value.0, is_current });
                }
            }
            Event::RunStarted(_)
            | Event::RunCompleted(_)
            | Event::RunFailed(_)
            | Event::RunCancelled(_)
            | Event::RunRequested(_)
            | Event::RunCancelRequested(_)
            | Event::MlRunStarted(_)
            | Event::MlRunFinalized(_)
            | Event::MetricReported(_)
            | Event::RunException(_) => {}
        }
    }

    fn take_trial(&mut self, trial: TrialReported, is_current: bool) {
        let Some(number) = trial.number.map(u64::from) else { return };
        self.last_fruitful = self.last_fruitful.max(trial.attempt.unwrap_or(0));
        let has_result = !matches!(trial.status, TrialStatus::Failed | TrialStatus::Cancelled);
        if (is_current || has_result) && self.numbers.insert(number) {
            self.trials.push((number, trial));
        }
    }

    fn note_time(&mut self, event: &Event, attempt: u32, time: Timestamp) {
        if matches!(event, Event::RunStarted(_)) {
            self.spans.insert(attempt, (time, time));
        } else if let Some((_, last)) = self.spans.get_mut(&attempt) {
            *last = (*last).max(time);
        }
    }
}

/// The event, when it is one of this run; others are skipped by their header before they are decoded.
fn event_of(kept: &Kept, run: &RunId) -> Option<Event> {
    let header = kept.headers.get(header::RUN_ID);
    if header.is_some_and(|id| id != run.as_str()) {
        return None;
    }
    let decoded = kept.decode().ok()?;
    (decoded.event.run_id() == Some(run)).then_some(decoded.event)
}

/// What the search learns from a trial.
pub fn evaluation_of(trial: &TrialReported, objective: &str) -> (Evaluation, Option<Failure>) {
    let parameters = trial.parameters.0.as_object().cloned().unwrap_or_default();
    let evaluation = Evaluation {
        status: search_status(trial.status),
        objective: trial.metrics.get(objective).and_then(|value| value.finite()),
        parameters,
    };
    (evaluation, trial.failure.clone())
}

/// The objective of a trial, if it succeeded and the value is a number one can compare.
pub fn usable_objective_of(trial: &TrialReported, objective: &str) -> Option<f64> {
    let value = trial.metrics.get(objective).and_then(|value| value.finite());
    value.filter(|_| trial.status == TrialStatus::Succeeded)
}

#[cfg(test)]
mod tests {
    use schemas::event::{MlRunStarted, RunInterrupted, RunStarted};

    use super::*;

    fn run() -> RunId {
        RunId::parse("r").unwrap()
    }

    fn reading(run: &RunId, epoch: u32) -> Reading<'_> {
        Reading { run, first_sequence: 1, attempt: 9, epoch, reports_of: None }
    }

    fn trial(number: u32, attempt: u32, status: TrialStatus) -> Event {
        let mut trial = TrialReported::new(run(), TrialId::numbered(&run(), number.into()), status);
        trial.number = Some(number);
        trial.attempt = Some(attempt);
        trial.into()
    }

    fn started(attempt: u32) -> Event {
        RunStarted {
            run_id: run(),
            attempt,
            worker_id: "w".to_owned(),
            dataset_id: "digits".to_owned(),
            objective: "accuracy".to_owned(),
            resumed_trials: 0,
        }
        .into()
    }

    fn taken(events: impl IntoIterator<Item = (i64, Event)>, epoch: u32) -> Checkpoint {
        let (run, mut checkpoint) = (run(), Checkpoint::default());
        for (seconds, event) in events {
            checkpoint.take(event, Timestamp::from_micros(seconds * 1_000_000), &reading(&run, epoch));
        }
        checkpoint
    }

    #[test]
    fn trials_of_every_attempt_count_until_a_restart_forgets_what_failed() {
        let events = [
            trial(0, 1, TrialStatus::Succeeded),
            trial(1, 1, TrialStatus::Failed),
            trial(2, 2, TrialStatus::Failed),
        ]
        .map(|event| (0, event));
        let numbers = |checkpoint: Checkpoint| -> Vec<u64> {
            checkpoint.trials.into_iter().map(|(number, _)| number).collect()
        };
        assert_eq!(numbers(taken(events.clone(), 0)), [0, 1, 2]);
        assert_eq!(numbers(taken(events, 2)), [0, 2]);
    }

    fn opened(checkpoint: &mut Checkpoint, epoch: u32, at: u32, sha256: &str) {
        let body = serde_json::json!({"run_id": "r", "timestamp": "2026-01-01T00:00:00Z",
            "extra": {DATASET_SHA256: sha256}});
        let event: Event = serde_json::from_value::<MlRunStarted>(body).unwrap().into();
        let run = run();
        let id = event.message_id(&run, 0, at);
        let mut headers = Headers::default();
        headers.push(header::MESSAGE_ID, id);
        checkpoint.note_opening(&event, &headers, &reading(&run, epoch));
    }

    #[test]
    fn the_data_set_of_a_run_is_the_one_its_first_trial_was_trained_on() {
        let mut checkpoint = Checkpoint::default();
        opened(&mut checkpoint, 3, 0, "a");
        opened(&mut checkpoint, 3, 2, "b");
        assert_eq!(checkpoint.dataset_sha256.as_deref(), Some("b"), "nothing was trained on the first");
        assert_eq!(checkpoint.bound_to(), None, "of earlier epochs, with nothing trained");
        let mut announced = Checkpoint::default();
        opened(&mut announced, 2, 2, "a");
        assert_eq!(announced.bound_to(), Some("a"), "what is announced is not announced again");
        opened(&mut checkpoint, 3, 9, "stranger");
        checkpoint.trials = taken([(0, trial(0, 2, TrialStatus::Succeeded))], 0).trials;
        opened(&mut checkpoint, 3, 3, "c");
        assert_eq!(checkpoint.dataset_sha256.as_deref(), Some("b"));
        assert!(checkpoint.is_opened);
    }

    #[test]
    fn the_time_of_a_run_is_that_of_its_attempts_and_not_the_time_between_them() {
        let events = [
            (10, started(1)),
            (14, trial(0, 1, TrialStatus::Succeeded)),
            (1000, started(2)),
            (1003, trial(1, 2, TrialStatus::Succeeded)),
        ];
        assert_eq!(taken(events, 0).active(), Duration::from_secs(7));
    }

    #[test]
    fn losses_in_a_row_begin_anew_with_a_trial_and_with_an_attempt_that_was_stopped_in_order() {
        let lost = |events: Vec<Event>| taken(events.into_iter().map(|event| (0, event)), 0);
        let fruitless = lost(vec![started(1), started(2), started(3)]);
        assert_eq!(fruitless.losses_in_a_row(4, 3), 3);
        assert_eq!(fruitless.losses_in_a_row(4, 1), 1, "the others were no losses");
        let fruitful = lost(vec![started(1), started(2), trial(0, 2, TrialStatus::Failed), started(3)]);
        assert_eq!(fruitful.losses_in_a_row(4, 3), 1);
        let stopped: Event =
            RunInterrupted { run_id: run(), attempt: 3, reason: None, completed_trials: 0, duration_ms: 0 }
                .into();
        assert_eq!(lost(vec![started(1), started(2), started(3), stopped]).losses_in_a_row(4, 2), 0);
    }
}
