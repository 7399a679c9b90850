//! The fence: older attempts are shut out, and what they left decides whether and where this one goes on.

use schemas::lifecycle::RunState;
use schemas::{Failure, FailureClass, Stage};
use service_kit::fence::FenceError;
use service_kit::registry::RunRecord;

use super::{Course, Grant};
use crate::account::Account;
use crate::ending;
use crate::halt::{Halt, again};
use crate::plan::RunPlan;
use crate::resume::{Checkpoint, Reading};
use crate::steps::Step;

/// Workers that may be lost in a row while a run's trials were training, without one that came to its end in between,
/// before it is given up: a run that takes its workers down would otherwise take down every worker there is.
const MAX_LOSSES_AT_WORK: u32 = 8;
/// The same whatever the run was doing: it may take a worker down before anybody has noted that it trains.
const MAX_LOSSES_IN_A_ROW: u32 = 32;

impl Course {
    /// A first attempt has nothing behind it; later ones shut out the earlier and read what they left.
    pub(super) async fn checkpoint(
        &mut self,
        grant: &Grant,
        plan: Option<&RunPlan>,
    ) -> Result<Checkpoint, Halt> {
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
}
