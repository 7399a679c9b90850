//! The dead letters of messages of the event stream, in a few bytes each. Pure.
//!
//! Names are anybody's and there may be as many as there are letters, so none is kept: of a consumer a hash nobody can aim
//! at, of a subject which of the readers take it in.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};

use service_kit::topology::CLASSIFIER_CONSUMER;

use super::ranges::{Range, united};

/// Stands for a consumer nobody knows; that the hash of one is this is as likely as that two have the same.
const ANY: u64 = 0;

/// Readers, as bits of their numbers.
pub(crate) type Readers = u32;

/// The letters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Letters {
    /// By sequence, and the consumer in whose name they are.
    known: BTreeMap<(u64, u64), Letter>,
    hasher: RandomState,
}

/// What is known of one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Letter {
    /// Readers that take in what it is about.
    pub(crate) takers: Readers,
    /// It is in the name of one of the product's consumers.
    pub(crate) is_ours: bool,
    /// When the broker had stopped delivering the message, in microseconds, if it had.
    pub(crate) given_up: Option<i64>,
}

impl Letters {
    /// Takes the next letter. Of two in one name the first counts.
    pub(crate) fn take(&mut self, seq: u64, consumer: &str, letter: Letter) {
        self.known.entry((seq, self.number(consumer))).or_insert(letter);
    }

    /// Takes a letter that is no longer kept, in a name nobody knows.
    pub(crate) fn take_any(&mut self, seq: u64) {
        if !self.has(seq) {
            self.known.insert((seq, ANY), Letter { is_ours: true, ..Letter::default() });
        }
    }

    fn number(&self, consumer: &str) -> u64 {
        self.hasher.hash_one(consumer)
    }

    /// Somebody has given the message up.
    pub(crate) fn has(&self, seq: u64) -> bool {
        self.known.range((seq, 0)..=(seq, u64::MAX)).next().is_some()
    }

    /// This consumer has.
    pub(crate) fn has_of(&self, seq: u64, consumer: &str) -> bool {
        [self.number(consumer), ANY].iter().any(|number| self.known.contains_key(&(seq, *number)))
    }

    /// A consumer need not act on a message: it has a letter in its name, or in the classifier's, which speaks for all.
    pub(crate) fn excuse(&self, seq: u64, consumer: &str) -> bool {
        self.has_of(seq, consumer) || self.has_of(seq, CLASSIFIER_CONSUMER)
    }

    /// How many messages of a range a consumer has given up, and that was seen `since` or later.
    pub(crate) fn given_up_by(&self, consumer: &str, range: Range, since: i64) -> u64 {
        let number = self.number(consumer);
        let is_so = |of, letter: &Letter| of == number && letter.given_up.is_some_and(|at| at >= since);
        self.count_where(range, is_so)
    }

    /// Lettered sequences up to `last`, as ranges.
    pub(crate) fn ranges(&self, last: u64) -> Vec<Range> {
        self.ranges_where(last, |_| true)
    }

    /// The same of letters in the names of the product's consumers.
    pub(crate) fn ranges_of_ours(&self, last: u64) -> Vec<Range> {
        self.ranges_where(last, |letter| letter.is_ours)
    }

    fn ranges_where(&self, last: u64, is_meant: impl Fn(&Letter) -> bool) -> Vec<Range> {
        let meant = self.known.range(..=(last, u64::MAX)).filter(|(_, letter)| is_meant(letter));
        united(meant.map(|((seq, _), _)| (*seq, *seq)).collect())
    }

    /// Messages of a range that have a letter and are for one of `readers`.
    pub(crate) fn count(&self, range: Range, readers: Readers) -> u64 {
        self.count_where(range, |_, letter| letter.takers & readers != 0)
    }

    /// Those among them that a consumer need not act on.
    pub(crate) fn excused(&self, range: Range, readers: Readers, consumer: &str) -> u64 {
        let names = [self.number(consumer), self.number(CLASSIFIER_CONSUMER)];
        self.count_where(range, |of, letter| letter.takers & readers != 0 && names.contains(&of))
    }

    fn count_where(&self, (from, to): Range, is_meant: impl Fn(u64, &Letter) -> bool) -> u64 {
        if from > to {
            return 0;
        }
        let letters = self.known.range((from, 0)..=(to, u64::MAX));
        let meant = letters.filter(|((_, of), letter)| is_meant(*of, letter));
        let (mut count, mut last) = (0, None);
        for ((seq, _), _) in meant {
            count += u64::from(last != Some(*seq));
            last = Some(*seq);
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_that_comes_behind_any_number_of_names_is_known() {
        let mut letters = Letters::default();
        let names = 70_000;
        for name in 0..names {
            letters.take(name, &format!("consumer-{name}"), Letter::default());
        }
        letters.take(names, "mlflow-sink", Letter { given_up: Some(5), ..Letter::default() });
        assert!(letters.has_of(names, "mlflow-sink") && letters.has_of(69_999, "consumer-69999"));
        let given_up = |range, since| letters.given_up_by("mlflow-sink", range, since);
        assert_eq!([given_up((1, names), 5), given_up((1, names), 6), given_up((1, 9), 0)], [1, 0, 0]);
        assert!(!letters.has_of(names, "consumer-1"));
    }

    #[test]
    fn a_letter_in_a_name_nobody_knows_speaks_for_any_where_none_is_kept() {
        let mut letters = Letters::default();
        letters.take(1, "monitor", Letter::default());
        (1..=2).for_each(|seq| letters.take_any(seq));
        assert_eq!([letters.excuse(1, "sink"), letters.excuse(2, "sink")], [false, true]);
        assert_eq!(letters.ranges_of_ours(9), [(2, 2)]);
    }

    #[test]
    fn messages_are_counted_and_not_letters_and_the_classifier_speaks_for_all() {
        let mut letters = Letters::default();
        let letter = |takers: Readers| Letter { takers, is_ours: true, given_up: None };
        letters.take(1, "sink", letter(1));
        letters.take(1, "monitor", Letter { is_ours: false, ..letter(1) });
        letters.take(2, "monitor", Letter { is_ours: false, ..letter(1) });
        letters.take(3, CLASSIFIER_CONSUMER, letter(2));
        assert_eq!((letters.count((1, 3), 1), letters.count((1, 3), 3), letters.count((3, 1), 3)), (2, 3, 0));
        assert_eq!((letters.excused((1, 3), 1, "sink"), letters.excused((1, 3), 3, "sink")), (1, 2));
        assert!(letters.has(2) && !letters.excuse(2, "sink") && letters.excuse(3, "sink"));
        assert_eq!((letters.ranges(9), letters.ranges_of_ours(2)), (vec![(1, 3)], vec![(1, 1)]));
    }
}
