//! One attempt at a run, from its announcement to the last trial: the thin shell around the supervisor.

mod progress;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use schemas::event::{MlRunStarted, RunStarted};
use schemas::{Event, Json, TrialId};
use search::{Pruning, Search};
use service_kit::clock;
use service_kit::registry::RunRecord;
use service_kit::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::account::Account;
use crate::announce::{Announcer, Unsaid};
use crate::best::BestSoFar;
use crate::control::Signals;
use crate::course::Grant;
use crate::plan::RunPlan;
use crate::resume::{Checkpoint, evaluation_of};
use crate::slots::Place;
use crate::supervisor::{Command, Ending, Input, Limits, Stop, Supervisor};
use crate::trial::Trial;
use crate::vitals::Vitals;
use crate::worker::Worker;

pub(crate) use progress::told;
use progress::{Clock, Reporter};

/// How long trials under way may go on after the worker was asked to drain.
pub const DRAIN_GRACE: Duration = Duration::from_secs(20);

/// An attempt that was granted to us.
pub(crate) struct Run {
    worker: Arc<Worker>,
    plan: Arc<RunPlan>,
    record: RunRecord,
    announcer: Arc<Announcer>,
    silenced: CancellationToken,
    signals: Signals,
    vitals: Arc<Vitals>,
    supervisor: Supervisor,
    best: Arc<BestSoFar>,
    tries: Arc<Mutex<BTreeMap<TrialId, u32>>>,
    pruning: Arc<Mutex<Pruning>>,
    failures_left: Arc<AtomicU32>,
    place: Arc<Place>,
    began: Instant,
    resumed: u32,
    /// Time earlier attempts have worked.
    spent: Duration,
    is_opened: bool,
}

impl Run {
    /// The run where earlier attempts have left it.
    pub(crate) fn new(
        worker: Arc<Worker>,
        plan: Arc<RunPlan>,
        grant: &Grant,
        vitals: Arc<Vitals>,
        checkpoint: &Checkpoint,
    ) -> Self {
        let search = Search::new(plan.search.clone()).expect("the plan was checked when it was made");
        let budget = &plan.request.budget;
        let limits = Limits {
            max_failed_trials: budget.max_failed_trials,
            max_consecutive_failures: budget.max_consecutive_failures,
            parallelism: grant.held.record.parallelism,
        };
        let settings = &plan.search.settings;
        let mut pruning = Pruning::new(&settings.pruning, settings.direction, plan.search.lag);
        for report in checkpoint.reports_that_count() {
            pruning.record(report.trial, report.step, report.value);
        }
        let mut run = Self {
            supervisor: Supervisor::new(search, limits),
            best: Arc::default(),
            tries: Arc::new(Mutex::new(checkpoint.tries.clone())),
            pruning: Arc::new(Mutex::new(pruning)),
            failures_left: Arc::default(),
            place: Arc::new(worker.slots.join(plan.request.priority)),
            record: grant.held.record.clone(),
            announcer: grant.announcer.clone(),
            silenced: grant.silenced.clone(),
            signals: grant.signals.clone(),
            began: Instant::now(),
            resumed: 0,
            spent: checkpoint.active().max(Duration::from_millis(grant.held.record.active_ms)),
            is_opened: checkpoint.is_opened,
            worker,
            plan,
            vitals,
        };
        run.resume(checkpoint);
        run
    }

    fn resume(&mut self, checkpoint: &Checkpoint) {
        for (number, trial) in &checkpoint.trials {
            let (evaluation, failure) = evaluation_of(trial, &self.plan.request.objective);
            if let Some(objective) = evaluation.usable_objective() {
                self.best.offer(self.plan.direction, objective);
            }
            self.resumed += u32::from(self.supervisor.resume(*number, evaluation, failure));
        }
        self.best.take_kept_of(checkpoint);
        let (_, failed) = self.supervisor.counts();
        let left =
            self.plan.request.budget.max_failed_trials.map_or(u32::MAX, |limit| limit.saturating_sub(failed));
        self.failures_left = Arc::new(AtomicU32::new(left));
    }

    /// Announces the attempt, and the run's record where no earlier attempt has.
    pub(crate) async fn announce(&self) -> Result<(), Unsaid> {
        let request = &self.plan.request;
        let started = RunStarted {
            run_id: self.plan.run_id.clone(),
            attempt: self.record.attempt,
            worker_id: self.worker.id.to_string(),
            dataset_id: request.dataset_id.clone(),
            objective: request.objective.clone(),
            resumed_trials: self.resumed,
        };
        let mut events: Vec<Event> = vec![started.into()];
        if !self.is_opened {
            events.push(self.opening().into());
        }
        self.announcer.say(&events).await
    }

