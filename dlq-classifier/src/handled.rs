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
    /// What left the stream unsettled and unannounced.
    #[serde(default)]
    pub holes: Vec<Hole>,
}

/// Messages that left the stream before anybody knew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// First sequence.
    pub from: u64,
    /// Last sequence.
    pub to: u64,
    /// When it was noticed.
    pub at: Timestamp,
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

    /// Brings the book up to date: the stream begins at `first` now, and everything on it up to each of `floors` is
    /// settled. Holes are forgotten when events of their time would be (`keep_micros`).
    pub fn advance(&mut self, first: u64, floors: BTreeMap<String, u64>, now: Timestamp, keep_micros: i64) {
        let known = self.through().max(self.noticed);
        self.holes.retain(|hole| now.micros() - hole.at.micros() < keep_micros);
        if first > known + 1 && !self.floors.is_empty() {
            self.holes.push(Hole { from: known + 1, to: first - 1, at: now });
            if self.holes.len() > MAX_HOLES {
                let merged = self.holes.remove(0);
                self.holes[0].from = merged.from;
            }
        }
        self.floors = floors;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floors(worker: u64, sink: u64) -> BTreeMap<String, u64> {
        [("worker".to_owned(), worker), ("sink".to_owned(), sink)].into()
    }

    #[test]
    fn what_leaves_settled_or_announced_is_no_hole_and_the_rest_is() {
        let (now, keep) = (Timestamp::from_micros(1_000_000), 5_000_000);
        let mut book = Handled::begin(1);
        book.advance(1, floors(10, 7), now, keep);
        assert_eq!((book.through(), book.holes.len()), (7, 0));
        // Seven were settled by all: they may go.
        book.advance(8, floors(12, 9), now, keep);
        assert_eq!((book.through(), book.holes.len()), (9, 0));
        book.noticed = 11;
        book.advance(12, floors(12, 12), now, keep);
        assert_eq!(book.holes, []);
        // Somebody empties the stream, and the broker moves the floors along.
        book.advance(40, floors(39, 39), now, keep);
        assert_eq!(book.holes, [Hole { from: 13, to: 39, at: now }]);
        book.advance(40, floors(40, 40), Timestamp::from_micros(7_000_000), keep);
        assert_eq!(book.holes, []);
    }

    #[test]
    fn what_was_gone_when_the_book_was_begun_is_no_hole_of_it() {
        let mut book = Handled::begin(100);
        book.advance(100, floors(0, 0), Timestamp::default(), 1);
        assert_eq!((book.through(), book.holes.len()), (99, 0));
    }
}
