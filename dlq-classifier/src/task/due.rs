//! Whether anybody should work on a task, and when. Pure.

use std::time::Duration;

use schemas::Timestamp;
use service_kit::error::CliError;
use service_kit::exit::Exit;

use super::{Stage, Task};

/// Programs that may end in a row while they are at work on a task, before it is taken for the cause.
pub(super) const MAX_LEFT: u32 = 5;

impl Task {
    /// True if whoever has time should work on it: it waits, it was left by somebody who was killed, or it has not
    /// followed what is asked of it.
    pub fn is_waiting(&self) -> bool {
        match self.stage {
            Stage::Queued | Stage::Running => true,
            Stage::Paused | Stage::Cancelled | Stage::Done | Stage::Failed => self.batch.is_some(),
        }
    }

    /// How long it waits until there is something to do: the next message for its time, an order for nothing.
    pub fn wait(&self, now: Timestamp) -> Duration {
        let (Some(rate), Some(sent), None) = (self.plan.rate, self.sent, self.stops_in()) else {
            return Duration::ZERO;
        };
        // A clock that was set back, or is another's, makes it wait no longer than between any two.
        let passed = u64::try_from(now.micros() - sent.micros()).unwrap_or(0);
        rate.apart().saturating_sub(Duration::from_micros(passed))
    }

    /// True if whoever has time has something to do for it now.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.is_waiting() && self.wait(now).is_zero()
    }

    /// Why nobody should go on with it: whoever did was killed, too often to be chance.
    pub fn is_deadly(&self) -> Option<CliError> {
        (self.left >= MAX_LEFT).then(|| {
            let what = format!("whoever worked on the replay was killed, {} times in a row", self.left);
            CliError::new("task-deadly", Exit::InvalidInput, what)
                .because("it has not come further meanwhile, so it is taken for the cause")
                .help("replay its entries one by one; `dlq-classifier tasks show` tells how far it has come")
        })
    }
}
