//! When a terminal that has let its task go for others takes it up again: not before its next message may go, nor before
//! a classifier has had the time to notice. Others nobody came for in that time are not waited for once more.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use service_kit::clock;

use crate::task::Task;

/// Shortest time others are given to come: longer than a classifier looks away.
const GAP: Duration = Duration::from_millis(1200);

/// The turns of one task.
#[derive(Default)]
pub(super) struct Turn {
    gap: Option<Gap>,
    passed_over: HashSet<String>,
}

/// A time in which others may come.
struct Gap {
    until: Instant,
    others: Vec<String>,
    /// The lease as it was given up.
    left: u64,
}

impl Turn {
    /// True if the task may go on as soon as nobody else is at work. It does not wait with an order of its own.
    pub(super) fn is_ours(&self, task: &Task) -> bool {
        let is_over = |gap: &Gap| Instant::now() >= gap.until || task.stops_in().is_some();
        self.gap.as_ref().is_none_or(is_over)
    }

    /// The task goes on; `found` is the lease that was found.
    pub(super) fn begins(&mut self, found: u64) {
        if let Some(gap) = self.gap.take()
            && gap.left == found
        {
            self.passed_over.extend(gap.others);
        }
    }

    /// The task was let go for others.
    pub(super) fn ends(&mut self, task: &Task, others: Vec<String>, left: u64) {
        let until = Instant::now() + task.wait(clock::now()).max(GAP);
        self.gap = Some(Gap { until, others, left });
    }

    /// Those nobody came for.
    pub(super) fn passed_over(&self) -> &HashSet<String> {
        &self.passed_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selection::Wanted;
    use crate::task::{Plan, Wish};

    fn task() -> Task {
        let plan = Plan {
            actor: "ann@host".into(),
            reason: None,
            filter: None,
            wanted: Wanted::These(Vec::new()),
            to: None,
            edit: None,
            rate: Some("0.01/s".parse().unwrap()),
            takes_unsafe: false,
        };
        Task { sent: Some(clock::now()), ..Task::new("t".into(), plan, clock::now()) }
    }

    #[test]
    fn it_waits_for_its_rate_and_for_no_order_and_passes_over_those_nobody_came_for() {
        let mut turn = Turn::default();
        let task = task();
        assert!(turn.is_ours(&task));
        turn.ends(&task, vec!["a".into()], 7);
        assert!(!turn.is_ours(&task));
        let asked = task.clone().ask(Wish::Pause, clock::now()).unwrap();
        assert!(turn.is_ours(&asked));
        turn.begins(8);
        assert!(turn.is_ours(&task) && turn.passed_over().is_empty(), "somebody came");
        turn.ends(&task, vec!["a".into()], 9);
        turn.begins(9);
        assert!(turn.passed_over().contains("a"));
    }
}
