//! What an audit goes by, as the broker and the queue tell it. Pure data.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::ranges::Range;
use crate::handled::Handled;

/// Everything an audit knows before it looks at single messages.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// First sequence the stream still holds.
    pub(crate) first: u64,
    /// Last sequence there was when the audit began.
    pub(crate) last: u64,
    /// Sequences between them that were deleted.
    pub(crate) gaps: Vec<Range>,
    /// Who has to settle what.
    pub(crate) readers: Vec<Reader>,
    pub(crate) letters: Letters,
    /// Deliveries that came to nothing, as the broker has said.
    pub(crate) advisories: Vec<Advisory>,
    /// Ranges that were announced to leave the stream unhandled.
    pub(crate) notices: Vec<Range>,
    /// Sequences whose letters somebody has dealt with, whether or not they are still kept.
    pub(crate) dealt_with: HashSet<u64>,
    /// What was settled before it left the stream, where a classifier has kept book of it.
    pub(crate) handled: Option<Handled>,
}

/// A durable consumer of the event stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reader {
    pub(crate) name: String,
    pub(crate) filters: Vec<String>,
    /// One of the product's, which answers for its messages. Of others only what they gave up is told.
    pub(crate) is_ours: bool,
    /// First sequence it was ever to read; beyond all of them when it is missing.
    pub(crate) from: u64,
    /// Why it does not read from the beginning.
    pub(crate) why_from: String,
    pub(crate) floor: u64,
    pub(crate) delivered: u64,
    /// Messages delivered and not settled.
    pub(crate) in_hand: u64,
    /// Messages delivered more than once and not settled; those among them that are not in hand were given up.
    pub(crate) redelivered: u64,
    pub(crate) max_deliver: i64,
    /// A sweep has looked at it and acts on what it gives up.
    pub(crate) is_watched: bool,
}

/// The broker's word about one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Advisory {
    pub(crate) seq: u64,
    pub(crate) consumer: String,
    /// Terminated by its consumer; otherwise its deliveries ran out.
    pub(crate) is_terminated: bool,
    /// The classifier has dealt with it.
    pub(crate) is_settled: bool,
}

/// The dead letters of messages of the event stream, in a few bytes each.
#[derive(Debug, Clone, Default)]
pub(crate) struct Letters {
    by_sequence: BTreeMap<u64, Vec<Letter>>,
    names: Vec<String>,
    numbers: HashMap<String, u16>,
}

#[derive(Debug, Clone, Copy)]
struct Letter {
    consumer: u16,
    subject: u16,
    is_given_up: bool,
}

impl Letters {
    /// Takes the next letter. `is_given_up`: the broker had stopped delivering the message.
    pub(crate) fn take(&mut self, seq: u64, consumer: &str, subject: &str, is_given_up: bool) {
        let letter = Letter { consumer: self.number(consumer), subject: self.number(subject), is_given_up };
        let letters = self.by_sequence.entry(seq).or_insert_with(|| Vec::with_capacity(1));
        if !letters.iter().any(|known| known.consumer == letter.consumer) {
            letters.push(letter);
        }
    }

    /// Names are few: consumers, and the subjects of events. Beyond what can be numbered they are told together.
    fn number(&mut self, name: &str) -> u16 {
        if let Some(known) = self.numbers.get(name) {
            return *known;
        }
        let Ok(number) = u16::try_from(self.names.len()) else { return u16::MAX };
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }

    pub(crate) fn has(&self, seq: u64) -> bool {
        self.by_sequence.contains_key(&seq)
    }

    pub(crate) fn has_of(&self, seq: u64, consumer: &str) -> bool {
        let Some(number) = self.numbers.get(consumer) else { return false };
        self.by_sequence.get(&seq).is_some_and(|letters| letters.iter().any(|one| one.consumer == *number))
    }

    /// How many messages a consumer was given up on.
    pub(crate) fn given_up_by(&self, consumer: &str) -> u64 {
        let Some(number) = self.numbers.get(consumer) else { return 0 };
        let is_so =
            |letters: &Vec<Letter>| letters.iter().any(|one| one.consumer == *number && one.is_given_up);
        self.by_sequence.values().filter(|letters| is_so(letters)).count() as u64
    }

    /// Lettered sequences up to `last`, as ranges.
    pub(crate) fn ranges(&self, last: u64) -> Vec<Range> {
        super::ranges::united(self.by_sequence.range(..=last).map(|(seq, _)| (*seq, *seq)).collect())
    }

    /// Lettered sequences of a range whose subject `is_meant`.
    pub(crate) fn count(&self, (from, to): Range, is_meant: impl Fn(&str) -> bool) -> u64 {
        let meant: Vec<bool> = self.names.iter().map(|name| is_meant(name)).collect();
        let is_so = |letters: &Vec<Letter>| {
            letters.iter().any(|one| meant.get(usize::from(one.subject)).copied().unwrap_or(false))
        };
        self.by_sequence.range(from..=to).filter(|(_, letters)| is_so(letters)).count() as u64
    }
}

impl Reader {
    /// True if it is to settle messages on this subject.
    pub(crate) fn takes(&self, subject: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| crate::filter::is_match(filter, subject))
    }
}
