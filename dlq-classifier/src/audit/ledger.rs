//! The sums of an audit, and what cannot be explained. Pure.
//!
//! Every sequence of the stream is one of: done (everybody it was for has settled it), in flight (somebody has yet to),
//! dead (it has a letter), expired with notice, gone before anybody kept book, unexplained. A consumer's ack floor is
//! taken for done only as far as the consumer has given nothing up: the broker moves a floor past a message that ran out
//! of deliveries as soon as nothing else is in hand. What was given up stays among the redelivered, which tells how many
//! there are.

use std::collections::HashSet;

use super::facts::{Facts, Reader};
use super::ranges::{Range, total, united, without};
use super::report::{Account, Finding, Sums};

/// Findings that are named; the others are counted.
pub(crate) const MAX_NAMED: usize = 1000;

/// A stretch of the stream on which every consumer stands in one way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) range: Range,
    /// Consumers these were not delivered to yet.
    waiting: Vec<usize>,
    /// Consumers that have some of these in hand.
    in_hand: Vec<usize>,
    /// Consumers that have nothing in hand and are not past these: they gave something up.
    given_up: Vec<usize>,
    /// Consumers that were never to read these, or are not there.
    unread: Vec<usize>,
}

/// What is known so far.
#[derive(Debug)]
pub(crate) struct Ledger {
    facts: Facts,
    in_flight: u64,
    unexplained: u64,
    findings: Vec<Finding>,
    /// Sequences that are named already, by whatever rule.
    named: HashSet<u64>,
    /// By consumer: messages it has in hand that were not met yet.
    in_hand: Vec<u64>,
    /// By consumer: messages it may have given up.
    candidates: Vec<Candidates>,
    /// By consumer: messages nobody read for it.
    unread: Vec<Option<(Range, u64)>>,
    /// Messages and consumers of advisories the classifier is about to see to.
    announced: HashSet<(u64, String)>,
}

#[derive(Debug, Clone, Default)]
struct Candidates {
    first: Vec<(u64, String)>,
    count: u64,
    last: u64,
    /// A message in front of all of them is explained: it may be the one the floor stands at.
    is_floor_explained: bool,
}

