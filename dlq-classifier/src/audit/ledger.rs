//! The sums of an audit, and what cannot be explained. Pure.
//!
//! Every sequence of the stream is one of: done (everybody it was for has settled it), in flight (somebody has yet to),
//! dead (it has a letter), expired with notice, gone before anybody kept book, acknowledged (somebody answers for it), unexplained. A consumer's ack floor is
//! taken for done only as far as the consumer has given nothing up: the broker moves a floor past a message that ran out
//! of deliveries as soon as nothing else is in hand. What was given up stays among the redelivered, which tells how many
//! there are.

mod rules;
mod segment;

use std::collections::HashSet;

use super::facts::{Facts, bit};
use super::gone::Gone;
use super::ranges::{Range, total, without};
use super::report::{Account, Finding, Sums};
use super::unexplained::Unexplained;
pub(super) use segment::Segment;

/// Findings that are named; the others are counted.
pub(crate) const MAX_NAMED: usize = 1000;

/// What is known so far.
#[derive(Debug)]
pub(crate) struct Ledger {
    facts: Facts,
    in_flight: u64,
    unexplained: u64,
    /// Of what is unexplained, so many have a letter in the name of somebody whom they are not about.
    also_dead: u64,
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
            also_dead: 0,
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

    /// A stretch of which it is enough to know how many messages there are.
    pub(crate) fn counted(&mut self, segment: &Segment, found: u64) {
        let letters = &self.facts.letters;
        if let [number, ..] = segment.unread.as_slice() {
            let excused = letters.excused(segment.range, bit(*number), &self.facts.readers[*number].name);
            self.not_read(*number, segment.range, found.saturating_sub(excused));
        } else {
            let waiting = segment.waiting.iter().fold(0, |readers, number| readers | bit(*number));
            self.in_flight += found.saturating_sub(letters.count(segment.range, waiting));
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
        let is_excused = |number: &usize| self.facts.letters.excuse(seq, &self.facts.readers[*number].name);
        match unread {
            Some(number) if !is_excused(&number) => self.not_read(number, (seq, seq), 1),
            Some(_) | None => self.in_flight += u64::from(is_in_flight && !is_dead),
        }
    }

    /// What of a stretch is left behind a message, once everything that was in hand is met: it need not be read.
    pub(crate) fn rest(&self, segment: &Segment, seq: u64) -> Option<Segment> {
        let is_met = segment.in_hand.iter().all(|number| self.in_hand[*number] == 0);
        (is_met && segment.given_up.is_empty() && seq < segment.range.1).then(|| Segment {
            range: (seq + 1, segment.range.1),
            in_hand: Vec::new(),
            ..segment.clone()
        })
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
        self.also_dead += u64::from(is_single && self.facts.letters.has(finding.seq));
        self.unexplained += finding.count;
        if self.findings.len() < MAX_NAMED {
            self.findings.push(finding);
        }
    }

    /// Sums up.
    pub(crate) fn close(mut self) -> Account {
        let gone = Gone::of(&self.facts);
        let open = Unexplained::of(&self.facts, &gone).sequences();
        let answered = gone.acknowledged(&self.facts, &open);
        self.gone(&gone);
        self.unheard();
        for number in 0..self.facts.readers.len() {
            self.never_read(number);
            self.gave_up(number);
            self.moved_past(number);
        }
        let acknowledged = total(&answered) + self.lost();
        let dead = total(&gone.dead).saturating_sub(self.also_dead);
        let (expired, before) = (total(&gone.expired), total(&without(&gone.before, &answered)));
        let last_sequence = self.facts.last;
        let accounted = dead + expired + before + acknowledged + self.unexplained;
        let in_flight = self.in_flight.min(last_sequence.saturating_sub(accounted));
        let sums = Sums {
            last_sequence,
            done: last_sequence.saturating_sub(accounted + in_flight),
            in_flight,
            dead,
            expired,
            before_records: before,
            acknowledged,
            unexplained: self.unexplained,
        };
        self.findings.sort_by(|one, other| (one.seq, &one.consumer).cmp(&(other.seq, &other.consumer)));
        let named: u64 = self.findings.iter().map(|finding| finding.count).sum();
        Account {
            sums,
            consumers: self.facts.readers.iter().filter(|reader| reader.is_ours).map(Into::into).collect(),
            acknowledgements: self.facts.acknowledged.told(),
            is_truncated: named < self.unexplained,
            unexplained: self.findings,
        }
    }
}

#[cfg(test)]
mod tests;
