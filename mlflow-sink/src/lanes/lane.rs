//! The lane of one run.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::share::Share;
use super::{Load, MAX_BATCH, MAX_BATCH_BYTES, STUCK_AFTER, pause};

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
    /// The first of them.
    taken_first: Option<u64>,
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
            taken_first: None,
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

    /// Events in hand, and bytes of them.
    pub(super) fn holds(&self) -> Share {
        Share { events: self.queue.len() + self.taken.0, bytes: self.bytes + self.taken.1 }
    }

    /// Batches in a row that could not be written.
    pub(super) fn strikes(&self) -> u32 {
        self.strikes
    }

    /// The first event of the run that was handed over and is not settled.
    pub(super) fn first_unsettled(&self) -> Option<u64> {
        let waiting = self.queue.front().map(Load::sequence);
        let missing = self.missing.first_key_value().map(|(sequence, _)| *sequence);
        [self.taken_first, waiting, missing].into_iter().flatten().min()
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

    pub(super) fn misses_some(&self) -> bool {
        !self.missing.is_empty()
    }

    pub(super) fn is_forgettable(&self) -> bool {
        self.is_idle() && !self.misses_some()
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
        self.taken_first = events.first().map(Load::sequence);
        self.bytes -= self.taken.1;
        events
    }

    /// The batch is settled: events and bytes that are not in hand any more.
    pub(super) fn settle(&mut self) -> (usize, usize) {
        self.strikes = 0;
        self.paused_until = None;
        self.taken_first = None;
        std::mem::take(&mut self.taken)
    }

    /// The batch could not be written.
    pub(super) fn put_back(&mut self, events: Vec<T>, now: Instant, luck: f64) {
        (self.taken, self.taken_first) = ((0, 0), None);
        for event in events.into_iter().rev() {
            self.bytes += event.bytes();
            self.queue.push_front(event);
        }
        self.paused_until = Some(now + pause(self.strikes, luck));
        self.strikes = self.strikes.saturating_add(1);
    }

    /// Gives back what is beyond a share, the latest events. One stays, unless the share is none.
    pub(super) fn shrink(&mut self, share: Share, now: Instant) -> Vec<T> {
        let (mut held, mut kept) = (Share { events: self.taken.0, bytes: self.taken.1 }, 0);
        for event in &self.queue {
            held = held.with(event.bytes());
            let is_only_one = held.events == 1 && share.events > 0;
            if !(is_only_one || held.fits_into(share)) {
                break;
            }
            kept += 1;
        }
        let given_back: Vec<T> = self.queue.drain(kept..).collect();
        self.bytes -= given_back.iter().map(Load::bytes).sum::<usize>();
        for event in &given_back {
            self.give_back(event, now);
        }
        given_back
    }

    /// What waits, and the lane without any event, when the run could not be written: that is still so.
    pub(super) fn emptied(self) -> (Option<Self>, impl Iterator<Item = T>) {
        let left = self.is_stuck().then(|| Self {
            strikes: self.strikes,
            paused_until: self.paused_until,
            ..Self::default()
        });
        (left, self.queue.into_iter())
    }
}
