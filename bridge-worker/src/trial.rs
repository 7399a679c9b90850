//! One trial: its tries in slots, what it reports on the way, and the event it ends with.

mod recall;
mod report;
mod topic;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use schemas::event::{ArtifactRef, RunException, TrialStatus};
use schemas::{Event, Failure, FailureClass, Stage, Timestamp, TrialId};
use search::{Proposal, Pruning};
use service_kit::clock;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::announce::{Announcer, Unsaid};
use crate::artifacts::{Announced, Artifacts};
use crate::best::BestSoFar;
use crate::cache::ResultCache;
use crate::child::protocol::CallResult;
use crate::conversation::{Conversation, Outcome, stopped};
use crate::invocations::Invocations;
use crate::invoker::Invoker;
use crate::plan::RunPlan;
use crate::remarks::Remarks;
use crate::resume::evaluation_of;
use crate::retry::{RetryPolicy, given_up};
use crate::slots::Place;
use crate::supervisor::{Input, Stop};
use crate::vitals::Vitals;
use crate::workdir::{Workdir, Workdirs};

pub(crate) use topic::check_count;
use topic::{Told, Training};

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
    /// How Python is called.
    pub invoker: Arc<Invoker>,
    /// What the end of the run warns of.
    pub remarks: Arc<Remarks>,
    /// The run's place in the queue for slots.
    pub place: Arc<Place>,
    /// Where files go.
    pub artifacts: Artifacts,
    /// What equal trials came to.
    pub cache: Option<Arc<ResultCache>>,
    /// Directories for trials to work in.
    pub workdirs: Arc<Workdirs>,
    /// Where its child shows that it lives.
    pub vitals: Arc<Vitals>,
    /// How often what was not the trial's own fault is tried again.
    pub retries: RetryPolicy,
    /// Tries of the run's trials, this attempt's and those of earlier ones, that were to be tried again.
    pub tries: Arc<Mutex<BTreeMap<TrialId, u32>>>,
    /// What the run's trials reported, and whether going on is worth it.
    pub pruning: Arc<Mutex<Pruning>>,
    /// Failures the run may still have.
    pub failures_left: Arc<AtomicU32>,
    /// Says when to stop.
    pub stop: watch::Receiver<Option<Stop>>,
    /// The best objective that is durable so far; decides whether files are worth keeping.
    pub best: Arc<BestSoFar>,
    /// Counts the calls of children.
    pub invocations: Invocations,
}

