//! How far a stream reaches and how densely it is filled, and what follows for whoever reads it in stretches. Pure.

use super::Depth;

/// A message of a stream is small where all of them take so many bytes on average, with what the store needs for each.
const SMALL: u64 = 2048;
/// How many messages of a stretch are asked for at least, where all that were expected have come and it is not at its end.
const LEAST_ASKED: u64 = 16;

/// What a stream holds, as it was seen once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Sequence of its first message.
    pub first: u64,
    /// Sequence of its last message.
    pub last: u64,
    /// Messages it holds between them.
    pub messages: u64,
    /// What they take in its store, in bytes.
    pub bytes: u64,
}

impl Extent {
    /// Sequences from the first to the last.
    pub fn sequences(&self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    /// So many sequences hold so many messages, if those that are gone are gone everywhere alike: what is to be asked for
    /// to get all of theirs and few of those behind.
    pub(super) fn expected(&self, sequences: u64) -> u64 {
        let share = u128::from(sequences) * u128::from(self.messages);
        let expected = u64::try_from(share.div_ceil(u128::from(self.sequences()))).unwrap_or(u64::MAX);
        expected.max(LEAST_ASKED).min(sequences)
    }

    /// How its messages are asked for by somebody who wants their headers: small ones whole, because the broker sends them with
    /// less work than their headers alone, which it has to write anew.
    pub(super) fn depth(&self) -> Depth {
        if self.bytes <= self.messages.saturating_mul(SMALL) { Depth::Whole } else { Depth::Headers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_of_a_stream_without_gaps_is_asked_for_exactly() {
        let extent = Extent { first: 41, last: 1040, messages: 1000, bytes: 0 };
        assert_eq!(extent.sequences(), 1000);
        assert_eq!([1, 15, 16, 400].map(|sequences| extent.expected(sequences)), [1, 15, 16, 400]);
    }

    #[test]
    fn one_of_a_stream_with_gaps_is_asked_for_by_its_share() {
        let extent = Extent { first: 1, last: 1000, messages: 250, bytes: 0 };
        assert_eq!([1, 8, 40, 400, 401].map(|sequences| extent.expected(sequences)), [1, 8, 16, 100, 101]);
    }

    #[test]
    fn no_number_is_too_large() {
        let extent = Extent { first: 0, last: u64::MAX, messages: u64::MAX, bytes: u64::MAX };
        assert_eq!(extent.expected(u64::MAX), u64::MAX);
        assert_eq!(extent.depth(), Depth::Whole);
    }

    #[test]
    fn what_is_small_on_average_is_asked_for_whole() {
        let depth = |bytes| Extent { first: 1, last: 10, messages: 10, bytes }.depth();
        assert_eq!(depth(20_480), Depth::Whole);
        assert_eq!(depth(20_481), Depth::Headers);
    }
}
