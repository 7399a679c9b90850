//! The lane of one run.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::{Load, MAX_BATCH, MAX_BATCH_BYTES, MAX_STUCK, MAX_STUCK_BYTES, STUCK_AFTER, pause};

/// How long an event that was given back is waited for: far longer than the broker keeps it back. One that does not come
/// by then is not in the stream any more.
const GONE_AFTER: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(super) struct Lane<T> {
    queue: VecDeque<T>,
    /// Bytes of the queue.
    bytes: usize,
    /// Events, and bytes of them, taken out for a batch that is not settled yet.
    taken: (usize, usize),
    /// Batches in a row that could not be written.
    strikes: u32,
    paused_until: Option<Instant>,
    /// Sequences given back that have not come again, and when they were.
    missing: BTreeMap<u64, Instant>,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            bytes: 0,
            taken: (0, 0),
            strikes: 0,
            paused_until: None,
            missing: BTreeMap::new(),
        }
    }
}

impl<T: Load> Lane<T> {
    /// True when an event before this one was given back and has not come again.
    pub(super) fn misses_what_is_before(&mut self, sequence: u64, now: Instant) -> bool {
        while let Some(first) = self.missing.first_entry() {
            if *first.key() >= sequence {
                return false;
            }
            if now.saturating_duration_since(*first.get()) < GONE_AFTER {
                return true;
            }
            first.remove();
        }
        false
    }

    /// True for a run that cannot be written and holds all it may.
    pub(super) fn is_full(&self) -> bool {
        let (events, bytes) = (self.queue.len() + self.taken.0, self.bytes + self.taken.1);
        self.is_stuck() && (events >= MAX_STUCK || bytes >= MAX_STUCK_BYTES)
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.strikes >= STUCK_AFTER
    }

    pub(super) fn is_running(&self) -> bool {
        self.taken.0 > 0
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && !self.is_running()
    }

    pub(super) fn is_forgettable(&self) -> bool {
        self.is_idle() && self.missing.is_empty()
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.paused_until.is_none_or(|until| until <= now)
    }

    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    pub(super) fn give_back(&mut self, event: &T, now: Instant) {
        self.missing.insert(event.sequence(), now);
    }

    pub(super) fn push(&mut self, event: T) {
        self.missing.remove(&event.sequence());
        self.bytes += event.bytes();
        self.queue.push_back(event);
    }

    /// The next batch.
    pub(super) fn take(&mut self) -> Vec<T> {
        let (mut bytes, mut weight) = (0, 0);
        let fits = |event: &&T| {
            bytes += event.bytes();
            weight += event.weight();
            bytes <= MAX_BATCH_BYTES && weight <= MAX_BATCH
        };
        let count = self.queue.iter().take_while(fits).count().max(1).min(self.queue.len());
        let events: Vec<T> = self.queue.drain(..count).collect();
        self.taken = (count, events.iter().map(Load::bytes).sum());
        self.bytes -= self.taken.1;
        events
    }

    /// The batch is settled: events and bytes that are not in hand any more.
    pub(super) fn settle(&mut self) -> (usize, usize) {
        self.strikes = 0;
        self.paused_until = None;
        std::mem::take(&mut self.taken)
    }

    /// The batch could not be written. Gives back what the lane may not keep.
    pub(super) fn put_back(&mut self, events: Vec<T>, now: Instant, luck: f64) -> Vec<T> {
        self.taken = (0, 0);
        for event in events.into_iter().rev() {
            self.bytes += event.bytes();
            self.queue.push_front(event);
        }
        self.paused_until = Some(now + pause(self.strikes, luck));
        self.strikes = self.strikes.saturating_add(1);
        if !self.is_stuck() {
            return Vec::new();
        }
        let mut bytes = 0;
        let may_stay = |event: &&T| {
            bytes += event.bytes();
            bytes <= MAX_STUCK_BYTES
        };
        let kept =
            self.queue.iter().take(MAX_STUCK).take_while(may_stay).count().max(1).min(self.queue.len());
        let given_back: Vec<T> = self.queue.drain(kept..).collect();
        self.bytes -= given_back.iter().map(Load::bytes).sum::<usize>();
        for event in &given_back {
            self.give_back(event, now);
        }
        given_back
    }

    pub(super) fn into_waiting(self) -> impl Iterator<Item = T> {
        self.queue.into_iter()
    }
}
