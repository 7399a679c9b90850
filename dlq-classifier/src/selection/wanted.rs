//! What a task is about: entries by name, or all that a filter takes up to a place in the stream. Pure.
//!
//! A filter stays a filter, so that a task about a hundred thousand entries is as small as one about ten.

use schemas::{FailureClass, Stage, Timestamp};
use serde::{Deserialize, Serialize};
use service_kit::moment::Moment;

use crate::entry::State;
use crate::filter::Filter;

/// An entry by its id, and where its letter is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The entry.
    pub id: String,
    /// Sequence of its letter in the dead-letter stream.
    pub kept_at: u64,
}

/// Which entries a task is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// Those a person named, oldest first; at most [`crate::operation::MAX_IDS`].
    These(Vec<Named>),
    /// Those a filter takes.
    Where(Where),
}

/// A filter, and how far it reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Where {
    class: Option<FailureClass>,
    stage: Option<Stage>,
    subject: Option<String>,
    run: Option<String>,
    fingerprint: Option<String>,
    since: Option<Timestamp>,
    state: Option<String>,
    /// Last sequence of the dead-letter stream when it was asked for: what died later was not meant.
    through: u64,
}

impl Wanted {
    /// True if the entries were picked, not named.
    pub fn is_bulk(&self) -> bool {
        match self {
            Self::These(_) => false,
            Self::Where(_) => true,
        }
    }

    /// How many entries were named.
    pub fn count(&self) -> usize {
        match self {
            Self::These(named) => named.len(),
            Self::Where(_) => 0,
        }
    }

    /// Place in the dead-letter stream behind which nothing is meant.
    pub fn last(&self) -> u64 {
        match self {
            Self::These(named) => named.last().map_or(0, |named| named.kept_at),
            Self::Where(chosen) => chosen.through,
        }
    }
}

impl Where {
    /// A filter as it stands now: what it says about a while ago becomes a moment.
    pub fn new(filter: &Filter, through: u64, now: Timestamp) -> Self {
        // Taken apart, so that a flag that is new cannot be forgotten here.
        let Filter { class, stage, subject, run, fingerprint, since, state } = filter.clone();
        let since = since.map(|since| since.resolve(now));
        let state = state.map(|state| state.as_str().to_owned());
        Self { class, stage, subject, run, fingerprint, since, state, through }
    }

    /// The filter; `None` if it asks for a state of a later build, which no entry of ours has.
    pub fn filter(&self) -> Option<Filter> {
        let Self { class, stage, subject, run, fingerprint, since, state, through: _ } = self.clone();
        let state = match state {
            Some(name) => Some(<State as clap::ValueEnum>::from_str(&name, false).ok()?),
            None => None,
        };
        Some(Filter { class, stage, subject, run, fingerprint, since: since.map(Moment::At), state })
    }
}
