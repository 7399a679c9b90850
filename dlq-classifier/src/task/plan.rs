//! What a task is to do, what it is about to do, and what it has done. Pure.

use serde::{Deserialize, Serialize};

use crate::edit::Edit;
use crate::operation::Act;
use crate::replay::Rate;
use crate::selection::{Named, Wanted};

/// What is to be done. It never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Who asked for it.
    pub actor: String,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// What the entries were picked by, as it was typed.
    #[serde(default)]
    pub filter: Option<String>,
    /// Which entries.
    pub wanted: Wanted,
    /// Where they go, if not back to where they came from.
    #[serde(default)]
    pub to: Option<String>,
    /// How their payloads are changed.
    #[serde(default)]
    pub edit: Option<Edit>,
    /// Messages a second.
    #[serde(default)]
    pub rate: Option<Rate>,
    /// True if entries that a bulk replay leaves out as unsafe are meant as well.
    #[serde(default)]
    pub takes_unsafe: bool,
}

impl Plan {
    /// True if entries that are unsafe are not left out: a person has named them, or said so.
    pub fn takes_all(&self) -> bool {
        self.takes_unsafe || !self.wanted.is_bulk()
    }

    /// Who acts, for the records.
    pub fn act(&self) -> Act {
        Act { actor: self.actor.clone(), reason: self.reason.clone(), filter: self.filter.clone() }
    }
}

/// Entries that are about to be published, and not on record yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The entries.
    pub entries: Vec<Named>,
    /// Last sequence of the stream they go to, before the first of them was published.
    pub after: u64,
}

/// How many entries came to which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Published, confirmed.
    pub replayed: u64,
    /// Not published: they would die again.
    pub invalid: u64,
    /// Left alone.
    pub skipped: u64,
}

impl Counts {
    /// Both together.
    #[must_use]
    pub fn and(self, more: Self) -> Self {
        Self {
            replayed: self.replayed + more.replayed,
            invalid: self.invalid + more.invalid,
            skipped: self.skipped + more.skipped,
        }
    }
}

#[cfg(test)]
impl Plan {
    /// One for tests: of nothing, at a rate.
    pub(crate) fn at_rate(rate: Option<&str>) -> Self {
        Self {
            actor: "ann@host".into(),
            reason: None,
            filter: None,
            wanted: Wanted::These(Vec::new()),
            to: None,
            edit: None,
            rate: rate.map(|rate| rate.parse().unwrap()),
            takes_unsafe: false,
        }
    }
}
