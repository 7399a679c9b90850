//! What is in hand, in one lane per run: the events of a run are written in order, runs do not wait for each other.
//!
//! Pure: time is an argument. Bounded: a run that is written may take all the room there is, and waits for more of it;
//! one that fails again and again while others do not keeps only a part, so that it leaves room for them.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use schemas::RunId;

/// Most events in hand: half of what the broker lets the consumer have unacked.
pub const MAX_HELD: usize = 1000;
/// Most events in hand of a run that cannot be written.
pub const MAX_STUCK: usize = 250;
/// Failures in a row after which a run counts as one that cannot be written.
const STUCK_AFTER: u32 = 3;
/// Most events written together: small enough that an interruption loses little, large enough that the requests
/// common to a batch (parent, curve) hardly count.
pub const MAX_BATCH: usize = 128;
/// First pause of a lane whose batch could not be written.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause.
pub const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Everything in hand.
#[derive(Debug)]
pub struct Lanes<T> {
    lanes: BTreeMap<RunId, Lane<T>>,
    /// Runs that wait for their turn, in order of it.
    turns: VecDeque<RunId>,
    held: usize,
}

#[derive(Debug)]
struct Lane<T> {
    queue: VecDeque<T>,
    /// Events taken out for a batch that is not settled yet.
    taken: usize,
    /// Batches in a row that could not be written.
    strikes: u32,
    paused_until: Option<Instant>,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { lanes: BTreeMap::new(), turns: VecDeque::new(), held: 0 }
    }
}

impl<T> Lanes<T> {
    /// Events in hand, those of running batches included.
    pub fn held(&self) -> usize {
        self.held
    }

    /// True when another event may be taken in.
    pub fn has_room(&self) -> bool {
        self.held < MAX_HELD
    }

    /// Takes an event in; gives it back when its run cannot be written and holds enough already.
    pub fn push(&mut self, run: &RunId, event: T) -> Result<(), T> {
        let lane = self.lanes.entry(run.clone()).or_insert_with(|| Lane {
            queue: VecDeque::new(),
            taken: 0,
            strikes: 0,
            paused_until: None,
        });
        if lane.strikes >= STUCK_AFTER && lane.queue.len() + lane.taken >= MAX_STUCK {
            return Err(event);
        }
        if lane.queue.is_empty() && lane.taken == 0 {
            self.turns.push_back(run.clone());
        }
        lane.queue.push_back(event);
        self.held += 1;
        Ok(())
    }

    /// The next batch: of the run that has waited longest and is not paused.
    pub fn take(&mut self, now: Instant) -> Option<(RunId, Vec<T>)> {
        let lanes = &self.lanes;
        let is_due = |run: &RunId| {
            lanes.get(run).is_some_and(|lane| lane.paused_until.is_none_or(|until| until <= now))
        };
        let position = self.turns.iter().position(is_due)?;
        let run = self.turns.remove(position)?;
        let lane = self.lanes.get_mut(&run)?;
        let count = lane.queue.len().min(MAX_BATCH);
        lane.taken = count;
        Some((run, lane.queue.drain(..count).collect()))
    }

    /// When the first paused lane goes on.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.turns.iter().filter_map(|run| self.lanes.get(run)?.paused_until).min()
    }

    /// The batch of a run is settled.
    pub fn settle(&mut self, run: &RunId) {
        let Some(lane) = self.lanes.get_mut(run) else { return };
        self.held -= lane.taken;
        lane.taken = 0;
        lane.strikes = 0;
        lane.paused_until = None;
        if lane.queue.is_empty() {
            self.lanes.remove(run);
        } else {
            self.turns.push_back(run.clone());
        }
    }

    /// The batch of a run could not be written: it comes first again, after a pause that grows. `luck` from 0 to 1
    /// spreads the pauses of several lanes. Gives back what a run that cannot be written may not keep, the latest
    /// events.
    #[must_use = "what is given back is not in hand any more"]
    pub fn put_back(&mut self, run: &RunId, events: Vec<T>, now: Instant, luck: f64) -> Vec<T> {
        let Some(lane) = self.lanes.get_mut(run) else { return events };
        self.held = self.held + events.len() - lane.taken;
        lane.taken = 0;
        for event in events.into_iter().rev() {
            lane.queue.push_front(event);
        }
        lane.paused_until = Some(now + pause(lane.strikes, luck));
        lane.strikes = lane.strikes.saturating_add(1);
        self.turns.push_back(run.clone());
        if lane.strikes < STUCK_AFTER || lane.queue.len() <= MAX_STUCK {
            return Vec::new();
        }
        let given_back: Vec<T> = lane.queue.drain(MAX_STUCK..).collect();
        self.held -= given_back.len();
        given_back
    }

    /// Everything that waits, given back unwritten.
    pub fn empty(&mut self) -> Vec<T> {
        let waiting: Vec<T> = self.lanes.values_mut().flat_map(|lane| lane.queue.drain(..)).collect();
        self.held -= waiting.len();
        self.turns.clear();
        waiting
    }
}

/// How long to wait after so many failures in a row: doubling up to [`MAX_PAUSE`], the upper half of it by luck.
pub fn pause(failures: u32, luck: f64) -> Duration {
    let full = FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(MAX_PAUSE);
    full.mul_f64(0.5 + luck.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests;
