//! Whose turn it is of the tasks that wait: of those with something to do now the one whose last turn is longest ago; a new
//! one at once. Pure: the clock is an argument.

use std::collections::HashMap;

use schemas::Timestamp;

use crate::task::Task;

/// The turns taken so far.
#[derive(Debug, Default)]
pub(super) struct Turns {
    last: HashMap<String, u64>,
    taken: u64,
}

impl Turns {
    /// The next task, whose turn it is from now on. Where none has anything to do, the one that has first.
    pub(super) fn next<'a>(
        &mut self,
        waiting: impl Iterator<Item = &'a Task>,
        now: Timestamp,
    ) -> Option<&'a Task> {
        let last = |task: &Task| self.last.get(&task.id).copied().unwrap_or(0);
        let next = waiting.min_by_key(|task| (task.wait(now), last(task), task.created, &task.id))?;
        self.taken += 1;
        self.last.insert(next.id.clone(), self.taken);
        Some(next)
    }

    /// Forgets all but the tasks that wait.
    pub(super) fn keep(&mut self, waits: impl Fn(&str) -> bool) {
        self.last.retain(|id, _| waits(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Plan, Wish};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn task(id: &str, rate: Option<&str>, sent: Option<i64>) -> Task {
        let plan = Plan::at_rate(rate);
        Task { sent: sent.map(at), ..Task::new(id.into(), plan, at(1)) }
    }

    fn next(turns: &mut Turns, tasks: &[Task], now: i64) -> String {
        turns.next(tasks.iter(), at(now)).unwrap().id.clone()
    }

    #[test]
    fn tasks_take_turns_and_a_new_one_comes_first() {
        let mut turns = Turns::default();
        let mut tasks = vec![task("a", None, None), task("b", None, None)];
        assert_eq!([next(&mut turns, &tasks, 2), next(&mut turns, &tasks, 2)], ["a", "b"]);
        assert_eq!(next(&mut turns, &tasks, 2), "a");
        tasks.push(task("c", None, None));
        assert_eq!([next(&mut turns, &tasks, 2), next(&mut turns, &tasks, 2)], ["c", "b"]);
        turns.keep(|id| id != "c");
        assert_eq!(next(&mut turns, &tasks, 2), "c");
        assert!(turns.next([].into_iter(), at(2)).is_none());
    }

    #[test]
    fn one_that_waits_for_its_rate_lets_the_others_go_first_and_an_order_waits_for_nothing() {
        let mut turns = Turns::default();
        let slow = |id: &str, sent: i64| task(id, Some("0.1/s"), Some(sent));
        let mut tasks = vec![slow("a", 102), slow("b", 101), task("c", None, None)];
        assert_eq!([next(&mut turns, &tasks, 103), next(&mut turns, &tasks, 103)], ["c", "c"]);
        tasks.pop();
        assert_eq!(next(&mut turns, &tasks, 103), "b", "the first of those that wait");
        assert_eq!(next(&mut turns, &tasks, 112), "a", "both are due: it has had no turn yet");
        tasks[0].wish = Wish::Pause;
        assert_eq!(next(&mut turns, &tasks, 103), "a");
    }
}
