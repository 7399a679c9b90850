//! The letters of the entries a task is about, one after the other, with what has become of each.
//!
//! A filter is asked about each letter as it passes, so nothing is held but the letter in hand.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::vec;

use schemas::Timestamp;
use schemas::subject::{DLQ_PREFIX, DLQ_STREAM};
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::history::{self, History, Kept};

use super::marks::Marks;
use crate::entry::Entry;
use crate::filter::Filter;
use crate::selection::{Named, Wanted};

/// Letters on their way.
pub(super) struct Letters {
    broker: Broker,
    /// The letters behind this place are yet to come.
    cursor: u64,
    rest: Rest,
    /// Entries that have passed, as hashes: a second letter of one is not a second entry.
    passed: HashSet<u64>,
    now: Timestamp,
    /// Subjects of the letters; all where there are none.
    kept_on: Vec<String>,
}

enum Rest {
    These(vec::IntoIter<Named>),
    Where { filter: Option<Filter>, through: u64, history: Option<Box<History>> },
}

/// What comes next.
pub(super) enum Next {
    /// An entry and its letter.
    Letter(Box<Entry>, Box<Kept>),
    /// An entry whose letter the stream has dropped.
    Gone(Named),
    /// There are no more.
    End,
}

impl Letters {
    /// Those behind `cursor`.
    pub(super) fn of(broker: &Broker, wanted: &Wanted, cursor: u64, now: Timestamp) -> Self {
        let rest = match wanted {
            Wanted::These(named) => {
                let left: Vec<Named> = named.iter().filter(|named| named.kept_at > cursor).cloned().collect();
                Rest::These(left.into_iter())
            }
            Wanted::Where(chosen) => {
                Rest::Where { filter: chosen.filter(), through: wanted.last(), history: None }
            }
        };
        Self { broker: broker.clone(), cursor, rest, passed: HashSet::new(), now, kept_on: Vec::new() }
    }

    /// Of those a filter takes only the letters of messages that came on a subject.
    #[must_use]
    pub(super) fn that_came_on(self, subject: &str) -> Self {
        Self { kept_on: vec![format!("{DLQ_PREFIX}*.{subject}")], ..self }
    }

    /// Closes what is open at the broker, before a long wait; the next letter opens it again.
    pub(super) fn pause(&mut self) {
        match &mut self.rest {
            Rest::These(_) => {}
            Rest::Where { history, .. } => *history = None,
        }
    }

    /// True if what comes next is what comes behind a place.
    pub(super) fn are_behind(&self, cursor: u64) -> bool {
        self.cursor == cursor
    }

    /// The next one that is meant.
    pub(super) async fn next(&mut self, marks: &Marks) -> Result<Next, CliError> {
        match &mut self.rest {
            Rest::These(named) => {
                let Some(named) = named.next() else { return Ok(Next::End) };
                self.cursor = named.kept_at;
                let kept = history::at(&self.broker, DLQ_STREAM, named.kept_at).await?;
                Ok(match kept.and_then(|kept| letter(kept, marks)) {
                    Some((entry, kept)) => Next::Letter(entry, kept),
                    None => Next::Gone(named),
                })
            }
            Rest::Where { filter: None, .. } => Ok(Next::End),
            Rest::Where { filter: Some(filter), through, history } => loop {
                let open = match history {
                    Some(open) => open,
                    None => {
                        let from = self.cursor + 1;
                        let kept_on: Vec<&str> = self.kept_on.iter().map(String::as_str).collect();
                        let opened =
                            History::to_the_present(&self.broker, DLQ_STREAM, &kept_on, from).await?;
                        history.insert(Box::new(opened))
                    }
                };
                let Some(kept) = open.next().await?.filter(|kept| kept.sequence <= *through) else {
                    self.cursor = *through;
                    return Ok(Next::End);
                };
                self.cursor = kept.sequence;
                let Some((entry, kept)) = letter(kept, marks) else { continue };
                if self.passed.insert(hash(&entry.id)) && filter.takes(&entry, self.now) {
                    return Ok(Next::Letter(entry, kept));
                }
            },
        }
    }
}

fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

fn letter(kept: Kept, marks: &Marks) -> Option<(Box<Entry>, Box<Kept>)> {
    let mut entry = Entry::read(&kept)?;
    if let Some(mark) = marks.of(&entry.id) {
        entry.state = mark.state;
    }
    Some((Box::new(entry), Box::new(kept)))
}
