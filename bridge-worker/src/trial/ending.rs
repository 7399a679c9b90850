//! The ways a trial ends, or is left to a later attempt. The supervisor is told of an end only when its event is durable.

use std::sync::atomic::Ordering;

use schemas::event::{ArtifactRef, RunException, TrialStatus};
use schemas::{Event, Failure, FailureClass, Stage, Timestamp, TrialId};

use super::Trial;
use crate::announce::Unsaid;
use crate::artifacts::Announced;
use crate::child::protocol::CallResult;
use crate::conversation::stopped;
use crate::resume::evaluation_of;
use crate::supervisor::{Input, Stop};
use crate::workdir::Workdir;

impl Trial {
    pub(super) async fn publish(
        &self,
        id: &TrialId,
        started_at: Timestamp,
        (result, files): (Result<CallResult, Failure>, Vec<Announced>),
        workdir: Workdir,
    ) -> Input {
        let number = self.proposal.number;
        let mut report = self.report(id, started_at, result);
        if report.status == TrialStatus::Failed && !self.may_fail() {
            report.status = TrialStatus::Cancelled;
            report.failure = None;
        }
        let objective = report.metrics.get(&self.plan.request.objective).and_then(|value| value.finite());
        let is_best = report.status == TrialStatus::Succeeded
            && objective.is_some_and(|objective| self.best.offer(self.plan.direction, objective));
        let mut kept_warnings = Vec::new();
        if is_best {
            let mut stop = self.stop.clone();
            let kept = tokio::select! {
                biased;
                how = stopped(&mut stop) => {
                    self.best.leave_behind();
                    if how == Stop::Dropped {
                        return Input::Dropped { number };
                    }
                    report.warnings.push("its files were not kept: the run was stopped".to_owned());
                    Vec::new()
                }
                kept = self.keep(id, workdir.path(), &files, &mut kept_warnings) => kept,
            };
            report.warnings.append(&mut kept_warnings);
            report.artifact_uri = kept.first().map(|file| file.uri.clone());
            report.artifact_refs.clone_from(&kept);
            self.best.keep(number, kept);
        }
        drop(workdir);
        let (evaluation, failure) = evaluation_of(&report, &self.plan.request.objective);
        let mut events: Vec<Event> = Vec::with_capacity(2);
        if let Some(failure) = &failure {
            events.push(self.exception(Some(id.clone()), failure).into());
        }
        events.push(report.into());
        match self.announcer.say(&events).await {
            Ok(()) => Input::Ended { number, evaluation, failure },
            Err(error) => unsaid(number, &error),
        }
    }

    /// Whether the run may have one more failed trial. When it may not, it is over because of those before, and what ends
    /// meanwhile ends with it.
    fn may_fail(&self) -> bool {
        self.failures_left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1))
            .is_ok()
    }

    async fn keep(
        &self,
        id: &TrialId,
        workdir: &std::path::Path,
        files: &[Announced],
        warnings: &mut Vec<String>,
    ) -> Vec<ArtifactRef> {
        let mut kept = Vec::new();
        for file in files {
            match self.artifacts.keep(&self.plan.run_id, id, workdir, file).await {
                Ok(artifact) => kept.push(artifact),
                Err(error) => {
                    tracing::warn!(run = %self.plan.run_id, trial = %id, %error, "artefact not kept");
                    warnings.push(error.to_string());
                }
            }
        }
        kept
    }

    /// What was training gets its terminal event, unless a later attempt is to train it.
    pub(super) async fn stopped_between_tries(
        &self,
        id: &TrialId,
        started_at: Timestamp,
        how: Stop,
    ) -> Input {
        if how == Stop::Dropped {
            return Input::Dropped { number: self.proposal.number };
        }
        let failure = Failure::new(FailureClass::Cancelled, Stage::Execute, "the run was stopped");
        let report = self.report(id, started_at, Err(failure));
        let (evaluation, failure) = evaluation_of(&report, &self.plan.request.objective);
        match self.announcer.say(&[report.into()]).await {
            Ok(()) => Input::Ended { number: self.proposal.number, evaluation, failure },
            Err(error) => unsaid(self.proposal.number, &error),
        }
    }

    /// There is no child, or no place for it to work: nothing can be trained here, so the run is given back and says why.
    pub(super) async fn cannot_begin(&self, id: &TrialId, failure: Failure) -> Input {
        let exception = RunException { will_retry: true, ..self.exception(Some(id.clone()), &failure) };
        match self.announcer.say(&[exception.into()]).await {
            Ok(()) => Input::HandBack { reason: failure.message },
            Err(error) => unsaid(self.proposal.number, &error),
        }
    }
}

pub(super) fn unsaid(number: u64, error: &Unsaid) -> Input {
    match error {
        Unsaid::Silenced | Unsaid::Unheard => Input::Dropped { number },
        Unsaid::Order(order) => {
            tracing::error!(number, %order, "an event out of order was withheld");
            Input::Dropped { number }
        }
        Unsaid::Refused(refusal) => {
            let message = format!("trial {number} could not be published: {refusal}");
            Input::Abort(Failure::new(FailureClass::Unknown, Stage::Publish, message))
        }
    }
}
