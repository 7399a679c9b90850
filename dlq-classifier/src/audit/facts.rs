//! What an audit goes by, as the broker and the queue tell it. Pure data.

use super::acknowledged::Acknowledged;
use super::letters::{Letter, Letters, Readers};
use super::ranges::Range;
use crate::given_up::{GivenUp, Loss};
use crate::handled::Handled;

/// Everything an audit knows before it looks at single messages.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// When the stream was created, in microseconds. What is older is about another one of the name.
    pub(crate) created: i64,
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
    /// What was settled before it left the stream, where a classifier has kept book of it.
    pub(crate) handled: Option<Handled>,
    /// What consumers gave up and nobody can name, as sweeps have found.
    pub(crate) losses: Vec<(String, Loss)>,
    /// What somebody answers for.
    pub(crate) acknowledged: Acknowledged,
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
    /// When it was created, in microseconds.
    pub(crate) created: i64,
    /// What it gave up, as far as sweeps have accounted for it.
    pub(crate) given_up: GivenUp,
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

impl Facts {
    /// Takes the next dead letter. `given_up`: when the broker had stopped delivering the message, if it had.
    pub(crate) fn letter(&mut self, seq: u64, consumer: &str, subject: &str, given_up: Option<i64>) {
        let is_ours = self.readers.iter().any(|reader| reader.is_ours && reader.name == consumer);
        let letter = Letter { takers: self.takers(subject), is_ours, given_up };
        self.letters.take(seq, consumer, letter);
    }

    /// Takes a message whose letter somebody has dealt with. It counts like the letter, whether or not that is still kept.
    /// Records of earlier builds do not name the consumer; where no letter tells, they speak for any.
    pub(crate) fn dealt_with(&mut self, seq: u64, consumer: Option<&str>) {
        let number =
            |name: &str| self.readers.iter().position(|reader| reader.is_ours && reader.name == name);
        match consumer {
            Some(name) => {
                let number = number(name);
                let takers = number.map_or(0, bit);
                let letter = Letter { takers, is_ours: number.is_some(), given_up: None };
                self.letters.take(seq, name, letter);
            }
            None => self.letters.take_any(seq),
        }
    }

    /// Readers of ours that take in a subject. They come first, and are few.
    fn takers(&self, subject: &str) -> Readers {
        let takes = |(number, reader): (usize, &Reader)| bit(number) * Readers::from(reader.takes(subject));
        self.readers.iter().enumerate().filter(|(_, reader)| reader.is_ours).map(takes).sum()
    }
}

/// A reader among [`Readers`].
pub(crate) fn bit(number: usize) -> Readers {
    u32::try_from(number).ok().and_then(|number| 1_u32.checked_shl(number)).unwrap_or(0)
}

impl Reader {
    /// True if it is to settle messages on this subject.
    pub(crate) fn takes(&self, subject: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| crate::filter::is_match(filter, subject))
    }
}
