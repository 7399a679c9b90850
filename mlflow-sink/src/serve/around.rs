//! What the loop looks after now and then: its health page, its numbers, what it tells others of runs that wait.

use std::sync::Arc;

use super::Loop;
use crate::unsettled::{Unsettled, Waiting};

/// Looks in a row at which there has to be nothing to write: what was forgotten with the order, or with a lease that was
/// renewed late, comes again within a few.
const QUIET_LOOKS: u32 = 5;

/// Looks in a row at which there was nothing to write.
#[derive(Debug, Default)]
pub(super) struct Quiet(u32);

impl Quiet {
    /// True when there really is nothing to write, by what this look says and those before it.
    fn look(&mut self, is_quiet: bool) -> bool {
        self.0 = if is_quiet { self.0.saturating_add(1) } else { 0 };
        self.0 >= QUIET_LOOKS
    }
}

impl Loop {
    pub(super) fn look_around(&mut self) {
        if self.sink.broker.is_connected() {
            self.sink.broker_health.ready();
        } else {
            self.sink.broker_health.not_ready("the connection is lost");
        }
        self.sink.numbers.is_leader.set(i64::from(self.leader.holds()));
        self.tell_unsettled();
        let is_quiet = self.has_nothing_to_write();
        if self.quiet.look(is_quiet) {
            self.sink.gate.has_nothing_to_write();
        }
        if self.sweeping.is_empty()
            && self.may_write()
            && let Some(fence) = self.leader.fence()
        {
            let writer = Arc::clone(&self.sink.writer);
            self.sweeping.spawn(async move {
                if let Some(Err(stopped)) = fence.during(writer.sweep_due()).await {
                    tracing::debug!(reason = stopped.reason, "late creates cannot be looked for now");
                }
            });
        }
    }

    /// True when the broker has nothing for this sink either: it asks, and nothing comes.
    pub(super) fn has_nothing_to_write(&self) -> bool {
        let is_asking = self.intake.is_in_order() && self.intake.is_asking();
        !self.leader.holds() || (is_asking && self.lanes.is_empty() && self.running.is_empty())
    }

    /// Tells how far it has come, for those who ask about a run while others wait.
    pub(super) fn tell_unsettled(&self) {
        let is_known = self.intake.is_in_order() && self.leader.holds() && self.taken > 0;
        let runs = self.lanes.waiting().map(|(run, first, strikes, is_stuck)| {
            let reason = || self.reasons.get(run).cloned().unwrap_or_default();
            (run, first, (strikes > 0).then(|| Waiting { first, is_stuck, reason: reason() }))
        });
        let told = is_known.then(|| Unsettled::of(self.taken, runs));
        self.unsettled.send_if_modified(|known| {
            let is_new = *known != told;
            *known = told;
            is_new
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_nothing_to_write_only_when_nothing_has_come_for_a_while() {
        let mut quiet = Quiet::default();
        let mut looks = |count, is_quiet| (0..count).map(|_| quiet.look(is_quiet)).collect::<Vec<_>>();
        assert_eq!(looks(QUIET_LOOKS, true), [false, false, false, false, true]);
        assert_eq!(looks(1, true), [true]);
        // What was forgotten has come again.
        assert_eq!(looks(1, false), [false]);
        assert_eq!(looks(QUIET_LOOKS, true), [false, false, false, false, true]);
    }
}
