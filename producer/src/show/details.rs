//! A run, laid open: what `show -o json` prints.

use std::collections::BTreeMap;

use schemas::event::{TrialReported, TrialStatus};
use schemas::{Failure, Json, Real, TrialId};
use serde::Serialize;
use serde_json::Value;
use service_kit::births::of_run::Family;
use service_kit::registry::RunRecord;

use super::ending;
use crate::progress::{Progress, objective_of};
use crate::runs::{Run, RunRow};

/// A run, laid open.
#[derive(Debug, Serialize)]
pub(super) struct Details {
    #[serde(flatten)]
    pub(super) row: RunRow,
    pub(super) spec: Value,
    pub(super) failures: u32,
    pub(super) interruptions: u32,
    pub(super) worker_losses: u32,
    /// Trials under way, as its worker has last written down.
    pub(super) running_trials: u32,
    /// Trials that may be under way at once.
    pub(super) parallelism: Option<u32>,
    pub(super) ended_by: Option<String>,
    /// The same in words, if it is a word we know.
    pub(super) ended_because: Option<String>,
    pub(super) failure: Option<Failure>,
    pub(super) cancel_requested: Option<String>,
    pub(super) mlflow_run_id: Option<String>,
    /// Page of that run for people.
    pub(super) mlflow_url: Option<String>,
    pub(super) trials: Vec<Trial>,
}

/// One trial of it.
#[derive(Debug, Serialize)]
pub(super) struct Trial {
    pub(super) trial_id: TrialId,
    pub(super) number: Option<u32>,
    pub(super) status: TrialStatus,
    pub(super) objective: Option<Real>,
    pub(super) attempt: Option<u32>,
    pub(super) duration_ms: Option<i64>,
    pub(super) failure_class: Option<String>,
    pub(super) failure_message: Option<String>,
    /// All that is known of why it failed, with what its process printed last.
    pub(super) failure: Option<Failure>,
    pub(super) parameters: Json,
    pub(super) mlflow_run_id: Option<String>,
}

/// What the events say of the end, if it is the end.
#[derive(Debug, Default)]
pub(super) struct Last {
    pub(super) failure: Option<Failure>,
    /// Why somebody asked for it.
    pub(super) reason: Option<String>,
}

impl Details {
    /// What the registry knows counts; where no worker of ours left a record, only the events tell.
    pub(super) fn of(
        run: &Run,
        progress: &Progress,
        trials: BTreeMap<TrialId, TrialReported>,
        last: Last,
        family: &Family,
    ) -> Self {
        let record = match run {
            Run::Known(record, _) => Some(record),
            Run::Asked(_) => None,
        };
        let mut row = run.row();
        if record.is_none() {
            row.state = progress.state;
            row.attempt = progress.attempt;
            (row.completed_trials, row.failed_trials) = (progress.done, progress.failed);
            row.best_metric = progress.best.map(Real);
            row.best_trial_id = progress.best_trial.as_ref().map(|trial| trial.as_str().to_owned());
        }
        let mut trials: Vec<Trial> =
            trials.into_values().map(|trial| Trial::of(trial, &row.objective, family)).collect();
        trials.sort_by_key(|trial| trial.number);
        let (ended_by, failure) = end(run, last.failure);
        let cancel_requested = record.and_then(|record| record.cancel_requested.clone());
        let reason = last.reason.as_ref().or(cancel_requested.as_ref());
        let count = |count: fn(&RunRecord) -> u32| record.map_or(0, |record| count(record));
        Self {
            spec: run.spec(),
            failures: record.map_or(u32::from(failure.is_some()), |record| record.failures),
            interruptions: count(|record| record.interruptions),
            worker_losses: count(|record| record.worker_losses),
            running_trials: if row.state.is_final() { 0 } else { count(|record| record.running_trials) },
            parallelism: run.parallelism().map(|(number, _)| number),
            ended_because: ended_by.as_deref().and_then(|word| ending::in_words(word, reason)),
            ended_by,
            failure,
            cancel_requested,
            mlflow_run_id: record
                .and_then(|record| record.mlflow_run_id.clone())
                .or_else(|| family.run().map(str::to_owned)),
            mlflow_url: record.and_then(|record| record.mlflow_url.clone()),
            trials,
            row,
        }
    }
}

/// What ended the run, and its failure. One that is asked for again has not ended.
fn end(run: &Run, told: Option<Failure>) -> (Option<String>, Option<Failure>) {
    match run {
        Run::Known(_, Some(_)) => (None, None),
        Run::Known(record, None) => (record.ended_by.clone(), record.failure.clone().or(told)),
        Run::Asked(_) => (told.as_ref().map(|failure| failure.class.to_string()), told),
    }
}

impl Trial {
    /// The MLflow run the sink made of it counts; what the trial says itself is that of its trainer.
    fn of(trial: TrialReported, objective: &str, family: &Family) -> Self {
        Self {
            objective: objective_of(&trial, objective).map(Real),
            mlflow_run_id: family.trial(&trial.trial_id).map(str::to_owned).or(trial.mlflow_run_id),
            trial_id: trial.trial_id,
            number: trial.number,
            status: trial.status,
            attempt: trial.attempt,
            duration_ms: trial.duration_ms,
            failure_class: trial.failure.as_ref().map(|failure| failure.class.to_string()),
            failure_message: trial.failure.as_ref().map(|failure| failure.message.clone()),
            failure: trial.failure,
            parameters: trial.parameters,
        }
    }

    /// As people call it: its number, or its id if it has none.
    pub(super) fn name(&self) -> String {
        self.number.map_or_else(|| self.trial_id.to_string(), |number| number.to_string())
    }
}
