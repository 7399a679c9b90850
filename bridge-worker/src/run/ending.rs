//! The end of an attempt: the terminal events, then the registry, in this order.

use std::collections::BTreeMap;
use std::time::Duration;

use schemas::event::{FinalStatus, MlRunFinalized, RunCancelled, RunCompleted, RunFailed, RunInterrupted};
use schemas::lifecycle::RunState;
use schemas::{Event, Failure, FailureClass, Json, Real, TrialId};
use service_kit::clock;
use service_kit::registry::RunRecord;

use super::Attempt;
use crate::announce::Unsaid;
use crate::best::BestSoFar;
use crate::supervisor::{Ending, Supervisor};

/// Generations told in the terminal event; more are thinned out, so that the event stays within its limit.
const MAX_GENERATIONS: usize = 1000;

/// What becomes of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The run is over.
    Over,
    /// A later attempt goes on.
    Again,
}

impl Attempt {
    /// Announces the end and writes it down.
    pub(super) async fn end(
        &self,
        ending: Ending,
        supervisor: &Supervisor,
        best: &BestSoFar,
        took: Duration,
    ) -> Result<Outcome, Unsaid> {
        let (completed_trials, failed_trials) = supervisor.counts();
        let duration_ms = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
        let run_id = self.plan.run_id.clone();
        let attempt = self.held.record.attempt;
        let best_trial = supervisor.best();
        let best_trial_id = best_trial.map(|best| TrialId::numbered(&run_id, best.number).to_string());
        let files = best_trial.map(|trial| best.files_of(trial.number)).unwrap_or_default();
        let objective = self.plan.request.objective.clone();
        let metrics: BTreeMap<String, Real> =
            best_trial.map(|best| (objective, Real(best.objective))).into_iter().collect();
        let finalized = |status| MlRunFinalized {
            run_id: run_id.clone(),
            status,
            timestamp: clock::now(),
            pulse_id: self.plan.request.pulse_id.clone(),
            correlation_id: self.plan.request.correlation_id.clone().or_else(|| Some(run_id.to_string())),
            metrics,
            best_trial_id: best_trial_id.clone(),
            duration_ms: Some(duration_ms),
            returncode: None,
            artifact_refs: files.clone(),
            warnings: Vec::new(),
            stdout_excerpt: None,
            payload: Json::object(),
        };
        let (state, ended_by, failure, events): (_, _, _, Vec<Event>) = match ending {
            Ending::Stale => return Err(Unsaid::Silenced),
            Ending::Interrupted => {
                let reason = Some("the worker is shutting down".to_owned());
                let event =
                    RunInterrupted { run_id: run_id.clone(), attempt, reason, completed_trials, duration_ms };
                (RunState::Interrupted, None, None, vec![event.into()])
            }
            Ending::Completed { status } => {
                let event = RunCompleted {
                    run_id: run_id.clone(),
                    attempt,
                    status: status.to_owned(),
                    completed_trials,
                    failed_trials,
                    best_trial_id: best_trial_id.clone(),
                    best_metric: best_trial.map(|best| Real(best.objective)),
                    best_model: Json(
                        best_trial.map_or(serde_json::json!({}), |best| best.parameters.clone().into()),
                    ),
                    population_history: Json(history(supervisor)),
                    duration_ms,
                    artifact_refs: files.clone(),
                };
                let ended_by = if status == "succeeded" { "max_trials" } else { status };
                (
                    RunState::Completed,
                    Some(ended_by.to_owned()),
                    None,
                    vec![finalized(FinalStatus::Succeeded).into(), event.into()],
                )
            }
            Ending::Failed(failure) => {
                let status = final_status(&failure);
                let event = RunFailed {
                    run_id: run_id.clone(),
                    attempt,
                    failure: (*failure).clone(),
                    completed_trials,
                    duration_ms,
                };
                let ended_by = Some(failure.class.to_string());
                (RunState::Failed, ended_by, Some(*failure), vec![finalized(status).into(), event.into()])
            }
            Ending::Cancelled { reason } => {
                let event =
                    RunCancelled { run_id: run_id.clone(), attempt, reason, completed_trials, duration_ms };
                (
                    RunState::Cancelled,
                    Some("cancelled".to_owned()),
                    None,
                    vec![finalized(FinalStatus::Cancelled).into(), event.into()],
                )
            }
        };
        self.announcer.say(&events).await?;
        self.worker
            .record_end(&self.held, state, |record| RunRecord {
                completed_trials,
                failed_trials,
                best_metric: best_trial.map(|best| Real(best.objective)),
                best_trial_id: best_trial_id.clone(),
                ended_by: ended_by.clone(),
                failure: failure.clone(),
                last_sequence: self.announcer.last_sequence(),
                ..record
            })
            .await;
        Ok(if state.is_final() { Outcome::Over } else { Outcome::Again })
    }
}

fn final_status(failure: &Failure) -> FinalStatus {
    if failure.class == FailureClass::TimeoutRun { FinalStatus::Timeout } else { FinalStatus::Failed }
}

fn history(supervisor: &Supervisor) -> serde_json::Value {
    let generations = supervisor.history();
    let step = generations.len().div_ceil(MAX_GENERATIONS).max(1);
    let last = generations.len().saturating_sub(1);
    let told = generations.into_iter().enumerate().filter(|(index, _)| index % step == 0 || *index == last);
    let told: Vec<_> = told.map(|(_, generation)| generation).collect();
    serde_json::to_value(told).expect("generations are plain data")
}
