//! The stream cut where consumers stand: stretches on which each of them stands in one way.

use super::Ledger;
use crate::audit::facts::{Facts, Reader};
use crate::audit::ranges::Range;

/// A stretch of the stream on which every consumer stands in one way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) range: Range,
    /// Consumers these were not delivered to yet.
    pub(super) waiting: Vec<usize>,
    /// Consumers that have some of these in hand.
    pub(super) in_hand: Vec<usize>,
    /// Consumers that have nothing in hand and are not past these: they gave something up.
    pub(super) given_up: Vec<usize>,
    /// Consumers that were never to read these, or are not there.
    pub(super) unread: Vec<usize>,
}

impl Ledger {
    /// The stretches somebody has to look at; everything else is settled or gone.
    pub(crate) fn segments(&self) -> Vec<Segment> {
        let Facts { first, last, readers, .. } = &self.facts;
        let mut cuts: Vec<u64> = readers
            .iter()
            .flat_map(|reader| [reader.floor, reader.delivered, reader.from.saturating_sub(1)])
            .chain([first.saturating_sub(1), *last])
            .filter(|cut| (first.saturating_sub(1)..=*last).contains(cut))
            .collect();
        cuts.sort_unstable();
        cuts.dedup();
        let segments = cuts.windows(2).map(|pair| self.segment((pair[0] + 1, pair[1])));
        segments.filter(|segment| !segment.is_settled()).collect()
    }

    fn segment(&self, range: Range) -> Segment {
        let mut segment = Segment { range, ..Segment::default() };
        for (number, reader) in self.facts.readers.iter().enumerate() {
            if reader.from > range.0 {
                if reader.is_ours && range.0 > self.proven(reader) {
                    segment.unread.push(number);
                }
            } else if range.0 > reader.delivered {
                if reader.is_ours {
                    segment.waiting.push(number);
                }
            } else if range.0 > reader.floor {
                if reader.in_hand == 0 {
                    segment.given_up.push(number);
                } else if reader.is_ours {
                    segment.in_hand.push(number);
                }
            }
        }
        segment
    }

    /// Up to where a consumer of this name had settled everything, when that was last written down.
    fn proven(&self, reader: &Reader) -> u64 {
        let floors = self.facts.handled.as_ref().map(|handled| &handled.floors);
        floors.and_then(|floors| floors.get(&reader.name)).copied().unwrap_or(0)
    }

    /// Subjects of a stretch that matter, none of them part of another.
    pub(crate) fn filters(&self, segment: &Segment) -> Vec<String> {
        let numbers = [&segment.waiting, &segment.in_hand, &segment.given_up, &segment.unread];
        let readers = numbers.into_iter().flatten().map(|number| &self.facts.readers[*number]);
        let mut filters: Vec<&String> = Vec::new();
        for reader in readers {
            if reader.filters.is_empty() {
                return Vec::new();
            }
            filters.extend(&reader.filters);
        }
        filters.sort_unstable();
        filters.dedup();
        let is_covered = |filter: &String| {
            filters.iter().any(|other| *other != filter && crate::filter::is_match(other, filter))
        };
        filters.iter().filter(|filter| !is_covered(filter)).map(|filter| (*filter).clone()).collect()
    }
}

impl Segment {
    /// True if nobody has to look at it.
    pub(crate) fn is_settled(&self) -> bool {
        [&self.waiting, &self.in_hand, &self.given_up, &self.unread].iter().all(|numbers| numbers.is_empty())
    }

    /// True if it is enough to know how many messages there are: all of them stand alike.
    pub(crate) fn is_uniform(&self) -> bool {
        let is_mixed = !self.waiting.is_empty() && !self.unread.is_empty();
        self.in_hand.is_empty() && self.given_up.is_empty() && !is_mixed && self.unread.len() <= 1
    }
}