    fn opening(&self) -> MlRunStarted {
        let request = &self.plan.request;
        let mut extra = serde_json::json!({
            "strategy": request.strategy,
            "trainer": request.trainer,
            "direction": self.plan.direction.as_str(),
            "seed": self.plan.seed,
            "experiment": request.experiment,
            "tags": request.tags,
        });
        if let (Some(extra), Some(given)) = (extra.as_object_mut(), request.extra.0.as_object()) {
            for (key, value) in given {
                extra.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        MlRunStarted {
            run_id: self.plan.run_id.clone(),
            timestamp: clock::now(),
            dataset_id: Some(request.dataset_id.clone()),
            search_space: request.search_space.clone(),
            objective: request.objective.clone(),
            pulse_id: request.pulse_id.clone(),
            budget: Json(serde_json::to_value(&request.budget).expect("a budget is plain data")),
            parameters: request.parameters.clone(),
            tau: Some(request.tau),
            correlation_id: request.correlation_id.clone().or_else(|| Some(self.plan.run_id.to_string())),
            extra: Json(extra),
        }
    }

    /// Trains until the run is over, for now or for good.
    pub(crate) async fn execute(&mut self, shutdown: &Shutdown) -> Ending {
        let reporter = Reporter::start(
            self.worker.registry.clone(),
            self.record.clone(),
            self.silenced.clone(),
            Clock { vitals: self.vitals.clone(), began: self.began, spent: self.spent },
        );
        let ending = self.train(shutdown, &reporter).await;
        reporter.finish().await;
        ending
    }

    async fn train(&mut self, shutdown: &Shutdown, reporter: &Reporter) -> Ending {
        let (stop, _) = watch::channel(None);
        let mut trials: JoinSet<Input> = JoinSet::new();
        let (mut cancels, mut scales) = (self.signals.clone(), self.signals.clone());
        let deadline = self.deadline();
        let mut drain_ends: Option<Instant> = None;
        // What has happened stays so: each of these is listened for once.
        let (mut is_out_of_time, mut is_drained, mut is_cancelled, mut is_interrupted, mut is_stale) =
            (false, false, false, false, false);
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
            reporter.tell(&self.supervisor);
            let input = tokio::select! {
                Some(ended) = trials.join_next() => ended.unwrap_or_else(|error| panicked(&error)),
                () = self.silenced.cancelled(), if !is_stale => {
                    is_stale = true;
                    Input::Stale
                }
                reason = cancels.cancelled(), if !is_cancelled => {
                    is_cancelled = true;
                    Input::Cancel { reason }
                }
                parallelism = scales.scaled() => Input::Scale { parallelism },
                () = shutdown.now(), if !is_interrupted => {
                    is_interrupted = true;
                    Input::Interrupt
                }
                () = shutdown.drain(), if !is_drained => {
                    is_drained = true;
                    drain_ends = Some(Instant::now() + DRAIN_GRACE);
                    Input::Drain
                }
                () = until(drain_ends), if !is_interrupted => {
                    is_interrupted = true;
                    Input::Interrupt
                }
                () = until(deadline), if !is_out_of_time => {
                    is_out_of_time = true;
                    Input::OutOfTime
                }
            };
            commands = self.supervisor.handle(input);
        }
    }

    /// When the time of the run is up. What earlier attempts have used counts; the time between attempts does not.
    fn deadline(&self) -> Option<Instant> {
        let limit = self.plan.request.budget.max_seconds?;
        let limit = Duration::try_from_secs_f64(limit.0).ok()?;
        Some(self.began + limit.saturating_sub(self.spent))
    }

    fn trial(&self, proposal: search::Proposal, stop: watch::Receiver<Option<Stop>>) -> Trial {
        let worker = &self.worker;
        Trial {
            plan: self.plan.clone(),
            proposal,
            attempt: self.record.attempt,
            worker_id: worker.id.clone(),
            announcer: self.announcer.clone(),
            place: self.place.clone(),
            artifacts: worker.artifacts.clone(),
            cache: worker.cache.clone(),
            workdirs: worker.workdirs.clone(),
            vitals: self.vitals.clone(),
            retries: worker.retries,
            tries: self.tries.clone(),
            pruning: self.pruning.clone(),
            failures_left: self.failures_left.clone(),
            stop,
            best: self.best.clone(),
        }
    }

    /// Where the run stands.
    pub(crate) fn account(&self) -> Account {
        let (completed, failed) = self.supervisor.counts();
        let best = self.supervisor.best().cloned();
        Account {
            completed,
            failed,
            files: best.as_ref().map(|trial| self.best.files_of(trial.number)).unwrap_or_default(),
            best,
            kept: self.best.places(),
            history: told(self.supervisor.history()),
            took: self.spent + self.began.elapsed(),
            is_opened: true,
            has_leftovers: self.record.attempt > 1,
        }
    }
}

pub(crate) async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// A trial's task panicked: a defect of ours, which must not leave the run hanging.
pub(crate) fn panicked(error: &tokio::task::JoinError) -> Input {
    tracing::error!(%error, "a trial's task ended abnormally");
    let message = format!("a trial could not be carried out: {error}");
    Input::Abort(schemas::Failure::new(schemas::FailureClass::Unknown, schemas::Stage::Execute, message))
}
