//! The course of an attempt: the steps in order, and what takes them back when one cannot be done.

mod claim;
mod end;
mod fence;
mod locate;
mod undo;

use std::sync::Arc;

use schemas::lifecycle::RunState;
use schemas::{Failure, FailureClass, Stage};
use service_kit::shutdown::Shutdown;

use crate::account::Account;
use crate::asked::Asked;
use crate::ending;
use crate::fault::Fault;
use crate::halt::{Halt, again, completed, failed, refused};
use crate::plan::{RunPlan, plan};
use crate::request::Settlement;
use crate::resume::Checkpoint;
use crate::run::Run;
use crate::steps::{Done, Step};
use crate::vitals::Vitals;
use crate::worker::Worker;

pub(crate) use claim::Grant;

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