impl Ledger {
    pub(crate) fn new(facts: Facts) -> Self {
        let readers = facts.readers.len();
        let announced = facts.advisories.iter().filter(|one| !one.is_settled);
        let announced = announced.map(|one| (one.seq, one.consumer.clone())).collect();
        Self {
            in_flight: 0,
            unexplained: 0,
            findings: Vec::new(),
            named: HashSet::new(),
            in_hand: facts.readers.iter().map(|reader| reader.in_hand).collect(),
            candidates: vec![Candidates::default(); readers],
            unread: vec![None; readers],
            announced,
            facts,
        }
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

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

    /// A stretch of which it is enough to know how many messages there are.
    pub(crate) fn counted(&mut self, segment: &Segment, found: u64) {
        let numbers = || segment.waiting.iter().chain(&segment.unread);
        let is_meant = |subject: &str| numbers().any(|number| self.facts.readers[*number].takes(subject));
        let found = found.saturating_sub(self.facts.letters.count(segment.range, is_meant));
        if let [number, ..] = segment.unread.as_slice() {
            self.not_read(*number, segment.range, found);
        } else {
            self.in_flight += found;
        }
    }

    /// The next message of a stretch that is read.
    pub(crate) fn message(&mut self, segment: &Segment, seq: u64, subject: &str) {
        let is_dead = self.facts.letters.has(seq);
        let takes = |number: &usize| self.facts.readers[*number].takes(subject);
        let mut is_in_flight = segment.waiting.iter().any(takes);
        for number in segment.in_hand.iter().filter(|number| takes(number)) {
            let reader = &self.facts.readers[*number];
            // The broker tells how many are in hand, not which; a letter is the last word but one.
            if self.in_hand[*number] > 0 && !self.facts.letters.has_of(seq, &reader.name) {
                self.in_hand[*number] -= 1;
                is_in_flight = true;
            }
        }
        let unread = segment.unread.iter().copied().find(|number| takes(number));
        let given_up: Vec<usize> = segment.given_up.iter().copied().filter(|number| takes(number)).collect();
        for number in given_up {
            is_in_flight |= self.candidate(number, seq, subject);
        }
        match unread {
            Some(number) if !is_dead => self.not_read(number, (seq, seq), 1),
            Some(_) | None => self.in_flight += u64::from(is_in_flight && !is_dead),
        }
    }

    /// A message its consumer may have given up; true when the classifier is about to see to it.
    fn candidate(&mut self, number: usize, seq: u64, subject: &str) -> bool {
        let name = &self.facts.readers[number].name;
        let is_announced = self.announced.contains(&(seq, name.clone()));
        let is_explained = is_announced || self.facts.letters.has_of(seq, name);
        let candidates = &mut self.candidates[number];
        if is_explained {
            candidates.is_floor_explained |= candidates.count == 0;
            return is_announced;
        }
        if candidates.first.len() < MAX_NAMED {
            candidates.first.push((seq, subject.to_owned()));
        }
        candidates.count += 1;
        candidates.last = seq;
        false
    }

    fn not_read(&mut self, number: usize, range: Range, count: u64) {
        let unread = self.unread[number].get_or_insert((range, 0));
        unread.0.1 = unread.0.1.max(range.1);
        unread.1 += count;
    }

    /// Adds something that cannot be explained. A sequence counts once, whoever names it.
    pub(crate) fn find(&mut self, finding: Finding) {
        let is_single = finding.through.is_none();
        if is_single && !self.named.insert(finding.seq) {
            return;
        }
        self.unexplained += finding.count;
        if self.findings.len() < MAX_NAMED {
            self.findings.push(finding);
        }
    }

    /// Sums up.
    pub(crate) fn close(mut self) -> Account {
        let dead_ranges = self.facts.letters.ranges(self.facts.last);
        let (expired, before) = self.gone(&dead_ranges);
        self.unheard();
        for number in 0..self.facts.readers.len() {
            self.never_read(number);
            self.gave_up(number);
            self.moved_past(number);
        }
        let dead = total(&dead_ranges);
        let last_sequence = self.facts.last;
        let accounted = dead + expired + before + self.unexplained;
        let in_flight = self.in_flight.min(last_sequence.saturating_sub(accounted));
        let sums = Sums {
            last_sequence,
            done: last_sequence.saturating_sub(accounted + in_flight),
            in_flight,
            dead,
            expired,
            before_records: before,
            unexplained: self.unexplained,
        };
        self.findings.sort_by(|one, other| (one.seq, &one.consumer).cmp(&(other.seq, &other.consumer)));
        let named: u64 = self.findings.iter().map(|finding| finding.count).sum();
        Account {
            sums,
            consumers: self.facts.readers.iter().filter(|reader| reader.is_ours).map(Into::into).collect(),
            is_truncated: named < self.unexplained,
            unexplained: self.findings,
        }
    }

    /// What is no longer on the stream: how much of it went with notice, and how much before anybody kept book.
    fn gone(&mut self, dead: &[Range]) -> (u64, u64) {
        let before_first = self.facts.first.saturating_sub(1).min(self.facts.last);
        let (since, through, holes) = match &self.facts.handled {
            Some(handled) => {
                let holes = handled.holes.iter().map(|hole| (hole.from, hole.to.min(before_first))).collect();
                (handled.since, handled.through(), united(holes))
            }
            None => (1, 0, Vec::new()),
        };
        let before = united(vec![(1, since.saturating_sub(1).min(before_first))]);
        let unproven = (through.max(since.saturating_sub(1)) + 1, before_first);
        let unproven = united(holes.into_iter().chain([unproven]).collect());
        let notices = united(self.facts.notices.clone());
        let mut expired = 0;
        let parts = [
            (unproven, "it left the stream before everybody had handled it, without notice"),
            (self.facts.gaps.clone(), "somebody deleted it from the stream, and it has no dead letter"),
        ];
        for (ranges, why) in parts {
            let alive = without(&ranges, dead);
            let silent = without(&alive, &notices);
            expired += total(&alive) - total(&silent);
            silent.into_iter().for_each(|range| self.find(Finding::of_range(range, "", why)));
        }
        (expired, total(&without(&before, dead)))
    }

    /// Deliveries the broker says came to nothing, with no letter to show for it.
    fn unheard(&mut self) {
        let facts = &self.facts;
        let since = facts.handled.as_ref().map_or(1, |handled| handled.since);
        // A message that leaves the stream is terminated for everybody who has it in hand; one letter or notice tells why.
        let is_on_stream = |seq: u64| {
            seq >= facts.first && !facts.gaps.iter().any(|(from, to)| (*from..=*to).contains(&seq))
        };
        let is_known = |seq: u64| {
            facts.letters.has(seq) || facts.notices.iter().any(|(from, to)| (*from..=*to).contains(&seq))
        };
        let is_open = |seq: u64, consumer: &str| {
            seq >= since
                && !facts.letters.has_of(seq, consumer)
                && !facts.dealt_with.contains(&seq)
                && (is_on_stream(seq) || !is_known(seq))
        };
        let unheard = facts.advisories.iter().filter(|one| one.is_settled && is_open(one.seq, &one.consumer));
        let findings: Vec<Finding> = unheard
            .map(|one| {
                let why = if one.is_terminated {
                    "its consumer terminated it, and it has no dead letter"
                } else {
                    "its deliveries ran out, and it has no dead letter"
                };
                Finding::of(one.seq, "", &one.consumer, why)
            })
            .collect();
        findings.into_iter().for_each(|finding| self.find(finding));
    }

    fn never_read(&mut self, number: usize) {
        let Some((range, count)) = self.unread[number].filter(|(_, count)| *count > 0) else { return };
        let reader = &self.facts.readers[number];
        let finding = Finding { count, ..Finding::of_range(range, &reader.name, &reader.why_from) };
        self.find(Finding { subject: reader.filters.join(" "), ..finding });
    }

    /// A consumer that has nothing in hand and stands behind what it was delivered: the next message it was to settle
    /// ran out of deliveries. Of those behind it the broker tells how many did.
    fn gave_up(&mut self, number: usize) {
        let candidates = std::mem::take(&mut self.candidates[number]);
        let reader = self.facts.readers[number].clone();
        let Some((first, subject)) = candidates.first.first().cloned() else { return };
        let lettered = self.seen_to(&reader.name);
        // Of a consumer with a single delivery the broker remembers nothing.
        let lost = reader.redelivered.saturating_sub(lettered).max(u64::from(!candidates.is_floor_explained));
        if lost == 0 {
            return;
        }
        let why = "its deliveries ran out, and it has no dead letter";
        if lost >= candidates.count {
            for (seq, subject) in candidates.first {
                self.find(Finding::of(seq, &subject, &reader.name, why));
            }
            return;
        }
        self.find(Finding::of(first, &subject, &reader.name, why));
        if lost > 1 {
            let range = (first + 1, candidates.last);
            let why = format!("{} of these ran out of deliveries and have no dead letter", lost - 1);
            self.find(Finding { count: lost - 1, ..Finding::of_range(range, &reader.name, &why) });
        }
    }

    /// Messages given up by a consumer that have a letter, or will have one in a moment.
    fn seen_to(&self, consumer: &str) -> u64 {
        let announced = self.facts.advisories.iter().filter(|one| !one.is_settled && !one.is_terminated);
        let announced = announced.filter(|one| one.consumer == consumer).count() as u64;
        self.facts.letters.given_up_by(consumer) + announced
    }

    /// A consumer that has moved past messages it gave up.
    fn moved_past(&mut self, number: usize) {
        let reader = self.facts.readers[number].clone();
        let explained = self.seen_to(&reader.name)
            + self
                .findings
                .iter()
                .filter(|finding| finding.consumer == reader.name)
                .map(|one| one.count)
                .sum::<u64>();
        let lost = reader.redelivered.saturating_sub(reader.in_hand).saturating_sub(explained);
        let range = (self.facts.first.max(1), reader.delivered.min(self.facts.last));
        if lost > 0 && range.0 <= range.1 {
            let why = format!(
                "{lost} of these ran out of deliveries without a dead letter, and their consumer has moved past them"
            );
            self.find(Finding { count: lost, ..Finding::of_range(range, &reader.name, &why) });
        } else if reader.is_ours && reader.max_deliver == 1 && !reader.is_watched && reader.floor > 0 {
            let why = "its consumer is limited to one delivery, of which the broker keeps no trace, and no classifier has watched it";
            let range = (self.facts.first.max(1), reader.floor);
            self.find(Finding { count: 0, ..Finding::of_range(range, &reader.name, why) });
        }
    }
}

impl Segment {
    fn is_settled(&self) -> bool {
        [&self.waiting, &self.in_hand, &self.given_up, &self.unread].iter().all(|numbers| numbers.is_empty())
    }

    /// True if it is enough to know how many messages there are: all of them stand alike.
    pub(crate) fn is_uniform(&self) -> bool {
        let is_mixed = !self.waiting.is_empty() && !self.unread.is_empty();
        self.in_hand.is_empty() && self.given_up.is_empty() && !is_mixed && self.unread.len() <= 1
    }
}

#[cfg(test)]
mod tests;
