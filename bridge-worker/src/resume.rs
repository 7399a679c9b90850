//! What earlier attempts of a run have left on the stream: the checkpoint.

use std::collections::BTreeMap;

use schemas::event::{TrialReported, TrialStatus};
use schemas::lifecycle::RunState;
use schemas::subject::STREAM;
use schemas::{Event, Failure, RunId};
use search::Evaluation;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::history::{History, Kept};

use crate::supervisor::search_status;

/// Subjects an attempt has to know of: the trials, and what must not be said twice.
const SUBJECTS: [&str; 5] = [
    "ml.run.start",
    "ml.run.trial",
    "cerebros.nas.run.completed",
    "cerebros.nas.run.failed",
    "cerebros.nas.run.cancelled",
];

/// What earlier attempts have said.
#[derive(Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// The trials that are over, by number.
    pub trials: BTreeMap<u64, TrialReported>,
    /// True when the record of the run was opened.
    pub is_opened: bool,
    /// How the run ended, when an attempt announced it and was lost before it could record it.
    pub ended: Option<RunState>,
}

impl Checkpoint {
    /// Reads the events of a run from `first_sequence` to the present. Of attempts before `epoch`, only trials that
    /// succeeded count.
    pub async fn read(
        broker: &Broker,
        run: &RunId,
        first_sequence: u64,
        epoch: u32,
    ) -> Result<Self, CliError> {
        let mut history = History::to_the_present(broker, STREAM, &SUBJECTS, first_sequence).await?;
        let mut checkpoint = Self::default();
        while let Some(kept) = history.next().await? {
            if let Some(event) = event_of(&kept, run) {
                checkpoint.take(event, epoch);
            }
        }
        Ok(checkpoint)
    }

    fn take(&mut self, event: Event, epoch: u32) {
        let is_current = |attempt: u32| attempt >= epoch;
        match event {
            Event::TrialReported(trial) => {
                let Some(number) = trial.number else { return };
                if is_current(trial.attempt.unwrap_or(0)) || trial.status == TrialStatus::Succeeded {
                    self.trials.entry(number.into()).or_insert(trial);
                }
            }
            Event::MlRunStarted(_) => self.is_opened = epoch == 0,
            Event::RunCompleted(end) if is_current(end.attempt) => self.ended = Some(RunState::Completed),
            Event::RunFailed(end) if is_current(end.attempt) => self.ended = Some(RunState::Failed),
            Event::RunCancelled(end) if is_current(end.attempt) => self.ended = Some(RunState::Cancelled),
            Event::RunCompleted(_)
            | Event::RunFailed(_)
            | Event::RunCancelled(_)
            | Event::RunRequested(_)
            | Event::RunCancelRequested(_)
            | Event::RunStarted(_)
            | Event::RunInterrupted(_)
            | Event::MlRunFinalized(_)
            | Event::MetricReported(_)
            | Event::RunException(_) => {}
        }
    }
}

/// The event, when it is one of this run; others are skipped by their header before they are decoded.
fn event_of(kept: &Kept, run: &RunId) -> Option<Event> {
    let header = kept.headers.get(schemas::cloudevents::header::RUN_ID);
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

#[cfg(test)]
mod tests {
    use schemas::TrialId;

    use super::*;

    fn trial(number: u32, attempt: u32, status: TrialStatus) -> Event {
        let run = RunId::parse("r").unwrap();
        let mut trial = TrialReported::new(run.clone(), TrialId::numbered(&run, number.into()), status);
        trial.number = Some(number);
        trial.attempt = Some(attempt);
        trial.into()
    }

    #[test]
    fn trials_of_every_attempt_count_until_a_restart_forgets_what_failed() {
        let events = [
            trial(0, 1, TrialStatus::Succeeded),
            trial(1, 1, TrialStatus::Failed),
            trial(2, 2, TrialStatus::Failed),
        ];
        let mut all = Checkpoint::default();
        let mut restarted = Checkpoint::default();
        for event in events {
            all.take(event.clone(), 0);
            restarted.take(event, 2);
        }
        assert_eq!(all.trials.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(restarted.trials.keys().copied().collect::<Vec<_>>(), [0, 2]);
    }
}
