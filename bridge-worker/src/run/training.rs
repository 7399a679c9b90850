//! A search of ours: the thin shell around the supervisor, which trains one candidate after the other.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};

use schemas::TrialId;
use search::{Plan, Pruning, Search};
use service_kit::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Attempt;
use super::progress::{self, Progress, Reporter};
use crate::account::Account;
use crate::best::BestSoFar;
use crate::resume::{Checkpoint, evaluation_of};
use crate::supervisor::{Command, Ending, Input, Limits, Stop, Supervisor};
use crate::trial::Trial;

/// The search, and what its trials share.
pub(super) struct Training {
    supervisor: Supervisor,
    best: Arc<BestSoFar>,
    tries: Arc<Mutex<BTreeMap<TrialId, u32>>>,
    pruning: Arc<Mutex<Pruning>>,
    failures_left: Arc<AtomicU32>,
    /// Trials earlier attempts have trained.
    pub(super) resumed: u32,
}

impl Training {
    /// The search where earlier attempts have left it.
    pub(super) fn new(attempt: &Attempt, plan: &Plan, checkpoint: &Checkpoint) -> Self {
        let search = Search::new(plan.clone()).expect("the plan was checked when it was made");
        let budget = &attempt.plan.request.budget;
        let limits = Limits {
            max_failed_trials: budget.max_failed_trials,
            max_consecutive_failures: budget.max_consecutive_failures,
            parallelism: attempt.record.parallelism,
        };
        let mut pruning = Pruning::new(&plan.settings.pruning, plan.settings.direction, plan.lag);
        for report in checkpoint.reports_that_count() {
            pruning.record(report.trial, report.step, report.value);
        }
        let mut training = Self {
            supervisor: Supervisor::new(search, limits),
            best: Arc::default(),
            tries: Arc::new(Mutex::new(checkpoint.tries.clone())),
            pruning: Arc::new(Mutex::new(pruning)),
            failures_left: Arc::default(),
            resumed: 0,
        };
        training.resume(attempt, checkpoint);
        training
    }

    fn resume(&mut self, attempt: &Attempt, checkpoint: &Checkpoint) {
        let request = &attempt.plan.request;
        for (number, trial) in &checkpoint.trials {
            let (evaluation, failure) = evaluation_of(trial, &request.objective);
            if let Some(objective) = evaluation.usable_objective() {
                self.best.offer(attempt.plan.direction, objective);
            }
            self.resumed += u32::from(self.supervisor.resume(*number, evaluation, failure));
        }
        self.best.take_kept_of(checkpoint);
        let (_, failed) = self.supervisor.counts();
        let left = request.budget.max_failed_trials.map_or(u32::MAX, |limit| limit.saturating_sub(failed));
        self.failures_left = Arc::new(AtomicU32::new(left));
    }

    /// Trains until the run is over, for now or for good.
    pub(super) async fn train(
        &mut self,
        attempt: &Attempt,
        shutdown: &Shutdown,
        reporter: &Reporter,
    ) -> Ending {
        let (stop, _) = watch::channel(None);
        let mut trials: JoinSet<Input> = JoinSet::new();
        let mut outside = attempt.outside(shutdown);
        let mut commands = self.supervisor.start();
        loop {
            for command in commands.drain(..) {
                match command {
                    Command::Train(proposal) => {
                        trials.spawn(self.trial(attempt, proposal, stop.subscribe()).run());
                    }
                    Command::StopTrials(how) => {
                        stop.send_replace(Some(how));
                    }
                    Command::Finish(ending) => return ending,
                }
            }
            reporter.tell(self.progress());
            let input = tokio::select! {
                Some(ended) = trials.join_next() => ended.unwrap_or_else(|error| panicked(&error)),
                news = outside.next() => Input::Outside(news),
            };
            if let Input::HandBack { reason } = &input {
                attempt.hand_back(reason);
            }
            commands = self.supervisor.handle(input);
        }
    }

    fn progress(&self) -> Progress {
        let (completed, failed) = self.supervisor.counts();
        let best = self.supervisor.best().map(|best| (best.number, best.objective));
        Progress { completed, failed, best }
    }

    fn trial(
        &self,
        attempt: &Attempt,
        proposal: search::Proposal,
        stop: watch::Receiver<Option<Stop>>,
    ) -> Trial {
        let worker = &attempt.worker;
        Trial {
            plan: attempt.plan.clone(),
            proposal,
            attempt: attempt.record.attempt,
            worker_id: worker.id.clone(),
            announcer: attempt.announcer.clone(),
            invoker: worker.invoker.clone(),
            remarks: attempt.remarks.clone(),
            place: attempt.place.clone(),
            artifacts: worker.artifacts.clone(),
            cache: worker.cache.clone(),
            workdirs: worker.workdirs.clone(),
            vitals: attempt.vitals.clone(),
            retries: worker.retries,
            tries: self.tries.clone(),
            pruning: self.pruning.clone(),
            failures_left: self.failures_left.clone(),
            stop,
            best: self.best.clone(),
            invocations: worker.gauges.invocations.clone(),
        }
    }

    /// Where the run stands.
    pub(super) fn account(&self, attempt: &Attempt) -> Account {
        let (completed, failed) = self.supervisor.counts();
        let best = self.supervisor.best().cloned();
        Account {
            completed,
            failed,
            files: best.as_ref().map(|trial| self.best.files_of(trial.number)).unwrap_or_default(),
            best,
            kept: self.best.places(),
            history: progress::told(self.supervisor.history()),
            has_leftovers: attempt.has_leftovers() || self.best.has_leftovers(),
            ..attempt.account()
        }
    }
}

/// A trial's task panicked: a defect of ours, which must not leave the run hanging.
pub(crate) fn panicked(error: &tokio::task::JoinError) -> Input {
    tracing::error!(%error, "a trial's task ended abnormally");
    let message = format!("a trial could not be carried out: {error}");
    Input::Abort(schemas::Failure::new(schemas::FailureClass::Unknown, schemas::Stage::Execute, message))
}
