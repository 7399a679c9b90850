//! What is in hand, in one lane per run: the events of a run are written in order, runs do not wait for each other.
//!
//! Pure: time is an argument. Bounded by count and by bytes: a run that is written may take all the room there is, and
//! waits for more of it; one that fails again and again while others do not keeps only a part, so that it leaves room
//! for them. What such a run has to give back comes again later, and until then nothing behind it is taken in: its
//! events stay in order whatever was given back.

mod lane;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use schemas::RunId;

use lane::Lane;

/// Most events in hand: enough for the next batch to be there when one is written.
pub const MAX_HELD: usize = 2000;
/// Most bytes in hand.
pub const MAX_HELD_BYTES: usize = 16 << 20;
/// Most events in hand of a run that cannot be written.
pub const MAX_STUCK: usize = 250;
/// Most bytes in hand of a run that cannot be written.
pub const MAX_STUCK_BYTES: usize = 4 << 20;
/// Failures in a row after which a run counts as one that cannot be written.
const STUCK_AFTER: u32 = 3;
/// Most weight written together ([`Load::weight`]): small enough that an interruption has little to do again, large
/// enough that what is common to a batch (ledger, curve) hardly counts. MLflow takes a thousand values in one request.
pub const MAX_BATCH: usize = 1000;
/// Most bytes written together, unless one event alone has more.
pub const MAX_BATCH_BYTES: usize = 2 << 20;
/// First pause of a lane whose batch could not be written.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause.
pub const MAX_PAUSE: Duration = Duration::from_secs(30);

/// An event, as far as the lanes look at it.
pub trait Load {
    /// Bytes it takes up.
    fn bytes(&self) -> usize;
    /// Its place in the stream.
    fn sequence(&self) -> u64;
    /// What it costs MLflow, in values of a metric.
    fn weight(&self) -> usize {
        1
    }
}

/// Everything in hand.
#[derive(Debug)]
pub struct Lanes<T> {
    lanes: BTreeMap<RunId, Lane<T>>,
    /// Runs that wait for their turn, in order of it.
    turns: VecDeque<RunId>,
    held: usize,
    held_bytes: usize,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { lanes: BTreeMap::new(), turns: VecDeque::new(), held: 0, held_bytes: 0 }
    }
}

impl<T: Load> Lanes<T> {
    /// Events in hand, those of running batches included.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Bytes of them.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// How many more events, and bytes of them, may be taken in.
    pub fn room(&self) -> (usize, usize) {
        (MAX_HELD.saturating_sub(self.held), MAX_HELD_BYTES.saturating_sub(self.held_bytes))
    }

    /// Takes an event in; gives it back when its run cannot be written and holds enough already, or when an earlier one
    /// was given back and has not come again.
    pub fn push(&mut self, run: &RunId, event: T, now: Instant) -> Result<(), T> {
        let lane = self.lanes.entry(run.clone()).or_default();
        if lane.misses_what_is_before(event.sequence(), now) || lane.is_full() {
            lane.give_back(&event, now);
            return Err(event);
        }
        if lane.is_idle() {
            self.turns.push_back(run.clone());
        }
        self.held += 1;
        self.held_bytes += event.bytes();
        lane.push(event);
        Ok(())
    }

    /// The next batch: of the run that has waited longest and is not paused. Runs that cannot be written share one turn,
    /// so that they leave the others to the runs that can.
    pub fn take(&mut self, now: Instant) -> Option<(RunId, Vec<T>)> {
        let lanes = &self.lanes;
        let is_one_stuck = lanes.values().any(|lane| lane.is_stuck() && lane.is_running());
        let is_due = |run: &RunId| {
            lanes.get(run).is_some_and(|lane| lane.is_due(now) && !(is_one_stuck && lane.is_stuck()))
        };
        let position = self.turns.iter().position(is_due)?;
        let run = self.turns.remove(position)?;
        let events = self.lanes.get_mut(&run)?.take();
        Some((run, events))
    }

    /// When the first paused lane goes on.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.turns.iter().filter_map(|run| self.lanes.get(run)?.paused_until()).min()
    }

    /// The batch of a run is settled.
    pub fn settle(&mut self, run: &RunId) {
        let Some(lane) = self.lanes.get_mut(run) else { return };
        let (events, bytes) = lane.settle();
        self.held -= events;
        self.held_bytes -= bytes;
        if lane.is_forgettable() {
            self.lanes.remove(run);
        } else if !lane.is_idle() {
            self.turns.push_back(run.clone());
        }
    }

    /// The batch of a run could not be written: it comes first again, after a pause that grows. `luck` from 0 to 1
    /// spreads the pauses of several lanes. Gives back what a run that cannot be written may not keep, the latest
    /// events.
    #[must_use = "what is given back is not in hand any more"]
    pub fn put_back(&mut self, run: &RunId, events: Vec<T>, now: Instant, luck: f64) -> Vec<T> {
        let Some(lane) = self.lanes.get_mut(run) else { return events };
        let given_back = lane.put_back(events, now, luck);
        self.turns.push_back(run.clone());
        self.held -= given_back.len();
        self.held_bytes -= given_back.iter().map(Load::bytes).sum::<usize>();
        given_back
    }

    /// Everything that waits, given back unwritten; nothing is remembered of it.
    pub fn empty(&mut self) -> Vec<T> {
        let lanes = std::mem::take(self);
        lanes.lanes.into_values().flat_map(Lane::into_waiting).collect()
    }
}

/// How long to wait after so many failures in a row: doubling up to [`MAX_PAUSE`], the upper half of it by luck.
pub fn pause(failures: u32, luck: f64) -> Duration {
    let full = FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(MAX_PAUSE);
    full.mul_f64(0.5 + luck.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests;
