//! Tasks that could not be carried out and rest for a while, so that those behind them get their turn. Pure: the clock is
//! an argument.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// Rest after the first failure; it doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(1);
/// Longest rest: how long a task may stand when what it lacked is there again.
const LONGEST: Duration = Duration::from_secs(30);

/// The tasks that rest, of those that wait.
#[derive(Debug, Default)]
pub(super) struct Resting(HashMap<String, Rest>);

#[derive(Debug)]
struct Rest {
    pause: Duration,
    until: Instant,
    /// Failures that are the task's own.
    faults: u32,
}

impl Resting {
    /// The tasks that rest now.
    pub(super) fn names(&self, now: Instant) -> HashSet<String> {
        self.0.iter().filter(|(_, rest)| now < rest.until).map(|(id, _)| id.clone()).collect()
    }

    /// A task could not be carried out; how often that was its own fault.
    pub(super) fn rest(&mut self, id: &str, is_own_fault: bool, now: Instant) -> u32 {
        let known = self.0.get(id);
        let pause = known.map_or(FIRST, |rest| (rest.pause * 2).min(LONGEST));
        let faults = known.map_or(0, |rest| rest.faults) + u32::from(is_own_fault);
        self.0.insert(id.to_owned(), Rest { pause, until: now + pause, faults });
        faults
    }

    /// Forgets all but the tasks that wait.
    pub(super) fn keep(&mut self, waits: impl Fn(&str) -> bool) {
        self.0.retain(|id, _| waits(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_fails_rests_longer_each_time_and_only_its_own_faults_count() {
        let mut now = Instant::now();
        let mut resting = Resting::default();
        assert!(!resting.names(now).contains("a"));
        assert_eq!(resting.rest("a", false, now), 0);
        assert!(resting.names(now).contains("a") && !resting.names(now).contains("b"));
        now += FIRST;
        assert!(!resting.names(now).contains("a"));
        assert_eq!(resting.rest("a", true, now), 1);
        assert!(resting.names(now + FIRST).contains("a"));
        for _ in 0..20 {
            resting.rest("a", false, now);
        }
        assert!(!resting.names(now + LONGEST).contains("a"));
        assert_eq!(resting.rest("a", true, now), 2);
        resting.keep(|id| id != "a");
        assert_eq!(resting.rest("a", true, now), 1);
    }
}
