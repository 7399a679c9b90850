//! What the end of a run leaves: its files as that end wants them, and its record.

use schemas::lifecycle::RunState;
use service_kit::registry::RunRecord;

use super::{Course, Grant};
use crate::ending;
use crate::halt::{Halt, again};

impl Course {
    /// Leaves the files of a run as its end wants them: marked, or without marks and leftovers when it completed.
    pub(super) async fn tidy_up(&self, state: RunState) {
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
    pub(super) async fn write(&self, grant: &Grant, said: &ending::Said) -> Result<(), Halt> {
        let last_sequence = grant.announcer.last_sequence();
        let fill = |record| self.account.fill(said.fill(RunRecord { last_sequence, ..record }));
        match self.worker.record_end(&grant.held, said.state, fill).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Halt::Stale),
            Err(error) => Err(again(error)),
        }
    }
}
