//! The course of an attempt: the steps in order, and what takes them back when one cannot be done.

use std::sync::Arc;

use schemas::dataset::DatasetRef;
use schemas::lifecycle::RunState;
use schemas::{Failure, FailureClass, Stage};
use service_kit::clock;
use service_kit::fence::FenceError;
use service_kit::registry::record::{Claim, claim};
use service_kit::registry::{Held, RegistryError, RunRecord};
use service_kit::shutdown::Shutdown;
use tokio_util::sync::CancellationToken;

use crate::account::Account;
use crate::announce::{Announcer, Unsaid};
use crate::asked::Asked;
use crate::control::{self, Signals};
use crate::datasets::{Located, NotLocated};
use crate::ending;
use crate::fault::Fault;
use crate::halt::{Halt, OUTAGE_PAUSE, again, completed, failed, refused, shutting_down};
use crate::outside::Outside;
use crate::owner;
use crate::plan::{RunPlan, plan};
use crate::request::{Settlement, of_failure};
use crate::resume::{Checkpoint, Reading};
use crate::run::Run;
use crate::steps::{Done, Step, Undo, Why};
use crate::supervisor::News;
use crate::vitals::Vitals;
use crate::worker::Worker;

/// Workers that may be lost in a row while a run's trials were training, without one that came to its end in between,
/// before it is given up: a run that takes its workers down would otherwise take down every worker there is.
const MAX_LOSSES_AT_WORK: u32 = 8;
/// The same whatever the run was doing: it may take a worker down before anybody has noted that it trains.
const MAX_LOSSES_IN_A_ROW: u32 = 32;

/// What the registry granted.
pub(crate) struct Grant {
    /// The record as we wrote it.
    pub(crate) held: Held,
    /// Speaks for the attempt.
    pub(crate) announcer: Arc<Announcer>,
    /// Cancelled when another attempt owns the run.
    pub(crate) silenced: CancellationToken,
    /// What others tell the run.
    pub(crate) signals: Signals,
    is_cancelled: bool,
    _connection: control::Connection,
}

/// One attempt at one request.
pub(crate) struct Course {
    worker: Arc<Worker>,
    asked: Asked,
    vitals: Arc<Vitals>,
    done: Done,
    account: Account,
}

impl Course {
    pub(crate) fn new(worker: Arc<Worker>, asked: Asked, vitals: Arc<Vitals>) -> Self {
        Self { worker, asked, vitals, done: Done::default(), account: Account::default() }
    }

    /// Goes through the steps and says what becomes of the request.
    pub(crate) async fn run(mut self, shutdown: &Shutdown) -> Settlement {
        let mut grant = None;
        // Boxed: the state of a whole run is large, and would be moved with every future around it.
        match Box::pin(self.steps(&mut grant, shutdown)).await {
            Ok(()) => Settlement::Ack,
            Err(halt) => self.halt(halt, grant.as_ref()).await,
        }
    }

    async fn steps(&mut self, grant: &mut Option<Grant>, shutdown: &Shutdown) -> Result<(), Halt> {
        self.before(Step::Gate)?;
        let closed = self.worker.gates.closed();
        self.after(Step::Gate)?;
        self.after(Step::Identify)?;
        self.before(Step::Claim)?;
        *grant = Some(self.claim().await?);
        let grant = grant.as_mut().expect("it was just granted");
        self.after(Step::Claim)?;
        self.before(Step::Fence)?;
        let plan = plan(&self.asked.run_id, &self.asked.request, &self.worker.allowed);
        let checkpoint = self.checkpoint(grant, plan.as_ref().ok()).await?;
        self.after(Step::Fence)?;
        if grant.is_cancelled {
            let reason = grant.held.record.cancel_requested.clone().filter(|reason| !reason.is_empty());
            return Err(Halt::Cancelled { reason });
        }
        // A registry that was emptied knows of no earlier attempt; the stream does.
        if let Some(late) = self.asked.too_late(&grant.held.record).filter(|_| !checkpoint.has_begun()) {
            return Err(refused(late));
        }
        if let Some(gate) = closed {
            return Err(refused(Failure::new(FailureClass::Dependency, Stage::Execute, gate.to_string())));
        }
        let mut plan = plan.map_err(refused)?;
        plan.dataset = self.locate(grant, &plan, shutdown).await?;
        checkpoint.check_dataset(&plan).map_err(refused)?;
        let plan = Arc::new(plan);
        self.execute(grant, plan, &checkpoint, shutdown).await
    }

