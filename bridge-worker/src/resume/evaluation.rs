//! What a trial that is over means to the search.

use schemas::Failure;
use schemas::event::{TrialReported, TrialStatus};
use search::Evaluation;

use crate::supervisor::search_status;

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
