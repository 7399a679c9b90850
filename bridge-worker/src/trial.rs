//! One trial in one slot: the call, what it reports on the way, and the event it ends with.

mod call;

use std::sync::Arc;

use schemas::event::{ArtifactRef, RunException, TrialReported, TrialStatus};
use schemas::{Event, Failure, FailureClass, Json, Real, Stage, Timestamp, TrialId};
use search::Proposal;
use service_kit::clock;
use tokio::sync::watch;

use crate::announce::{Announcer, Unsaid};
use crate::artifacts::{Announced, Artifacts};
use crate::best::BestSoFar;
use crate::child::protocol::CallResult;
use crate::plan::RunPlan;
use crate::resume::evaluation_of;
use crate::slots::Slots;
use crate::supervisor::{Input, Stop};
use crate::workdir::{Workdir, Workdirs};

use call::{Conversation, Outcome};

/// What a trial needs.
pub struct Trial {
    /// The run it belongs to.
    pub plan: Arc<RunPlan>,
    /// What to train.
    pub proposal: Proposal,
    /// Attempt of the run.
    pub attempt: u32,
    /// Who trains.
    pub worker_id: Arc<str>,
    /// Speaks for the attempt.
    pub announcer: Arc<Announcer>,
    /// Where to train.
    pub slots: Arc<Slots>,
    /// Where files go.
    pub artifacts: Artifacts,
    /// Directories for trials to work in.
    pub workdirs: Arc<Workdirs>,
    /// Says when to stop.
    pub stop: watch::Receiver<Option<Stop>>,
    /// The best objective that is durable so far; decides whether files are worth keeping.
    pub best: Arc<BestSoFar>,
}

impl Trial {
    /// Trains the candidate, publishes what came of it, and tells the supervisor once that is durable.
    pub async fn run(self) -> Input {
        let number = self.proposal.number;
        let mut stop = self.stop.clone();
        let id = TrialId::numbered(&self.plan.run_id, number);
        let mut lease = tokio::select! {
            biased;
            _ = stopped(&mut stop) => return Input::Dropped { number },
            lease = self.slots.acquire() => lease,
        };
        let workdir = match self.workdirs.take() {
            Ok(workdir) => workdir,
            Err(failure) => return Input::Abort(failure),
        };
        let started_at = clock::now();
        let conversation = Conversation::new(&self, &id, workdir.path());
        let outcome = conversation.hold(&mut lease, &mut stop).await;
        let outcome = match outcome {
            Outcome::Dropped => return Input::Dropped { number },
            Outcome::Unsaid(error) => return unsaid(number, &error),
            Outcome::NoChild(failure) => return self.without_child(&id, failure).await,
            Outcome::Over { result, files } => (result, files),
        };
        // The slot is free for the next trial while this one's files and events are on their way.
        drop(lease);
        self.publish(&id, started_at, outcome, workdir).await
    }

    async fn publish(
        &self,
        id: &TrialId,
        started_at: Timestamp,
        (result, files): (Result<CallResult, Failure>, Vec<Announced>),
        workdir: Workdir,
    ) -> Input {
        let number = self.proposal.number;
        let mut report = self.report(id, started_at, result);
        let objective = report.metrics.get(&self.plan.request.objective).and_then(|value| value.finite());
        let is_best = report.status == TrialStatus::Succeeded
            && objective.is_some_and(|objective| self.best.offer(self.plan.direction, objective));
        if is_best {
            let kept = self.keep(id, workdir.path(), &files, &mut report.warnings).await;
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

    fn report(
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

    fn exception(&self, trial_id: Option<TrialId>, failure: &Failure) -> RunException {
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

    /// No child could be started: nothing can be trained here, so the run ends and says why.
    async fn without_child(&self, id: &TrialId, failure: Failure) -> Input {
        let event = self.exception(Some(id.clone()), &failure).into();
        match self.announcer.say(&[event]).await {
            Ok(()) => Input::Abort(failure),
            Err(error) => unsaid(self.proposal.number, &error),
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

/// Resolves when the run wants its trials stopped.
async fn stopped(stop: &mut watch::Receiver<Option<Stop>>) -> Stop {
    match stop.wait_for(Option::is_some).await {
        Ok(stop) => stop.expect("waited for a stop"),
        // The run is gone; so is whoever would listen.
        Err(_) => Stop::Dropped,
    }
}

fn unsaid(number: u64, error: &Unsaid) -> Input {
    match error {
        Unsaid::Silenced => Input::Dropped { number },
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