    /// Fetching a data set may take minutes; what comes to the run meanwhile ends it.
    async fn locate(
        &self,
        grant: &Grant,
        plan: &RunPlan,
        shutdown: &Shutdown,
    ) -> Result<Option<Located>, Halt> {
        let worker = &self.worker;
        // The plan was made: a name that is none of ours belongs to a run that brings its own data.
        if DatasetRef::parse(&plan.request.dataset_id).is_err() {
            return Ok(None);
        }
        let mut outside = Outside::new(&grant.signals, grant.silenced.clone(), shutdown, None);
        let located = worker.datasets.locate(&worker.artifacts, &plan.request.dataset_id);
        tokio::pin!(located);
        loop {
            let news = tokio::select! {
                biased;
                located = &mut located => return located.map_err(|error| match error {
                    NotLocated::Refused(failure) => refused(failure),
                    NotLocated::Unavailable(reason) => again(reason),
                }),
                news = outside.next() => news,
            };
            match news {
                News::Cancel { reason } => return Err(Halt::Cancelled { reason }),
                // Nothing of the run is under way that could be finished.
                News::Drain | News::Interrupt => return Err(shutting_down()),
                News::Stale => return Err(Halt::Stale),
                News::Scale { .. } | News::OutOfTime => {}
            }
        }
    }

    /// The second half: from the announcement to the end.
    async fn execute(
        &mut self,
        grant: &mut Grant,
        plan: Arc<RunPlan>,
        checkpoint: &Checkpoint,
        shutdown: &Shutdown,
    ) -> Result<(), Halt> {
        let worker = self.worker.clone();
        let mut run = Run::new(worker, plan, grant, self.vitals.clone(), checkpoint);
        self.before(Step::Announce)?;
        run.announce().await?;
        self.account.is_opened = true;
        self.after(Step::Announce)?;
        self.before(Step::Execute)?;
        let ending = run.execute(shutdown).await;
        self.account = run.account();
        let status = completed(ending)?;
        self.after(Step::Execute)?;
        self.before(Step::Check)?;
        self.account.check(&self.asked.request, status).map_err(failed)?;
        self.after(Step::Check)?;
        self.before(Step::End)?;
        let said = ending::completed(&self.asked, &grant.held.record, &self.account, status);
        grant.announcer.say(&said.events).await?;
        self.after(Step::End)?;
        self.tidy_up(RunState::Completed).await;
        self.write(grant, &said).await
    }

    async fn claim(&mut self) -> Result<Grant, Halt> {
        let (mut held, mut claim) = self.try_claim(None).await.map_err(again)?;
        if let Some(known) = &held
            && !self.asked.is_owner_gone
            && self.is_gone(known, claim).await.map_err(again)?
        {
            tracing::warn!(run = %self.asked.run_id, "nobody has the run any more; it is taken over");
            self.asked.is_owner_gone = true;
            let watched = held.take();
            (held, claim) = self.try_claim(watched).await.map_err(again)?;
        }
        let worker = &self.worker;
        let is_cancelled = match claim {
            Claim::Granted { .. } => false,
            Claim::Cancelled { .. } => true,
            Claim::AlreadyOver | Claim::Duplicate => {
                tracing::info!(run = %self.asked.run_id, ?claim, "the request has no effect");
                let refusal = held.as_ref().and_then(|held| self.refusal(&held.record));
                return Err(refusal.map_or(Halt::Over, Halt::Refused));
            }
            Claim::Stale => return Err(Halt::Stale),
        };
        let held = held.ok_or_else(|| again("a claim that was granted left no record"))?;
        worker.gauges.claims.inc();
        tracing::info!(run = %self.asked.run_id, attempt = held.record.attempt, "run claimed");
        let silenced = CancellationToken::new();
        let (signals, connection) = control::connect(&worker.registry, &held.record, silenced.clone());
        let announcer = Arc::new(Announcer::new(
            &worker.broker,
            worker.publisher.clone(),
            self.asked.voice(&held.record, &worker.id),
            held.record.request_sequence,
            (silenced.clone(), worker.last_word.clone()),
            worker.gauges.stale_events.clone(),
        ));
        Ok(Grant { held, announcer, silenced, signals, is_cancelled, _connection: connection })
    }

    async fn is_gone(&self, known: &Held, claim: Claim) -> Result<bool, String> {
        let (broker, registry) = (&self.worker.broker, &self.worker.registry);
        let is_replay = self.asked.is_replay_of(known.record.request_sequence);
        owner::is_gone(broker, registry, known, claim, is_replay).await
    }

