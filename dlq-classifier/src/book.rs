//! The dead-letter queue in one pass: dead letters and the operations on them, in the order of their stream.
//!
//! Pure. The stream is the only truth: the state of an entry follows from it, and nothing is kept anywhere else.
//! A second dead letter with the same id (its first confirmation was lost and the broker's duplicate window had
//! passed) is the same entry.

use std::collections::HashMap;

use schemas::subject::{DLQ_ALERT_PREFIX, DLQ_OPERATION_PREFIX};
use service_kit::history::Kept;

use crate::entry::{Entry, State};
use crate::operation::{Kind, Operation, Replay};

/// All entries, oldest first, and what was done with them.
#[derive(Debug, Default)]
pub struct Book {
    entries: Vec<Entry>,
    by_id: HashMap<String, usize>,
    operations: HashMap<usize, Vec<Mark>>,
    /// Messages that are neither a dead letter nor a record of an operation nor an alert.
    pub strangers: u64,
}

/// One operation as one entry sees it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Mark {
    /// What was done.
    pub operation: Kind,
    /// By whom.
    pub actor: String,
    /// When.
    pub at: schemas::Timestamp,
    /// Why, as far as it was said.
    pub reason: Option<String>,
    /// Where the entry was replayed to.
    pub replay: Option<Replay>,
}

/// Why an id names no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOne {
    /// Nothing has this id.
    #[error("no entry has the id \"{0}\"")]
    Unknown(String),
    /// Several entries begin like this.
    #[error("the id \"{prefix}\" is short for {count} entries, among them {examples}")]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// How many there are.
        count: usize,
        /// Some of them.
        examples: String,
    },
}

impl Book {
    /// Takes the next message of the dead-letter stream.
    pub fn take(&mut self, kept: &Kept) {
        if kept.subject.starts_with(DLQ_OPERATION_PREFIX) {
            match Operation::read(&kept.subject, &kept.payload) {
                Some(operation) => self.apply(&operation),
                None => self.strangers += 1,
            }
            return;
        }
        if kept.subject.starts_with(DLQ_ALERT_PREFIX) {
            return;
        }
        match Entry::read(kept) {
            Some(entry) => self.letter(entry),
            None => self.strangers += 1,
        }
    }

    /// Takes the next dead letter.
    pub fn letter(&mut self, entry: Entry) {
        if !self.by_id.contains_key(&entry.id) {
            self.by_id.insert(entry.id.clone(), self.entries.len());
            self.entries.push(entry);
        }
    }

    /// Takes the next record of an operation; the letters it speaks of have been taken.
    pub fn apply(&mut self, operation: &Operation) {
        let state = match operation.operation {
            Kind::Replayed => State::Replayed,
            Kind::Discarded => State::Discarded,
            // They speak of no entries.
            Kind::Resumed | Kind::Expired | Kind::Purged | Kind::Acknowledged => return,
        };
        for id in &operation.ids {
            // An entry that has aged out of the stream while the record of it is still there.
            let Some(&index) = self.by_id.get(id) else { continue };
            self.entries[index].state = state;
            self.operations.entry(index).or_default().push(Mark {
                operation: operation.operation,
                actor: operation.actor.clone(),
                at: operation.at,
                reason: operation.reason.clone(),
                replay: operation.replays.iter().find(|replay| replay.id == *id).cloned(),
            });
        }
    }

    /// The entries, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry with an id, or the only one whose id begins like this.
    pub fn find(&self, id: &str) -> Result<&Entry, NotOne> {
        if let Some(&index) = self.by_id.get(id) {
            return Ok(&self.entries[index]);
        }
        let alike: Vec<&Entry> = self.entries.iter().filter(|entry| entry.id.starts_with(id)).collect();
        match alike.as_slice() {
            [one] if !id.is_empty() => Ok(one),
            [] | [_] => Err(NotOne::Unknown(id.to_owned())),
            several => Err(NotOne::Ambiguous {
                prefix: id.to_owned(),
                count: several.len(),
                examples: several
                    .iter()
                    .take(3)
                    .map(|entry| entry.id.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
        }
    }

    /// What was done with an entry, oldest first.
    pub fn marks(&self, id: &str) -> &[Mark] {
        self.by_id.get(id).and_then(|index| self.operations.get(index)).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests;
