//! What somebody has answered for, as the records of it tell. Pure.
//!
//! An acknowledgement speaks of sequences that had left the stream, and of losses by the moment in which they were found:
//! it says nothing of what goes or is lost later.

use std::collections::{BTreeMap, VecDeque};

use schemas::Timestamp;
use serde::Serialize;

use super::ranges::{Range, holds, some_shown, united};
use crate::operation::Operation;

/// Acknowledgements that are told one by one: the latest.
const MAX_TOLD: usize = 1000;
/// Ranges of each that are told.
const MAX_SHOWN: usize = 20;

/// Everything that was answered for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Acknowledged {
    for_all: Vec<Range>,
    for_one: BTreeMap<String, Vec<Range>>,
    /// How many are answered for of the loss a consumer had and that was found at a time, in microseconds.
    losses: BTreeMap<(String, i64), u64>,
    told: VecDeque<Acknowledgement>,
}

/// One act of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Acknowledgement {
    pub(crate) at: Timestamp,
    pub(crate) actor: String,
    pub(crate) reason: String,
    /// For whom, unless it is for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) consumer: Option<String>,
    /// Messages it speaks of.
    pub(crate) count: u64,
    /// Which, as far as there is room to say.
    pub(crate) sequences: String,
}

impl Acknowledged {
    /// Takes the next record.
    pub(crate) fn take(&mut self, record: &Operation) {
        let set = match &record.consumer {
            Some(consumer) => self.for_one.entry(consumer.clone()).or_default(),
            None => &mut self.for_all,
        };
        *set = united(set.drain(..).chain(record.ranges.iter().copied()).collect());
        for loss in &record.losses {
            let count = self.losses.entry((loss.consumer.clone(), loss.found.micros())).or_default();
            *count = (*count).max(loss.count);
        }
        if self.told.len() == MAX_TOLD {
            self.told.pop_front();
        }
        self.told.push_back(Acknowledgement::of(record));
    }

    /// What is answered for whoever it was for.
    pub(crate) fn for_all(&self) -> &[Range] {
        &self.for_all
    }

    /// What is answered for, be it for one consumer or for all.
    pub(crate) fn for_any(&self) -> Vec<Range> {
        united(self.for_one.values().chain([&self.for_all]).flatten().copied().collect())
    }

    /// True if somebody answers for a message that came to nothing at a consumer.
    pub(crate) fn covers(&self, seq: u64, consumer: &str) -> bool {
        let is_named = || self.for_one.get(consumer).is_some_and(|set| holds(set, seq));
        holds(&self.for_all, seq) || is_named()
    }

    /// How many are answered for of a loss.
    pub(crate) fn of_loss(&self, consumer: &str, found: Timestamp) -> u64 {
        self.losses.get(&(consumer.to_owned(), found.micros())).copied().unwrap_or(0)
    }

    /// The latest acts, oldest first.
    pub(crate) fn told(&self) -> Vec<Acknowledgement> {
        self.told.iter().cloned().collect()
    }
}

impl Acknowledgement {
    fn of(record: &Operation) -> Self {
        let among = |at: &Range| format!("some of {}", super::ranges::shown(*at));
        let losses: Vec<Range> = record.losses.iter().map(|loss| (loss.from, loss.to)).collect();
        let ranges = Some(some_shown(&record.ranges, MAX_SHOWN)).filter(|text| !text.is_empty());
        let losses = losses.iter().take(MAX_SHOWN).map(among);
        Self {
            at: record.at,
            actor: record.actor.clone(),
            reason: record.reason.clone().unwrap_or_default(),
            consumer: record.consumer.clone(),
            count: record.count(),
            sequences: ranges.into_iter().chain(losses).collect::<Vec<_>>().join(", "),
        }
    }
}
