//! Who reads which part of the queue. Pure.
//!
//! The sequences are cut into pages, and the readers take them in turns: the first takes the pages 0, 2, 4, the second 1,
//! 3, 5. Whoever wants all of them in order therefore takes one of each reader in turns.

use service_kit::history::Extent;

/// Fewer pages are read by one: another would hardly have begun when they are read.
const LEAST_PAGES: u64 = 3;
/// A page of a stream with gaps spans more sequences, up to so many times; one where more is missing is read in one piece.
const MOST_STRETCHED: u64 = 4;

/// The pages of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    extent: Extent,
    /// Sequences of a page.
    span: u64,
}

/// The pages one of several readers takes.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    plan: Plan,
    next: u64,
    readers: u64,
}

impl Plan {
    /// Pages of about `letters` messages; `None` for a queue that is better read in one piece.
    pub(super) fn of(extent: Extent, letters: u64) -> Option<Self> {
        let stretched = extent.sequences().div_ceil(extent.messages.max(1));
        let is_long = extent.messages > letters.saturating_mul(LEAST_PAGES - 1);
        let span = letters.saturating_mul(stretched);
        (is_long && stretched <= MOST_STRETCHED).then_some(Self { extent, span })
    }

    /// The pages of reader `index` of `readers`.
    pub(super) fn turns(self, index: usize, readers: usize) -> Turns {
        Turns { plan: self, next: index as u64, readers: readers as u64 }
    }

    /// First and last sequence of a page; `None` behind the last.
    fn page(&self, number: u64) -> Option<(u64, u64)> {
        let from = number.checked_mul(self.span)?.checked_add(self.extent.first)?;
        let to = from.saturating_add(self.span - 1).min(self.extent.last);
        (from <= to).then_some((from, to))
    }
}

impl Iterator for Turns {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<Self::Item> {
        let page = self.plan.page(self.next)?;
        self.next += self.readers;
        Some(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(first: u64, last: u64, messages: u64) -> Extent {
        Extent { first, last, messages, bytes: 0 }
    }

    #[test]
    fn two_readers_take_every_sequence_once_and_in_turns() {
        let plan = Plan::of(extent(7, 56, 50), 10).unwrap();
        let (first, mut second) = (plan.turns(0, 2), plan.turns(1, 2));
        let mut taken = Vec::new();
        for page in first {
            taken.push(page);
            taken.extend(second.next());
        }
        assert_eq!(taken, [(7, 16), (17, 26), (27, 36), (37, 46), (47, 56)]);
        assert_eq!(second.next(), None);
    }

    #[test]
    fn the_last_page_ends_with_the_stream() {
        let pages: Vec<_> = Plan::of(extent(1, 25, 25), 10).unwrap().turns(0, 1).collect();
        assert_eq!(pages, [(1, 10), (11, 20), (21, 25)]);
    }

    #[test]
    fn a_short_queue_is_read_in_one_piece() {
        assert_eq!(Plan::of(extent(1, 20, 20), 10), None);
        assert!(Plan::of(extent(1, 21, 21), 10).is_some());
    }

    #[test]
    fn a_page_of_a_stream_with_gaps_spans_more_and_one_of_mostly_gaps_is_read_in_one_piece() {
        let pages: Vec<_> = Plan::of(extent(1, 100, 40), 10).unwrap().turns(0, 1).collect();
        assert_eq!(pages, [(1, 30), (31, 60), (61, 90), (91, 100)]);
        assert!(Plan::of(extent(1, 160, 40), 10).is_some());
        assert_eq!(Plan::of(extent(1, 161, 40), 10), None);
    }

    #[test]
    fn no_sequence_is_too_large() {
        let last = u64::MAX;
        let pages: Vec<_> = Plan::of(extent(last - 24, last, 25), 10).unwrap().turns(0, 1).collect();
        assert_eq!(pages, [(last - 24, last - 15), (last - 14, last - 5), (last - 4, last)]);
    }
}
