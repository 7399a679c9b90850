//! What is in hand, in one lane per run: the events of a run are written in order, runs do not wait for each other.
//!
//! Pure: time is an argument. Bounded by count and by bytes: a run that is written may take all the room there is, and
//! waits for more of it; those that fail again and again while others do not keep only a part, all of them together, so
//! that they leave room for the others. What such a run has to give back comes again later, and until then nothing behind
//! it is taken in: its events stay in order whatever was given back.

mod lane;
mod share;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use schemas::RunId;

use lane::Lane;
use share::Share;

/// Most events in hand: enough for the next batch to be there when one is written.
pub const MAX_HELD: usize = 2000;
/// Most bytes in hand.
pub const MAX_HELD_BYTES: usize = 16 << 20;
/// Most events in hand of all runs that cannot be written.
pub const MAX_STUCK: usize = 250;
/// Most bytes in hand of all runs that cannot be written.
pub const MAX_STUCK_BYTES: usize = 4 << 20;
/// Most runs of which it is remembered that they could not be written, when everything is taken anew.
const MAX_REMEMBERED: usize = 1000;
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
/// Pause of all runs that cannot be written after one of them was tried: however many they are, the server is not stormed.
const STUCK_PAUSE: Duration = Duration::from_secs(1);
/// When what was given back comes again. A run that can be written again does not wait for it ([`Lanes::settle`]).
pub const RETURNS_AFTER: Duration = Duration::from_secs(60);

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
    /// A run that cannot be written and has nothing in hand wanted to hold something, and the others had it all.
    is_contended: bool,
    /// When the next run that cannot be written may be tried.
    stuck_until: Option<Instant>,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self {
            lanes: BTreeMap::new(),
            turns: VecDeque::new(),
            held: 0,
            held_bytes: 0,
            is_contended: false,
            stuck_until: None,
        }
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
        let is_full = self.has_no_room_for(run, &event);
        let lane = self.lanes.entry(run.clone()).or_default();
        if lane.misses_what_is_before(event.sequence(), now) || is_full {
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

    /// True for an event of a run that cannot be written, when it or all such runs hold what they may.
    fn has_no_room_for(&mut self, run: &RunId, event: &T) -> bool {
        let Some(lane) = self.lanes.get(run).filter(|lane| lane.is_stuck()) else { return false };
        let (own, (runs, all)) = (lane.holds(), self.stuck());
        let is_first = own.events == 0;
        let is_its_share_used = !is_first && !own.with(event.bytes()).fits_into(Share::of(runs));
        let is_all_used = !all.with(event.bytes()).fits_into(Share::ALL);
        self.is_contended |= is_first && is_all_used;
        is_its_share_used || is_all_used
    }

    /// How many runs that cannot be written hold something, and what all of it is.
    fn stuck(&self) -> (usize, Share) {
        let held = self.lanes.values().filter(|lane| lane.is_stuck()).map(Lane::holds);
        let held = held.filter(|held| held.events > 0);
        held.fold((0, Share::NONE), |(runs, all), held| (runs + 1, all.and(held)))
    }

    /// True for a run that has failed again and again.
    pub fn is_stuck(&self, run: &RunId) -> bool {
        self.lanes.get(run).is_some_and(Lane::is_stuck)
    }

    /// The runs something is to be written of: the first event of each, how often in a row it has failed, and whether it
    /// counts as one that cannot be written.
    pub fn waiting(&self) -> impl Iterator<Item = (&RunId, u64, u32, bool)> {
        self.lanes
            .iter()
            .filter_map(|(run, lane)| Some((run, lane.first_unsettled()?, lane.strikes(), lane.is_stuck())))
    }

    /// True when nothing is in hand and nothing was given back.
    pub fn is_empty(&self) -> bool {
        self.held == 0 && self.lanes.values().all(Lane::is_forgettable)
    }

    /// The next batch: of the run that has waited longest and is not paused. Runs that cannot be written share one turn,
    /// so that they leave the others to the runs that can.
    pub fn take(&mut self, now: Instant) -> Option<(RunId, Vec<T>)> {
        let position = self.turns.iter().position(|run| self.may_be_taken(run, now))?;
        self.take_turn(position)
    }

    /// The same, of a run that has failed least: whether the server takes anything is best seen by it.
    pub fn take_most_promising(&mut self, now: Instant) -> Option<(RunId, Vec<T>)> {
        let strikes = |run: &RunId| self.lanes.get(run).map_or(0, Lane::strikes);
        let turns = self.turns.iter().enumerate().filter(|(_, run)| self.may_be_taken(run, now));
        let (position, _) = turns.min_by_key(|(_, run)| strikes(run))?;
        self.take_turn(position)
    }

    fn may_be_taken(&self, run: &RunId, now: Instant) -> bool {
        let is_one_stuck = || self.lanes.values().any(|lane| lane.is_stuck() && lane.is_running());
        let is_due = self.due(run).is_none_or(|due| due <= now);
        is_due && self.lanes.get(run).is_some_and(|lane| !(lane.is_stuck() && is_one_stuck()))
    }

    /// When a run may be tried again; none for one that may at once.
    fn due(&self, run: &RunId) -> Option<Instant> {
        let lane = self.lanes.get(run)?;
        lane.paused_until().max(self.stuck_until.filter(|_| lane.is_stuck()))
    }

    fn take_turn(&mut self, position: usize) -> Option<(RunId, Vec<T>)> {
        let run = self.turns.remove(position)?;
        let events = self.lanes.get_mut(&run)?.take();
        Some((run, events))
    }

    /// When the first paused lane goes on.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.turns.iter().filter_map(|run| self.due(run)).min()
    }

    /// The batch of a run is settled. True when events of it were given back before, so that the run goes on sooner when
    /// everything that is unsettled is taken anew.
    pub fn settle(&mut self, run: &RunId) -> bool {
        let Some(lane) = self.lanes.get_mut(run) else { return false };
        let (events, bytes) = lane.settle();
        self.held -= events;
        self.held_bytes -= bytes;
        let misses_some = lane.misses_some();
        if lane.is_forgettable() {
            self.lanes.remove(run);
        } else if !lane.is_idle() {
            self.turns.push_back(run.clone());
        }
        misses_some
    }

    /// The batch of a run could not be written: it comes first again, after a pause that grows. `luck` from 0 to 1
    /// spreads the pauses of several lanes. Gives back what the runs that cannot be written may not keep, the latest
    /// events of each.
    #[must_use = "what is given back is not in hand any more"]
    pub fn put_back(&mut self, run: &RunId, events: Vec<T>, now: Instant, luck: f64) -> Vec<T> {
        let Some(lane) = self.lanes.get_mut(run) else { return events };
        lane.put_back(events, now, luck);
        let mut given_back = Vec::new();
        if lane.is_stuck() {
            self.stuck_until = Some(now + STUCK_PAUSE);
            given_back = self.share_out(run, now);
        }
        if !self.lanes.get(run).is_none_or(Lane::is_idle) {
            self.turns.push_back(run.clone());
        }
        self.held -= given_back.len();
        self.held_bytes -= given_back.iter().map(Load::bytes).sum::<usize>();
        given_back
    }

    /// Leaves each run that cannot be written its share. When that is still too much, or others wait for theirs in vain,
    /// the one that has just had its turn keeps nothing, and has another when its events come again.
    fn share_out(&mut self, run: &RunId, now: Instant) -> Vec<T> {
        let is_contended = std::mem::take(&mut self.is_contended);
        let share = Share::of(self.stuck().0 + usize::from(is_contended));
        let stuck = self.lanes.values_mut().filter(|lane| lane.is_stuck());
        let mut given_back: Vec<T> = stuck.flat_map(|lane| lane.shrink(share, now)).collect();
        let is_too_much = !self.stuck().1.fits_into(Share::ALL);
        if is_too_much || (is_contended && given_back.is_empty()) {
            let lane = self.lanes.get_mut(run);
            given_back.extend(lane.into_iter().flat_map(|lane| lane.shrink(Share::NONE, now)));
        }
        given_back
    }

    /// Everything that waits, given back unwritten; nothing is remembered of it but which runs could not be written.
    pub fn empty(&mut self) -> Vec<T> {
        let Self { lanes, stuck_until, .. } = std::mem::take(self);
        self.stuck_until = stuck_until;
        let mut waiting = Vec::new();
        for (run, lane) in lanes {
            let (left, events) = lane.emptied();
            waiting.extend(events);
            if let Some(left) = left.filter(|_| self.lanes.len() < MAX_REMEMBERED) {
                self.lanes.insert(run, left);
            }
        }
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
