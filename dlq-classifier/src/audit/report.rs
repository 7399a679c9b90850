//! What an audit says. Pure but for the writing.

use std::io::{self, Write};

use serde::Serialize;

use super::acknowledged::Acknowledgement;
use super::facts::Reader;
use super::ranges::{Range, shown};

/// The result of an audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Account {
    pub(crate) sums: Sums,
    pub(crate) consumers: Vec<Consumer>,
    pub(crate) unexplained: Vec<Finding>,
    /// Who answers for what, the latest of them.
    pub(crate) acknowledgements: Vec<Acknowledgement>,
    /// There is more unexplained than is named.
    #[serde(rename = "truncated")]
    pub(crate) is_truncated: bool,
}

/// Every sequence of the stream is in one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Sums {
    pub(crate) last_sequence: u64,
    /// Settled by everybody it was for.
    pub(crate) done: u64,
    /// Somebody has yet to settle it.
    pub(crate) in_flight: u64,
    /// It has a dead letter.
    pub(crate) dead: u64,
    /// It left the stream unhandled, and that was announced.
    pub(crate) expired: u64,
    /// It had left the stream before a classifier began to keep book of what was handled.
    pub(crate) before_records: u64,
    /// It is gone, or lost, and somebody answers for it.
    pub(crate) acknowledged: u64,
    pub(crate) unexplained: u64,
}

/// One of the product's consumers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Consumer {
    pub(crate) name: String,
    pub(crate) settled_through: u64,
    pub(crate) delivered_through: u64,
    pub(crate) in_hand: u64,
}

impl From<&Reader> for Consumer {
    fn from(reader: &Reader) -> Self {
        Self {
            name: reader.name.clone(),
            settled_through: reader.floor,
            delivered_through: reader.delivered,
            in_hand: reader.in_hand,
        }
    }
}

/// Something that cannot be explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The sequence, or the first of a range.
    pub(crate) seq: u64,
    /// The last of the range, when it is about more than one sequence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) through: Option<u64>,
    /// Messages it is about.
    pub(crate) count: u64,
    /// Subject of the message, as far as it is still known.
    pub(crate) subject: String,
    /// Consumer that should have settled it, where it is about one.
    pub(crate) consumer: String,
    pub(crate) why: String,
}

impl Finding {
    pub(crate) fn of(seq: u64, subject: &str, consumer: &str, why: &str) -> Self {
        Self {
            seq,
            through: None,
            count: 1,
            subject: subject.to_owned(),
            consumer: consumer.to_owned(),
            why: why.to_owned(),
        }
    }

    pub(crate) fn of_range((from, to): Range, consumer: &str, why: &str) -> Self {
        let through = (to > from).then_some(to);
        Self { through, count: to - from + 1, ..Self::of(from, "", consumer, why) }
    }
}

impl Account {
    /// A second look, less what an earlier one did not find: that has only just come about, and is under way.
    pub(crate) fn confirming(mut self, earlier: &Self) -> Self {
        let is_old = |one: &Finding| {
            earlier.unexplained.iter().any(|other| {
                one.consumer == other.consumer
                    && one.seq <= other.through.unwrap_or(other.seq)
                    && other.seq <= one.through.unwrap_or(one.seq)
            })
        };
        let all: u64 = self.unexplained.iter().map(|finding| finding.count).sum();
        self.unexplained.retain(is_old);
        let young = all - self.unexplained.iter().map(|finding| finding.count).sum::<u64>();
        self.sums.unexplained -= young.min(self.sums.unexplained);
        self.sums.in_flight += young;
        self
    }

    /// For people.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let sums = &self.sums;
        writeln!(out, "sequences of the stream  {}", sums.last_sequence)?;
        let lines = [
            ("done", sums.done),
            ("in flight", sums.in_flight),
            ("dead", sums.dead),
            ("expired with notice", sums.expired),
            ("gone before records", sums.before_records),
            ("acknowledged", sums.acknowledged),
            ("unexplained", sums.unexplained),
        ];
        for (name, count) in lines {
            if count > 0 || !["gone before records", "acknowledged"].contains(&name) {
                writeln!(out, "  {name:<22} {count}")?;
            }
        }
        writeln!(out)?;
        for consumer in &self.consumers {
            let Consumer { name, settled_through, delivered_through, in_hand } = consumer;
            writeln!(
                out,
                "{name:<22} settled through {settled_through}, delivered through {delivered_through}, {in_hand} in hand"
            )?;
        }
        for one in &self.acknowledgements {
            let Acknowledgement { at, actor, reason, consumer, count, sequences } = one;
            let whom = consumer.as_ref().map_or_else(String::new, |name| format!("  for {name}"));
            writeln!(out, "\nacknowledged {sequences}  ({count}){whom}  {actor}  {at}\n  {reason}")?;
        }
        for finding in &self.unexplained {
            let sequences = shown((finding.seq, finding.through.unwrap_or(finding.seq)));
            let subject = if finding.subject.is_empty() { "-" } else { &finding.subject };
            let consumer = if finding.consumer.is_empty() { "-" } else { &finding.consumer };
            writeln!(out, "\nunexplained {sequences}  {subject}  {consumer}\n  {}", finding.why)?;
        }
        if self.is_truncated {
            writeln!(out, "\nthere is more than is named here")?;
        }
        Ok(())
    }
}
