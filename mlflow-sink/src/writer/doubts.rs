//! When to look for runs of creates that may still be carried out: a while after the doubt arose, once more later, and
//! besides at the end of the run.
//!
//! Pure: time is an argument. Forgotten with the process; the end of the run does not depend on it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use schemas::RunId;

/// Times after a doubt arose.
const LOOKS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(600)];
/// Most runs with doubts that are remembered; what is beyond is looked for at its end.
const MAX_RUNS: usize = 1000;

/// Runs with doubts: when the last one arose, and how often they were looked at since.
#[derive(Debug, Default)]
pub(super) struct Doubts(BTreeMap<RunId, (Instant, usize)>);

impl Doubts {
    /// A doubt arose.
    pub(super) fn note(&mut self, run: &RunId, now: Instant) {
        if self.0.len() < MAX_RUNS || self.0.contains_key(run) {
            self.0.insert(run.clone(), (now, 0));
        }
    }

    /// A run that is to be looked at now. It does not come again before its next time.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<RunId> {
        let is_due = |(since, looks): &(Instant, usize)| {
            LOOKS.get(*looks).is_some_and(|after| now.saturating_duration_since(*since) >= *after)
        };
        let run = self.0.iter().find(|(_, times)| is_due(times))?.0.clone();
        let (_, looks) = self.0.get_mut(&run)?;
        *looks += 1;
        if *looks == LOOKS.len() {
            self.0.remove(&run);
        }
        Some(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_with_a_doubt_is_looked_at_after_a_minute_and_after_ten() {
        let (mut doubts, now) = (Doubts::default(), Instant::now());
        let run = RunId::parse("r").unwrap();
        doubts.note(&run, now);
        assert_eq!(doubts.take_due(now + Duration::from_secs(59)), None);
        assert_eq!(doubts.take_due(now + Duration::from_secs(60)), Some(run.clone()));
        assert_eq!(doubts.take_due(now + Duration::from_secs(599)), None);
        assert_eq!(doubts.take_due(now + Duration::from_secs(600)), Some(run.clone()));
        assert_eq!(doubts.take_due(now + Duration::from_secs(9999)), None);
    }

    #[test]
    fn a_new_doubt_begins_anew() {
        let (mut doubts, now) = (Doubts::default(), Instant::now());
        let run = RunId::parse("r").unwrap();
        doubts.note(&run, now);
        doubts.note(&run, now + Duration::from_secs(50));
        assert_eq!(doubts.take_due(now + Duration::from_secs(60)), None);
        assert_eq!(doubts.take_due(now + Duration::from_secs(110)), Some(run));
    }
}