impl Trial {
    /// Trains the candidate, publishes what came of it, and tells the supervisor once that is durable.
    pub async fn run(self) -> Input {
        let number = self.proposal.number;
        let mut stop = self.stop.clone();
        let id = TrialId::numbered(&self.plan.run_id, number);
        let started_at = clock::now();
        loop {
            let workdir = match self.workdirs.take() {
                Ok(workdir) => workdir,
                Err(failure) => return self.cannot_begin(&id, failure).await,
            };
            match self.recall(&id, workdir.path()).await {
                Some(Ok((result, files))) => {
                    return self.publish(&id, started_at, (Ok(result), files), workdir).await;
                }
                Some(Err(error)) => return unsaid(number, &error),
                None => {}
            }
            let (outcome, mut told) = self.attempt(&id, &workdir, &mut stop).await;
            let result = match outcome {
                Outcome::Dropped => {
                    let how = (*stop.borrow()).filter(|_| self.tried(&id) > 0).unwrap_or(Stop::Dropped);
                    return self.stopped_between_tries(&id, started_at, how).await;
                }
                Outcome::Unsaid(error) => return unsaid(number, &error),
                Outcome::NoChild(failure) => return self.cannot_begin(&id, failure).await,
                Outcome::Over { result, .. } => *result,
            };
            let result = result.and_then(|result| self.judge(result));
            let failure = match &result {
                Err(failure) => failure,
                Ok(success) => {
                    self.remember(&id, workdir.path(), success, &mut told).await;
                    return self.publish(&id, started_at, (result, told.files), workdir).await;
                }
            };
            let tried = self.tried(&id) + 1;
            let Some(pause) = self.retries.next(failure, tried, self.chance()) else {
                let result = result.map_err(|failure| given_up(failure, tried));
                return self.publish(&id, started_at, (result, told.files), workdir).await;
            };
            if let Err(error) = self.announce_retry(&id, failure, pause).await {
                return unsaid(number, &error);
            }
            drop(workdir);
            tokio::select! {
                biased;
                how = stopped(&mut stop) => return self.stopped_between_tries(&id, started_at, how).await,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One try, in a slot of its own. The slot is free again when this returns, while files and events of the trial are
    /// still on their way.
    async fn attempt(
        &self,
        id: &TrialId,
        workdir: &Workdir,
        stop: &mut watch::Receiver<Option<Stop>>,
    ) -> (Outcome, Told) {
        let lease = tokio::select! {
            biased;
            _ = stopped(stop) => return (Outcome::Dropped, Told::default()),
            lease = self.place.acquire() => lease,
        };
        let began = Instant::now();
        self.invocations.begin(id, self.tried(id) + 1);
        let mut topic = Training::new(self, id, workdir.path());
        let conversation = Conversation {
            invoker: &self.invoker,
            vitals: &self.vitals,
            remarks: &self.remarks,
            announcer: &self.announcer,
            limit: self.plan.trial_limit(),
        };
        let outcome = match conversation.hold(&mut topic, lease, stop).await {
            Outcome::Over { result, printed } => {
                let result = Box::new(topic.unless_pruned(*result));
                Outcome::Over { result, printed }
            }
            other @ (Outcome::Dropped | Outcome::NoChild(_) | Outcome::Unsaid(_)) => other,
        };
        let told = topic.told;
        self.invocations.end(id, self.tried(id) + 1, &outcome, began.elapsed());
        // Whoever got the slot begins first: its child would wait while this trial's event is written.
        tokio::task::yield_now().await;
        (outcome, told)
    }

    /// A failure the child itself told of and that may pass is a failure of the try.
    fn judge(&self, result: CallResult) -> Result<CallResult, Failure> {
        let told = result.failure.as_ref().filter(|failure| failure.class() == FailureClass::Dependency);
        match told {
            Some(failure) => Err(Failure::new(failure.class(), Stage::Execute, failure.message.as_str())
                .with_traceback(failure.traceback.as_deref())),
            None => Ok(result),
        }
    }

    fn tried(&self, id: &TrialId) -> u32 {
        let tries = self.tries.lock().expect("nobody panics while holding the tries");
        tries.get(id).copied().unwrap_or(0)
    }

    /// Spreads the pauses of a run's trials; the same for the same trial.
    fn chance(&self) -> f64 {
        f64::from(self.proposal.seed) / f64::from(u32::MAX)
    }

    async fn announce_retry(&self, id: &TrialId, failure: &Failure, pause: Duration) -> Result<(), Unsaid> {
        let exception = RunException {
            will_retry: true,
            next_attempt_in_ms: i64::try_from(pause.as_millis()).ok(),
            ..self.exception(Some(id.clone()), failure)
        };
        tracing::warn!(trial = %id, class = %failure.class, ?pause, "the trial is tried again");
        self.announcer.say(&[exception.into()]).await?;
        let mut tries = self.tries.lock().expect("nobody panics while holding the tries");
        *tries.entry(id.clone()).or_default() += 1;
        Ok(())
    }

    /// What was training gets its terminal event, unless a later attempt is to train it.
    async fn stopped_between_tries(&self, id: &TrialId, started_at: Timestamp, how: Stop) -> Input {
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

    async fn publish(
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

    /// There is no child, or no place for it to work: nothing can be trained here, so the run is given back and says why.
    async fn cannot_begin(&self, id: &TrialId, failure: Failure) -> Input {
        let exception = RunException { will_retry: true, ..self.exception(Some(id.clone()), &failure) };
        match self.announcer.say(&[exception.into()]).await {
            Ok(()) => Input::HandBack { reason: failure.message },
            Err(error) => unsaid(self.proposal.number, &error),
        }
    }
}

fn unsaid(number: u64, error: &Unsaid) -> Input {
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
