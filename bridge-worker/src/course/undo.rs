//! What takes the steps back when one cannot be done, and what becomes of the request then.

use schemas::lifecycle::RunState;

use super::{Course, Grant};
use crate::announce::Unsaid;
use crate::ending;
use crate::halt::{Halt, OUTAGE_PAUSE};
use crate::request::{Settlement, of_failure};
use crate::steps::{Undo, Why};

impl Course {
    /// Undoes what was done, and says what becomes of the request.
    pub(super) async fn halt(&self, halt: Halt, grant: Option<&Grant>) -> Settlement {
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
}
