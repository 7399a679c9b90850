//! A search of ours: the thin shell around the supervisor, which trains one candidate after the other. It does not know
//! whether there is a broker.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};

use schemas::TrialId;
use search::{Plan, Pruning, Search};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::progress::{self, Progress};
use crate::account::Account;
use crate::announce::Announcer;
use crate::artifacts::Artifacts;
use crate::best::BestSoFar;
use crate::cache::ResultCache;
use crate::invocations::Invocations;
use crate::invoker::Invoker;
use crate::outside::Outside;
use crate::plan::RunPlan;
use crate::remarks::Remarks;
use crate::resume::{Checkpoint, evaluation_of};
use crate::retry::RetryPolicy;
use crate::slots::Place;
use crate::supervisor::{Command, Ending, Input, Limits, Stop, Supervisor};
use crate::trial::Trial;
use crate::vitals::Vitals;
use crate::workdir::Workdirs;

/// What the trials of a run are carried out with, wherever that is.
pub(crate) struct Workshop {
    pub(crate) plan: Arc<RunPlan>,
    pub(crate) attempt: u32,
    pub(crate) worker_id: Arc<str>,
    pub(crate) announcer: Arc<Announcer>,
    pub(crate) invoker: Arc<Invoker>,
    pub(crate) remarks: Arc<Remarks>,
    pub(crate) place: Arc<Place>,
    pub(crate) artifacts: Artifacts,
    pub(crate) cache: Option<Arc<ResultCache>>,
    pub(crate) workdirs: Arc<Workdirs>,
    pub(crate) vitals: Arc<Vitals>,
    pub(crate) retries: RetryPolicy,
    pub(crate) invocations: Invocations,
}

/// The search, and what its trials share.
pub(crate) struct Training {
    workshop: Workshop,
    supervisor: Supervisor,
    best: Arc<BestSoFar>,
    tries: Arc<Mutex<BTreeMap<TrialId, u32>>>,
    pruning: Arc<Mutex<Pruning>>,
    failures_left: Arc<AtomicU32>,
    /// Trials earlier attempts have trained.
    pub(super) resumed: u32,
}

impl Training {
    /// The search of `plan` where earlier attempts have left it, with `parallelism` trials at once if somebody has said so.
    pub(crate) fn new(
        workshop: Workshop,
        plan: &Plan,
        parallelism: Option<u32>,
        checkpoint: &Checkpoint,
    ) -> Self {
        let search = Search::new(plan.clone()).expect("the plan was checked when it was made");
        let budget = &workshop.plan.request.budget;
        let limits = Limits {
            max_failed_trials: budget.max_failed_trials,
            max_consecutive_failures: budget.max_consecutive_failures,
            parallelism,
        };
        let mut pruning = Pruning::new(&plan.settings.pruning, plan.settings.direction, plan.lag);
        for report in checkpoint.reports_that_count() {
            pruning.record(report.trial, report.step, report.value);
        }
        let mut training = Self {
            workshop,
            supervisor: Supervisor::new(search, limits),
            best: Arc::default(),
            tries: Arc::new(Mutex::new(checkpoint.tries.clone())),
            pruning: Arc::new(Mutex::new(pruning)),
            failures_left: Arc::default(),
            resumed: 0,
        };
        training.resume(checkpoint);
        training
    }

    fn resume(&mut self, checkpoint: &Checkpoint) {
        let plan = self.workshop.plan.clone();
        let request = &plan.request;
        for (number, trial) in &checkpoint.trials {
            let (evaluation, failure) = evaluation_of(trial, &request.objective);
            if let Some(objective) = evaluation.usable_objective() {
                self.best.offer(plan.direction, objective);
            }
            self.resumed += u32::from(self.supervisor.resume(*number, evaluation, failure));
        }
        self.best.take_kept_of(checkpoint);
        let (_, failed) = self.supervisor.counts();
        let left = request.budget.max_failed_trials.map_or(u32::MAX, |limit| limit.saturating_sub(failed));
        self.failures_left = Arc::new(AtomicU32::new(left));
    }

    /// Trains until the run is over, for now or for good. `tell` is called with each state the run is in, `hand_back` with
    /// the reason when nothing can be trained here.
    pub(crate) async fn train(
        &mut self,
        outside: &mut Outside<'_>,
        tell: &(dyn Fn(Progress) + Sync),
        hand_back: &(dyn Fn(&str) + Sync),
    ) -> Ending {
        let (stop, _) = watch::channel(None);
        let mut trials: JoinSet<Input> = JoinSet::new();
        let mut commands = self.supervisor.start();
        loop {
            for command in commands.drain(..) {
                match command {
                    Command::Train(proposal) => {
                        trials.spawn(self.trial(proposal, stop.subscribe()).run());
                    }
                    Command::StopTrials(how) => {
                        stop.send_replace(Some(how));
                    }
                    Command::Finish(ending) => return ending,
                }
            }
            tell(self.progress());
            let input = tokio::select! {
                Some(ended) = trials.join_next() => ended.unwrap_or_else(|error| panicked(&error)),
                news = outside.next() => Input::Outside(news),
            };
            if let Input::HandBack { reason } = &input {
                hand_back(reason);
            }
            commands = self.supervisor.handle(input);
        }
    }

    fn progress(&self) -> Progress {
        let (completed, failed) = self.supervisor.counts();
        let best = self.supervisor.best().map(|best| (best.number, best.objective));
        Progress { completed, failed, best }
    }

    fn trial(&self, proposal: search::Proposal, stop: watch::Receiver<Option<Stop>>) -> Trial {
        let workshop = &self.workshop;
        Trial {
            plan: workshop.plan.clone(),
            proposal,
            attempt: workshop.attempt,
            worker_id: workshop.worker_id.clone(),
            announcer: workshop.announcer.clone(),
            invoker: workshop.invoker.clone(),
            remarks: workshop.remarks.clone(),
            place: workshop.place.clone(),
            artifacts: workshop.artifacts.clone(),
            cache: workshop.cache.clone(),
            workdirs: workshop.workdirs.clone(),
            vitals: workshop.vitals.clone(),
            retries: workshop.retries,
            tries: self.tries.clone(),
            pruning: self.pruning.clone(),
            failures_left: self.failures_left.clone(),
            stop,
            best: self.best.clone(),
            invocations: workshop.invocations.clone(),
        }
    }

    /// Where the run stands; `account` has what does not depend on who searches.
    pub(crate) fn account(&self, account: Account) -> Account {
        let (completed, failed) = self.supervisor.counts();
        let best = self.supervisor.best().cloned();
        Account {
            completed,
            failed,
            files: best.as_ref().map(|trial| self.best.files_of(trial.number)).unwrap_or_default(),
            best,
            kept: self.best.places(),
            history: progress::told(self.supervisor.history()),
            has_leftovers: account.has_leftovers || self.best.has_leftovers(),
            ..account
        }
    }
}

/// A trial's task panicked: a defect of ours, which must not leave the run hanging.
fn panicked(error: &tokio::task::JoinError) -> Input {
    tracing::error!(%error, "a trial's task ended abnormally");
    let message = format!("a trial could not be carried out: {error}");
    Input::Abort(schemas::Failure::new(schemas::FailureClass::Unknown, schemas::Stage::Execute, message))
}
