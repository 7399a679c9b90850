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
/// Holes that are remembered; of more than that, neighbours are told as one.
const MAX_HOLES: usize = 100;

/// The book.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Handled {
    /// When the stream was created, in microseconds; 0 in books of earlier builds.
    #[serde(default)]
    pub stream: i64,
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
    /// Their leaving was announced. What left in silence stays a finding: time makes nobody know of it.
    #[serde(default)]
    pub is_known: bool,
}

impl Handled {
    /// Begins the book on a stream created at `stream`, whose first sequence is `first`.
    pub fn begin(stream: i64, first: u64) -> Self {
        Self { stream, since: first.max(1), ..Self::default() }
    }

    /// The book, if it is of the stream created at `stream`: of another one of the name it says nothing. One that does not
    /// say of which it is becomes a book of this one.
    #[must_use]
    pub fn of(self, stream: i64) -> Option<Self> {
        (self.stream == stream || self.stream == 0).then_some(Self { stream, ..self })
    }

    /// Everything up to here was settled by everyone it was for.
    pub fn through(&self) -> u64 {
        self.floors.values().copied().min().unwrap_or(0).max(self.since.saturating_sub(1))
    }

    /// Brings the book up to date: everything on the stream up to each of `floors` is settled, and the stream begins at
    /// `first`, which was asked after the floors were.
    pub fn advance(&mut self, first: u64, floors: BTreeMap<String, u64>, now: Timestamp) {
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
            self.merge();
        }
    }

    /// Tells two neighbours as one: of those that are alike, the two that lie closest. What somebody knew of becomes
    /// unknown with the silent one it is told with, never the other way round.
    fn merge(&mut self) {
        let apart = |at: &usize| {
            let (one, next) = (&self.holes[*at], &self.holes[*at + 1]);
            (one.is_known != next.is_known, next.from - one.to)
        };
        let Some(at) = (0..self.holes.len().saturating_sub(1)).min_by_key(apart) else { return };
        let next = self.holes.remove(at + 1);
        let one = &mut self.holes[at];
        *one = Hole { from: one.from, to: next.to, at: next.at, is_known: one.is_known && next.is_known };
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
        let now = Timestamp::from_micros(1_000_000);
        let mut book = Handled::begin(0, 1);
        book.advance(1, floors(10, 7), now);
        assert_eq!((book.through(), book.holes.len()), (7, 0));
        // Seven were settled by all: they may go.
        book.advance(8, floors(12, 9), now);
        assert_eq!((book.through(), book.holes.len()), (9, 0));
        book.noticed = 11;
        book.advance(12, floors(12, 12), now);
        let announced = Hole { from: 10, to: 11, at: now, is_known: true };
        assert_eq!(book.holes.as_slice(), std::slice::from_ref(&announced));
        // Somebody empties the stream, and the broker moves the floors along.
        book.advance(40, floors(39, 39), now);
        let silent = Hole { from: 13, to: 39, at: now, is_known: false };
        assert_eq!(book.holes, [announced.clone(), silent.clone()]);
        // However long ago that was, nobody has been told.
        book.advance(40, floors(40, 40), Timestamp::from_micros(i64::MAX));
        assert_eq!(book.holes, [announced, silent]);
    }

    #[test]
    fn holes_that_are_told_as_one_hide_nothing_that_left_in_silence() {
        let now = Timestamp::default();
        for is_alternating in [true, false] {
            let mut book = Handled::begin(0, 1);
            // Each round settles one message and loses the next; all but every other or every third are announced.
            let is_known = |round: u64| !round.is_multiple_of(if is_alternating { 2 } else { 3 });
            for round in 0..3 * MAX_HOLES as u64 {
                let (settled, lost) = (2 * round + 1, 2 * round + 2);
                book.advance(settled, floors(settled, settled), now);
                book.noticed = if is_known(round) { lost } else { book.noticed };
                book.advance(lost + 1, floors(lost, lost), now);
            }
            assert!(book.holes.len() <= MAX_HOLES);
            for round in 0..3 * MAX_HOLES as u64 {
                let lost = 2 * round + 2;
                let mut holes = book.holes.iter().filter(|hole| (hole.from..=hole.to).contains(&lost));
                let hole = holes.next().unwrap();
                assert!(!hole.is_known || is_known(round), "{lost} left in silence");
                assert!(holes.next().is_none(), "{lost} is told once");
            }
        }
    }

    #[test]
    fn a_book_of_another_stream_of_the_name_says_nothing() {
        let book = Handled::begin(5, 1);
        assert_eq!((book.clone().of(5), book.clone().of(6)), (Some(book.clone()), None));
        assert_eq!(Handled { stream: 0, ..book.clone() }.of(5), Some(book), "an earlier build did not say");
    }

    #[test]
    fn what_was_gone_when_the_book_was_begun_is_no_hole_of_it() {
        let mut book = Handled::begin(0, 100);
        book.advance(100, floors(0, 0), Timestamp::default());
        assert_eq!((book.through(), book.holes.len()), (99, 0));
    }
}
