//! What is said at the end of an attempt, and written down.
//!
//! Pure. Exactly one terminal event ends a run; the machine-learning record, where it was opened, is closed with it.

use std::collections::BTreeMap;

use schemas::event::{FinalStatus, MlRunFinalized, RunCancelled, RunCompleted, RunFailed, RunInterrupted};
use schemas::lifecycle::RunState;
use schemas::{Event, Failure, FailureClass, Json, Real};
use service_kit::clock;
use service_kit::registry::RunRecord;

use crate::account::Account;
use crate::asked::Asked;
use crate::halt::Halt;
use crate::opaque::Told;

/// The end of an attempt.
#[derive(Debug)]
pub(crate) struct Said {
    /// What becomes of the run.
    pub(crate) state: RunState,
    /// What is announced, in order.
    pub(crate) events: Vec<Event>,
    ended_by: Option<String>,
    failure: Option<Failure>,
}

impl Said {
    /// The record with how the run ended.
    pub(crate) fn fill(&self, record: RunRecord) -> RunRecord {
        RunRecord { ended_by: self.ended_by.clone(), failure: self.failure.clone(), ..record }
    }
}

/// The end of a run that completed; `status` is `succeeded`, or the budget that ended it early.
pub(crate) fn completed(asked: &Asked, record: &RunRecord, account: &Account, status: &str) -> Said {
    let history = account.told.as_ref().map_or(&account.history, |told| &told.population_history);
    let event = RunCompleted {
        run_id: record.run_id.clone(),
        attempt: record.attempt,
        status: status.to_owned(),
        completed_trials: account.completed,
        failed_trials: account.failed,
        best_trial_id: account.best_trial_id(&record.run_id),
        best_metric: account.best_metric().map(Real),
        best_model: Json(account.best_model()),
        population_history: Json(history.clone()),
        duration_ms: millis(account),
        artifact_refs: account.files.clone(),
    };
    Said {
        state: RunState::Completed,
        events: closed(asked, record, account, FinalStatus::Succeeded, event.into()),
        ended_by: Some(ended_by(status).to_owned()),
        failure: None,
    }
}

/// The end an earlier attempt has said already.
pub(crate) fn remembered(event: &Event) -> Option<Said> {
    let said = |state, ended_by: &str, failure| {
        Some(Said { state, events: Vec::new(), ended_by: Some(ended_by.to_owned()), failure })
    };
    match event {
        Event::RunCompleted(end) => said(RunState::Completed, ended_by(&end.status), None),
        Event::RunFailed(end) => {
            let ended_by = budget_in(&end.failure.message).unwrap_or(end.failure.class.as_str());
            said(RunState::Failed, ended_by, Some(end.failure.clone()))
        }
        Event::RunCancelled(_) => said(RunState::Cancelled, "cancelled", None),
        Event::RunRequested(_)
        | Event::RunCancelRequested(_)
        | Event::RunStarted(_)
        | Event::RunInterrupted(_)
        | Event::MlRunStarted(_)
        | Event::MlRunFinalized(_)
        | Event::TrialReported(_)
        | Event::MetricReported(_)
        | Event::RunException(_) => None,
    }
}

/// The budget that ended a run, as the message of its failure names it: the event has no field of its own for that.
fn budget_in(message: &str) -> Option<&'static str> {
    // What follows are the words of a trial, which may say anything.
    let ours = message.split_once("; the last: ").map_or(message, |(ours, _)| ours);
    ["max_failed_trials", "max_consecutive_failures", "max_seconds"]
        .into_iter()
        .find(|budget| ours.contains(&format!("(budget.{budget})")))
}

/// What ended a run that completed with a status.
fn ended_by(status: &str) -> &str {
    if status == "succeeded" { "max_trials" } else { status }
}

