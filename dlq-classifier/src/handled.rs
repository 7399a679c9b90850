//! Book of what was settled while it was still on the stream, kept in the bucket `cerebros_dlq` under [`KEY`].
//!
//! Pure. A consumer's ack floor proves that what is on the stream below it was settled. It proves nothing about what is
//! gone: the broker moves the floor past whatever it drops. So the classifier writes the floors down while the messages
//! are there, and what goes beyond them without notice is written down as a hole.

use std::collections::BTreeMap;

use schemas::Timestamp;
use serde::{Deserialize, Serialize};

/// Key of the book in the bucket of the dead-letter queue.
pub const KEY: &str = "handled";
/// Holes that are remembered; more than that are told as one.
const MAX_HOLES: usize = 100;

/// The book.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Handled {
    /// First sequence it knows about: the first there was when it was begun.
    pub since: u64,
    /// Of each consumer of ours: everything up to here was settled while it was on the stream.
    pub floors: BTreeMap<String, u64>,
    /// Everything up to here that was not settled was announced to leave.
    #[serde(default)]
    pub noticed: u64,
    /// What left the stream unsettled.
    #[serde(default)]
    pub holes: Vec<Hole>,
}

/// Messages that left the stream before everybody had settled them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// First sequence.
    pub from: u64,
    /// Last sequence.
    pub to: u64,
    /// When they were found gone.
    pub at: Timestamp,
    /// Their leaving was announced, or has been told for as long as events are kept.
    #[serde(default)]
    pub is_known: bool,
}

impl Handled {
    /// Begins the book on a stream whose first sequence is `first`.
    pub fn begin(first: u64) -> Self {
        Self { since: first.max(1), ..Self::default() }
    }

    /// Everything up to here was settled by everyone it was for.
    pub fn through(&self) -> u64 {
        self.floors.values().copied().min().unwrap_or(0).max(self.since.saturating_sub(1))
    }

    /// Brings the book up to date: everything on the stream up to each of `floors` is settled, and the stream begins at
    /// `first`, which was asked after the floors were. A hole nobody had announced is a finding for as long as events of
    /// its time would be kept (`keep_micros`).
    pub fn advance(&mut self, first: u64, floors: BTreeMap<String, u64>, now: Timestamp, keep_micros: i64) {
        for hole in self.holes.iter_mut().filter(|hole| now.micros() - hole.at.micros() >= keep_micros) {
            hole.is_known = true;
        }
        if !self.floors.is_empty() {
            let (through, gone) = (self.through(), first.saturating_sub(1));
            self.hole(through + 1, gone.min(self.noticed), now, true);
            self.hole(through.max(self.noticed) + 1, gone, now, false);
        }
        self.floors = floors;
    }

    fn hole(&mut self, from: u64, to: u64, at: Timestamp, is_known: bool) {
        if from > to {
            return;
        }
        match self.holes.last_mut() {
            Some(last) if last.to + 1 == from && last.is_known == is_known => last.to = to,
            Some(_) | None => self.holes.push(Hole { from, to, at, is_known }),
        }
        if self.holes.len() > MAX_HOLES {
            let merged = self.holes.remove(0);
            self.holes[0].from = merged.from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floors(worker: u64, sink: u64) -> BTreeMap<String, u64> {
        [("worker".to_owned(), worker), ("sink".to_owned(), sink)].into()
    }

    #[test]
    fn what_leaves_unsettled_is_a_hole_and_one_that_was_announced_is_known() {
        let (now, keep) = (Timestamp::from_micros(1_000_000), 5_000_000);
        let mut book = Handled::begin(1);
        book.advance(1, floors(10, 7), now, keep);
        assert_eq!((book.through(), book.holes.len()), (7, 0));
        // Seven were settled by all: they may go.
        book.advance(8, floors(12, 9), now, keep);
        assert_eq!((book.through(), book.holes.len()), (9, 0));
        book.noticed = 11;
        book.advance(12, floors(12, 12), now, keep);
        let announced = Hole { from: 10, to: 11, at: now, is_known: true };
        assert_eq!(book.holes.as_slice(), std::slice::from_ref(&announced));
        // Somebody empties the stream, and the broker moves the floors along.
        book.advance(40, floors(39, 39), now, keep);
        assert_eq!(book.holes, [announced, Hole { from: 13, to: 39, at: now, is_known: false }]);
        book.advance(40, floors(40, 40), Timestamp::from_micros(7_000_000), keep);
        assert!(book.holes.iter().all(|hole| hole.is_known), "it was told long enough");
    }

    #[test]
    fn what_was_gone_when_the_book_was_begun_is_no_hole_of_it() {
        let mut book = Handled::begin(100);
        book.advance(100, floors(0, 0), Timestamp::default(), 1);
        assert_eq!((book.through(), book.holes.len()), (99, 0));
    }
}
