//! The events a trial has of its own: the one it ends with, and the exception that says what failed.

use schemas::event::{RunException, TrialReported, TrialStatus};
use schemas::{Event, Failure, FailureClass, Json, Real, Stage, Timestamp, TrialId};
use service_kit::clock;

use super::Trial;
use crate::child::protocol::CallResult;

impl Trial {
    pub(super) fn report(
        &self,
        id: &TrialId,
        started_at: Timestamp,
        result: Result<CallResult, Failure>,
    ) -> TrialReported {
        let finished_at = clock::now();
        let request = &self.plan.request;
        let parents = self.proposal.candidate.parents.iter();
        let mut report = TrialReported {
            number: u32::try_from(self.proposal.number).ok(),
            attempt: Some(self.attempt),
            pulse_id: request.pulse_id.clone(),
            candidate_id: Some(self.proposal.candidate.id.clone()),
            parent_ids: parents
                .map(|parent| TrialId::numbered(&self.plan.run_id, *parent).to_string())
                .collect(),
            parameters: Json(self.proposal.candidate.parameters.clone().into()),
            seed: Some(self.proposal.seed.into()),
            started_at: Some(started_at),
            finished_at: Some(finished_at),
            duration_ms: Some((finished_at.micros() - started_at.micros()).max(0) / 1000),
            worker_id: Some(self.worker_id.to_string()),
            ..TrialReported::new(self.plan.run_id.clone(), id.clone(), TrialStatus::Failed)
        };
        match result {
            Err(failure) => {
                let is_cancel = failure.class == FailureClass::Cancelled;
                report.status = if is_cancel { TrialStatus::Cancelled } else { TrialStatus::Failed };
                report.failure = (!is_cancel).then_some(failure);
            }
            Ok(result) => fill(&mut report, result),
        }
        sayable(report)
    }

    pub(super) fn exception(&self, trial_id: Option<TrialId>, failure: &Failure) -> RunException {
        RunException {
            run_id: self.plan.run_id.clone(),
            attempt: self.attempt,
            trial_id,
            op: Some("train".to_owned()),
            failure: failure.clone(),
            will_retry: false,
            next_attempt_in_ms: None,
        }
    }
}

/// Takes what the child measured.
fn fill(report: &mut TrialReported, result: CallResult) {
    report.status = result.status;
    report.metrics = result.metrics;
    report.warnings = result.warnings;
    report.spectral_norm = result.spectral_norm;
    report.spectral_norm_value = result.spectral_norm_value.filter(|Real(value)| value.is_finite());
    report.failure = result.failure.map(|failure| {
        let mut told = Failure::new(failure.class(), Stage::Execute, failure.message.as_str())
            .with_traceback(failure.traceback.as_deref());
        told.retryable = failure.retryable;
        told
    });
    if report.status == TrialStatus::Failed && report.failure.is_none() {
        let failure =
            Failure::new(FailureClass::UserCode, Stage::Execute, "the trial failed without saying why");
        report.failure = Some(failure);
    }
}

/// A result no event can say (a metric without a name, a value out of range) fails its trial, not its run.
fn sayable(mut report: TrialReported) -> TrialReported {
    let Err(invalid) = Event::from(report.clone()).validate() else { return report };
    let message = format!("the trainer returned what no event can say, {invalid}");
    report.status = TrialStatus::Failed;
    report.failure = Some(Failure::new(FailureClass::UserCode, Stage::Execute, message));
    report.metrics.clear();
    report.warnings.clear();
    report
}
