//! One run from claim to end: the thin shell around the supervisor.

mod ending;
mod progress;

use std::sync::Arc;
use std::time::Duration;

use schemas::event::{MlRunStarted, RunStarted};
use schemas::{Event, Json};
use search::Search;
use service_kit::registry::Held;
use service_kit::shutdown::Shutdown;
use service_kit::{clock, delivery};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use ending::Outcome;

use crate::announce::{Announcer, Unsaid};
use crate::best::BestSoFar;
use crate::control::Signals;
use crate::plan::RunPlan;
use crate::resume::{Checkpoint, evaluation_of};
use crate::supervisor::{Command, Ending, Input, Limits, Supervisor};
use crate::trial::Trial;
use crate::worker::Worker;

use progress::Reporter;

/// How long trials under way may go on after the worker was asked to drain.
pub const DRAIN_GRACE: Duration = Duration::from_secs(20);

/// An attempt of a run that was granted to us.
pub struct Attempt {
    /// The worker.
    pub worker: Arc<Worker>,
    /// What to execute.
    pub plan: Arc<RunPlan>,
    /// The registry record as we wrote it.
    pub held: Held,
    /// Speaks for the attempt.
    pub announcer: Arc<Announcer>,
    /// What others tell this run.
    pub signals: Signals,
    /// Cancelled when another attempt owns the run.
    pub silenced: CancellationToken,
}

impl Attempt {
    /// Executes the run and returns how it ended; the terminal events are confirmed and the registry is written.
    ///
    /// # Errors
    /// When another attempt owns the run, or an event was refused for good.
    pub async fn execute(self, checkpoint: Checkpoint, shutdown: &Shutdown) -> Result<Outcome, Unsaid> {
        let began = Instant::now();
        let search = Search::new(self.plan.search.clone()).expect("the plan was checked when it was made");
        let limits = Limits { max_failed_trials: self.plan.request.budget.max_failed_trials };
        let mut supervisor = Supervisor::new(search, limits);
        let best = Arc::new(BestSoFar::default());
        let resumed = self.resume(&mut supervisor, &best, &checkpoint);
        self.open(resumed, checkpoint.is_opened).await?;
        let reporter =
            Reporter::start(self.worker.registry.clone(), self.held.record.clone(), self.silenced.clone());
        let ending = Loop {
            attempt: &self,
            supervisor: &mut supervisor,
            best: best.clone(),
            reporter: &reporter,
            began,
        }
        .run(shutdown)
        .await;
        reporter.finish().await;
        self.end(ending, &supervisor, &best, began.elapsed()).await
    }

    fn resume(&self, supervisor: &mut Supervisor, best: &BestSoFar, checkpoint: &Checkpoint) -> u32 {
        let mut resumed = 0;
        for (number, trial) in &checkpoint.trials {
            let (evaluation, failure) = evaluation_of(trial, &self.plan.request.objective);
            if let Some(objective) = evaluation.usable_objective() {
                best.offer(self.plan.direction, objective);
            }
            resumed += u32::from(supervisor.resume(*number, evaluation, failure));
        }
        best.take_kept_of(checkpoint);
        resumed
    }

    /// Announces the attempt, and the run's record where no earlier attempt has.
    async fn open(&self, resumed_trials: u32, is_opened: bool) -> Result<(), Unsaid> {
        let request = &self.plan.request;
        let started = RunStarted {
            run_id: self.plan.run_id.clone(),
            attempt: self.held.record.attempt,
            worker_id: self.worker.id.to_string(),
            dataset_id: request.dataset_id.clone(),
            objective: request.objective.clone(),
            resumed_trials,
        };
        let mut events: Vec<Event> = vec![started.into()];
        if !is_opened {
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
}

/// The loop of one attempt: inputs in, commands out.
struct Loop<'a> {
    attempt: &'a Attempt,
    supervisor: &'a mut Supervisor,
    best: Arc<BestSoFar>,
    reporter: &'a Reporter,
    began: Instant,
}

impl Loop<'_> {
    async fn run(self, shutdown: &Shutdown) -> Ending {
        let (stop, _) = watch::channel(None);
        let mut trials: JoinSet<Input> = JoinSet::new();
        let mut signals = self.attempt.signals.clone();
        let time_is_up = self
            .attempt
            .plan
            .request
            .budget
            .max_seconds
            .and_then(|limit| Duration::try_from_secs_f64(limit.0).ok());
        let deadline = time_is_up.map(|limit| self.began + limit);
        let mut drain_ends: Option<Instant> = None;
        let (mut is_out_of_time, mut is_drained, mut is_cancelled, mut is_interrupted) =
            (false, false, false, false);
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
            self.reporter.tell(self.supervisor);
            let input = tokio::select! {
                Some(ended) = trials.join_next() => ended.unwrap_or_else(|error| panicked(&error)),
                () = self.attempt.silenced.cancelled() => Input::Stale,
                reason = signals.cancelled(), if !is_cancelled => {
                    is_cancelled = true;
                    Input::Cancel { reason }
                }
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

    fn trial(
        &self,
        proposal: search::Proposal,
        stop: watch::Receiver<Option<crate::supervisor::Stop>>,
    ) -> Trial {
        let worker = &self.attempt.worker;
        Trial {
            plan: self.attempt.plan.clone(),
            proposal,
            attempt: self.attempt.held.record.attempt,
            worker_id: worker.id.clone(),
            announcer: self.attempt.announcer.clone(),
            slots: worker.slots.clone(),
            artifacts: worker.artifacts.clone(),
            workdirs: worker.workdirs.clone(),
            stop,
            best: self.best.clone(),
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// A trial's task panicked: a defect of ours, which must not leave the run hanging.
fn panicked(error: &tokio::task::JoinError) -> Input {
    tracing::error!(%error, "a trial's task ended abnormally");
    let message = format!("a trial could not be carried out: {error}");
    Input::Abort(schemas::Failure::new(schemas::FailureClass::Unknown, schemas::Stage::Execute, message))
}

/// Extends a delivery's lease until dropped.
pub struct LeaseKeeper(tokio::task::JoinHandle<()>);

impl LeaseKeeper {
    /// Starts extending.
    pub fn start(lease: delivery::Lease) -> Self {
        Self(tokio::spawn(async move {
            let mut tick = tokio::time::interval(delivery::Lease::PERIOD);
            tick.tick().await;
            loop {
                tick.tick().await;
                lease.extend().await;
            }
        }))
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}
