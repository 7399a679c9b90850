//! When a terminal that has let its task go for others takes it up again: not before its next message may go, nor before
//! a classifier has had the time to notice. Others nobody came for in that time are not waited for again for a while.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use service_kit::clock;

use crate::task::Task;

/// Shortest time others are given to come: longer than a classifier looks away.
const GAP: Duration = Duration::from_millis(1200);
/// How long those nobody came for are passed over.
const PASSED_OVER: Duration = Duration::from_secs(30);

/// The turns of one task.
#[derive(Default)]
pub(super) struct Turn {
    gap: Option<Gap>,
    /// Those nobody came for, and when that was seen.
    passed_over: HashMap<String, Instant>,
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
            let now = Instant::now();
            self.passed_over.retain(|_, since| now.duration_since(*since) < PASSED_OVER);
            self.passed_over.extend(gap.others.into_iter().map(|id| (id, now)));
        }
    }

    /// The task was let go for others.
    pub(super) fn ends(&mut self, task: &Task, others: Vec<String>, left: u64) {
        let until = Instant::now() + task.wait(clock::now()).max(GAP);
        self.gap = Some(Gap { until, others, left });
    }

    /// True if nobody came for a task a while ago.
    pub(super) fn passes_over(&self, id: &str, now: Instant) -> bool {
        self.passed_over.get(id).is_some_and(|since| now.duration_since(*since) < PASSED_OVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Plan, Wish};

    fn task() -> Task {
        let plan = Plan::at_rate(Some("0.01/s"));
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
        assert!(turn.is_ours(&task) && !turn.passes_over("a", Instant::now()), "somebody came");
        turn.ends(&task, vec!["a".into()], 9);
        turn.begins(9);
        assert!(turn.passes_over("a", Instant::now()));
        assert!(!turn.passes_over("a", Instant::now() + PASSED_OVER), "there may be a classifier by now");
    }
}
