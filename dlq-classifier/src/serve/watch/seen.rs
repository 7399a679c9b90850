//! Which messages of a stream were read, to see whether it still holds them. Pure.

use std::collections::VecDeque;

/// Sequences in ranges, first and last included; one range for as long as nothing is missing in between.
#[derive(Debug, Default)]
pub(super) struct Seen(VecDeque<(u64, u64)>);

impl Seen {
    /// The next message was read. Sequences ascend.
    pub(super) fn take(&mut self, sequence: u64) {
        match self.0.back_mut() {
            Some((_, last)) if *last >= sequence => {}
            Some((_, last)) if *last + 1 == sequence => *last = sequence,
            Some(_) | None => self.0.push_back((sequence, sequence)),
        }
    }

    /// The stream has dropped what was before a sequence.
    pub(super) fn forget_before(&mut self, first: u64) {
        while self.0.front().is_some_and(|(_, last)| *last < first) {
            self.0.pop_front();
        }
        if let Some((from, _)) = self.0.front_mut() {
            *from = first.max(*from);
        }
    }

    /// How many were read of those from `first` to `last`.
    pub(super) fn count(&self, first: u64, last: u64) -> u64 {
        let within = |(from, to): &(u64, u64)| (last.min(*to) + 1).saturating_sub(first.max(*from));
        self.0.iter().map(within).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_counted_between_what_is_dropped_and_what_is_new() {
        let mut seen = Seen::default();
        assert_eq!(seen.count(1, 0), 0, "a stream that holds nothing");
        [2, 3, 4, 7, 8, 8, 11].into_iter().for_each(|sequence| seen.take(sequence));
        assert_eq!(seen.0, [(2, 4), (7, 8), (11, 11)]);
        assert_eq!((seen.count(1, 20), seen.count(3, 7), seen.count(5, 6), seen.count(9, 10)), (6, 3, 0, 0));
        seen.forget_before(8);
        assert_eq!(seen.0, [(8, 8), (11, 11)]);
        assert_eq!((seen.count(8, 11), seen.count(12, 11)), (2, 0));
    }
}
