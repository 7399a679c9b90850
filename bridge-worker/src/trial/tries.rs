//! One try of a trial, and the word that there is to be another.

use std::time::Duration;

use schemas::event::RunException;
use schemas::{Failure, FailureClass, Stage, TrialId};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Trial;
use super::topic::{Told, Training};
use crate::announce::Unsaid;
use crate::child::protocol::CallResult;
use crate::conversation::{Conversation, Outcome, stopped};
use crate::supervisor::Stop;
use crate::workdir::Workdir;

impl Trial {
    /// One try, in a slot of its own. The slot is free again when this returns, while files and events of the trial are
    /// still on their way.
    pub(super) async fn attempt(
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
    pub(super) fn judge(&self, result: CallResult) -> Result<CallResult, Failure> {
        let told = result.failure.as_ref().filter(|failure| failure.class() == FailureClass::Dependency);
        match told {
            Some(failure) => Err(Failure::new(failure.class(), Stage::Execute, failure.message.as_str())
                .with_traceback(failure.traceback.as_deref())),
            None => Ok(result),
        }
    }

    pub(super) fn tried(&self, id: &TrialId) -> u32 {
        let tries = self.tries.lock().expect("nobody panics while holding the tries");
        tries.get(id).copied().unwrap_or(0)
    }

    /// Spreads the pauses of a run's trials; the same for the same trial.
    pub(super) fn chance(&self) -> f64 {
        f64::from(self.proposal.seed) / f64::from(u32::MAX)
    }

    pub(super) async fn announce_retry(
        &self,
        id: &TrialId,
        failure: &Failure,
        pause: Duration,
    ) -> Result<(), Unsaid> {
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
}