/// The end of an attempt that was halted.
pub(crate) fn undone(halt: &Halt, asked: &Asked, record: &RunRecord, account: &Account) -> Said {
    let (run_id, attempt, duration_ms) = (record.run_id.clone(), record.attempt, millis(account));
    let completed_trials = account.completed;
    match halt {
        Halt::Failed { failure, budget, .. } => {
            let failure = (**failure).clone();
            let status = if failure.class == FailureClass::TimeoutRun {
                FinalStatus::Timeout
            } else {
                FinalStatus::Failed
            };
            let ended_by = budget.map_or_else(|| failure.class.to_string(), str::to_owned);
            let event =
                RunFailed { run_id, attempt, failure: failure.clone(), completed_trials, duration_ms };
            Said {
                state: RunState::Failed,
                events: closed(asked, record, account, status, event.into()),
                ended_by: Some(ended_by),
                failure: Some(failure),
            }
        }
        Halt::Cancelled { reason } => {
            let reason = reason.clone();
            let event = RunCancelled { run_id, attempt, reason, completed_trials, duration_ms };
            Said {
                state: RunState::Cancelled,
                events: closed(asked, record, account, FinalStatus::Cancelled, event.into()),
                ended_by: Some("cancelled".to_owned()),
                failure: None,
            }
        }
        Halt::Again { reason, .. } => {
            let reason = Some(reason.clone());
            let event = RunInterrupted { run_id, attempt, reason, completed_trials, duration_ms };
            Said { state: RunState::Interrupted, events: vec![event.into()], ended_by: None, failure: None }
        }
        Halt::Over | Halt::Refused(_) | Halt::Stale | Halt::Died => {
            Said { state: record.state, events: Vec::new(), ended_by: None, failure: None }
        }
    }
}

/// The record's end, if it has a beginning, then the run's.
fn closed(
    asked: &Asked,
    record: &RunRecord,
    account: &Account,
    status: FinalStatus,
    end: Event,
) -> Vec<Event> {
    let mut events = Vec::with_capacity(2);
    if account.is_opened {
        events.push(finalized(asked, record, account, status).into());
    }
    events.push(end);
    events
}

fn finalized(asked: &Asked, record: &RunRecord, account: &Account, status: FinalStatus) -> MlRunFinalized {
    let request = &asked.request;
    let best = account.best_metric();
    let metrics: BTreeMap<String, Real> =
        best.map(|best| (request.objective.clone(), Real(best))).into_iter().collect();
    MlRunFinalized {
        run_id: record.run_id.clone(),
        status,
        timestamp: clock::now(),
        pulse_id: request.pulse_id.clone(),
        correlation_id: request.correlation_id.clone().or_else(|| Some(record.run_id.to_string())),
        metrics,
        best_trial_id: account.best_trial_id(&record.run_id),
        duration_ms: Some(millis(account)),
        returncode: account.told.as_ref().map(|_| 0),
        artifact_refs: account.files.clone(),
        warnings: account.warnings.clone(),
        stdout_excerpt: account.printed.clone(),
        payload: account.told.as_ref().map_or_else(Json::object, payload),
    }
}

/// What a search that is not ours tells, as far as no other field has it.
pub(crate) fn payload(told: &Told) -> Json {
    Json(serde_json::json!({
        "best_model": told.best_model,
        "best_metric": told.best_metric,
        "completed_trials": told.completed_trials,
        "population_history": told.population_history,
        "artifacts": told.artifacts,
        "metadata": told.metadata,
    }))
}

fn millis(account: &Account) -> i64 {
    i64::try_from(account.took.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_was_said_but_not_written_is_remembered_with_the_budget_that_ended_it() {
        let ended_by = |class, message: &str| {
            let event = RunFailed {
                run_id: schemas::RunId::parse("r").unwrap(),
                attempt: 1,
                failure: Failure::new(class, schemas::Stage::Execute, message),
                completed_trials: 3,
                duration_ms: 5,
            };
            remembered(&event.into()).unwrap().ended_by.unwrap()
        };
        let failed = "3 trials failed (budget.max_failed_trials); the last: no money (budget.max_seconds)";
        assert_eq!(ended_by(FailureClass::UserCode, failed), "max_failed_trials");
        let none = "none of 2 trials succeeded; the last: no money (budget.max_seconds)";
        assert_eq!(ended_by(FailureClass::UserCode, none), "user_code");
        let late = "the run's time (budget.max_seconds) was up before any trial succeeded";
        assert_eq!(ended_by(FailureClass::TimeoutRun, late), "max_seconds");
    }
}