    /// Why this request was refused, when a worker did so and was lost before the request became a dead letter.
    fn refusal(&self, record: &RunRecord) -> Option<Box<Failure>> {
        let failure = record.failure.as_ref().filter(|failure| failure.stage == Stage::Validate)?;
        (record.request_sequence == self.asked.sequence).then(|| Box::new(failure.clone()))
    }

    /// Claims; `watched` is the record whose owner was found to be gone.
    async fn try_claim(&self, watched: Option<Held>) -> Result<(Option<Held>, Claim), RegistryError> {
        let (mut claimant, now) = (self.asked.claimant(&self.worker.id), clock::now());
        let decide = |known: Option<&RunRecord>| {
            let (record, answer) = claim(known, &claimant, now);
            // Whoever has written since it was looked is there: the second look sees a run in good hands.
            claimant.is_owner_gone = false;
            match (record, answer, &self.asked.cancelled) {
                (Some(record), Claim::Granted { attempt }, Some(reason)) => {
                    let record = RunRecord { cancel_requested: Some(reason.clone()), ..record };
                    (Some(record), Claim::Cancelled { attempt })
                }
                (record, answer, _) => (record, answer),
            }
        };
        let (registry, run) = (&self.worker.registry, &self.asked.run_id);
        // A request that was never handed over before is most likely the first of its run.
        if watched.is_some() || (self.asked.delivery == 1 && !self.asked.is_owner_gone) {
            return registry.change_from(run, watched, decide).await;
        }
        registry.change(run, decide).await
    }

    /// A first attempt has nothing behind it; later ones shut out the earlier and read what they left.
    async fn checkpoint(&mut self, grant: &Grant, plan: Option<&RunPlan>) -> Result<Checkpoint, Halt> {
        let record = &grant.held.record;
        // One that was handed over before is no first attempt, whatever the registry remembers.
        if record.attempt == 1 && self.asked.delivery <= 1 {
            return Ok(Checkpoint::default());
        }
        match grant.announcer.raise_fence().await {
            Ok(()) => {}
            Err(FenceError::Stale(by)) => return Err(self.overtaken(grant, by).await),
            Err(error @ FenceError::Unavailable(_)) => return Err(again(error)),
        }
        let reading = Reading {
            run: &record.run_id,
            first_sequence: record.first_sequence,
            attempt: record.attempt.max(2),
            epoch: record.epoch,
            reports_of: plan.filter(|plan| plan.prunes()).map(|plan| plan.request.objective.as_str()),
        };
        let checkpoint = Checkpoint::read(&self.worker.broker, reading).await.map_err(|error| {
            again(format!("{}: {}", error.what, error.because.as_deref().unwrap_or("no reason given")))
        })?;
        if record.attempt > 1 {
            grant.announcer.go_on_from(checkpoint.lifecycle);
        }
        self.account = Account::of(&checkpoint, &self.asked.request);
        if let Some(said) = checkpoint.ended.as_ref().and_then(ending::remembered) {
            tracing::info!(run = %record.run_id, state = %said.state, "the run had ended; its end is written down now");
            self.tidy_up(said.state).await;
            self.write(grant, &said).await?;
            let refusal = self.refusal(&said.fill(record.clone()));
            return Err(refusal.map_or(Halt::Over, Halt::Refused));
        }
        let lost = checkpoint.losses_in_a_row(record.attempt, record.worker_losses);
        let lost_at_work = checkpoint.losses_in_a_row(record.attempt, record.losses_at_work);
        let is_given_up = lost_at_work > MAX_LOSSES_AT_WORK || lost > MAX_LOSSES_IN_A_ROW;
        if is_given_up && !grant.is_cancelled {
            self.done.note(Step::Fence);
            let message = format!("{lost} workers in a row were lost over this run; it is given up");
            let failure = Failure::new(FailureClass::WorkerLost, Stage::Execute, message);
            return Err(Halt::Failed { failure: Box::new(failure), budget: None, is_refusal: true });
        }
        Ok(checkpoint)
    }

    /// A later attempt has raised the fence. Should the registry know of none (somebody emptied it), it learns of it, so
    /// that the next claim is later than all there were.
    async fn overtaken(&self, grant: &Grant, by: u32) -> Halt {
        let ours = grant.held.record.attempt;
        let catch_up = |known: Option<&RunRecord>| match known {
            Some(known) if known.attempt == ours => {
                (Some(RunRecord { attempt: by, state: RunState::Interrupted, ..known.clone() }), true)
            }
            Some(_) | None => (None, false),
        };
        match self.worker.registry.change(&self.asked.run_id, catch_up).await {
            Ok((_, true)) => {
                again(format!("attempt {by} was here before, of which the registry did not know"))
            }
            Ok((_, false)) => Halt::Stale,
            Err(error) => again(error),
        }
    }

    /// Undoes what was done, and says what becomes of the request.
    async fn halt(&self, halt: Halt, grant: Option<&Grant>) -> Settlement {
        let (why, settlement) = match &halt {
            Halt::Over => return Settlement::Ack,
            Halt::Refused(failure) => return Settlement::Reject(failure.clone()),
            Halt::Died => return Settlement::Leave,
            Halt::Stale => {
                tracing::warn!(run = %self.asked.run_id, "another attempt owns the run; this one stops");
                return Settlement::Leave;
            }
            Halt::Again { reason, pause } => {
                tracing::warn!(run = %self.asked.run_id, reason, "the run stops here; a later attempt goes on");
                (Why::Again, Settlement::Again(*pause))
            }
            Halt::Failed { failure, is_refusal, .. } => {
                tracing::warn!(run = %self.asked.run_id, class = %failure.class, reason = failure.message, "run failed");
                (Why::Over(RunState::Failed), of_failure(failure, *is_refusal))
            }
            Halt::Cancelled { .. } => (Why::Over(RunState::Cancelled), Settlement::Ack),
        };
        // Nobody owns the run who could say what became of it: a request does not vanish.
        let Some(grant) = grant else { return Settlement::Again(OUTAGE_PAUSE) };
        let said = ending::undone(&halt, &self.asked, &grant.held.record, &self.account);
        for act in self.done.undo(why) {
            if let Err(stopped) = self.act(act, &said, grant).await {
                return stopped;
            }
        }
        settlement
    }

    async fn act(&self, act: Undo, said: &ending::Said, grant: &Grant) -> Result<(), Settlement> {
        match act {
            Undo::MarkArtifacts(state) => {
                self.tidy_up(state).await;
                Ok(())
            }
            Undo::Say(_) => match grant.announcer.say(&said.events).await {
                Ok(()) => Ok(()),
                // Nobody hears that the request is given back, either.
                Err(Unsaid::Silenced | Unsaid::Unheard) => Err(Settlement::Leave),
                Err(error @ (Unsaid::Order(_) | Unsaid::Refused(_))) => {
                    tracing::error!(run = %self.asked.run_id, %error, "the end of the run cannot be announced");
                    Err(Settlement::Again(OUTAGE_PAUSE))
                }
            },
            Undo::Write(_) => self.write(grant, said).await.map_err(|halt| match halt {
                Halt::Stale => Settlement::Leave,
                Halt::Over
                | Halt::Refused(_)
                | Halt::Failed { .. }
                | Halt::Cancelled { .. }
                | Halt::Again { .. }
                | Halt::Died => Settlement::Again(OUTAGE_PAUSE),
            }),
        }
    }

    /// Leaves the files of a run as its end wants them: marked, or without marks and leftovers when it completed.
    async fn tidy_up(&self, state: RunState) {
        let (artifacts, run, account) = (&self.worker.artifacts, &self.asked.run_id, &self.account);
        match state {
            RunState::Completed if account.has_leftovers => artifacts.keep_only(run, &account.kept).await,
            RunState::Failed | RunState::Cancelled if account.has_leftovers || !account.kept.is_empty() => {
                artifacts.mark(run, state).await;
            }
            RunState::Requested
            | RunState::Running
            | RunState::Completed
            | RunState::Failed
            | RunState::Cancelled
            | RunState::Interrupted => {}
        }
    }

    /// Writes the end down; [`Halt::Stale`] when another attempt owns the run.
    async fn write(&self, grant: &Grant, said: &ending::Said) -> Result<(), Halt> {
        let last_sequence = grant.announcer.last_sequence();
        let fill = |record| self.account.fill(said.fill(RunRecord { last_sequence, ..record }));
        match self.worker.record_end(&grant.held, said.state, fill).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Halt::Stale),
            Err(error) => Err(again(error)),
        }
    }

    fn before(&self, step: Step) -> Result<(), Halt> {
        match self.worker.faults.at(step) {
            None | Some(Fault::DieAfter) => Ok(()),
            Some(Fault::Fail(failure)) => Err(failed(failure)),
            Some(Fault::Outage) => Err(again("an outage")),
            Some(Fault::DieBefore) => Err(Halt::Died),
        }
    }

    fn after(&mut self, step: Step) -> Result<(), Halt> {
        self.done.note(step);
        match self.worker.faults.at(step) {
            Some(Fault::DieAfter) => Err(Halt::Died),
            None | Some(Fault::Fail(_) | Fault::Outage | Fault::DieBefore) => Ok(()),
        }
    }
}
