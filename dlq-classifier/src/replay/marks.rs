//! What has been done with entries, by their ids: the records of operations in one pass, without the letters.

use std::collections::HashMap;

use schemas::subject::{DLQ_OPERATION_PREFIX, DLQ_STREAM};
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::history::History;

use super::{Outcome, ReplayResult};
use crate::entry::State;
use crate::operation::{Kind, Operation};

/// What was done with each entry last.
#[derive(Debug, Default)]
pub(crate) struct Marks(HashMap<Box<str>, Mark>);

/// The last operation on one entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    /// What the entry is now.
    pub(crate) state: State,
    /// Where it was replayed to, if this task did it.
    pub(crate) by_us: Option<u64>,
}

impl Marks {
    /// Reads what is on record; replays of the task `ours` are told from those of others.
    pub(crate) async fn read(broker: &Broker, ours: &str) -> Result<Self, CliError> {
        let mut marks = Self::default();
        each_record(broker, 1, |operation| marks.take(&operation, ours)).await?;
        Ok(marks)
    }

    /// Takes one record.
    pub(crate) fn take(&mut self, operation: &Operation, ours: &str) {
        let state = match operation.operation {
            Kind::Replayed => State::Replayed,
            Kind::Discarded => State::Discarded,
            // They speak of no entries.
            Kind::Resumed | Kind::Expired | Kind::Purged => return,
        };
        let is_ours = operation.task.as_deref() == Some(ours);
        for (number, id) in operation.ids.iter().enumerate() {
            let sequence = operation.replays.get(number).map(|replay| replay.sequence);
            let by_us = sequence.filter(|_| is_ours);
            self.0.insert(id.as_str().into(), Mark { state, by_us });
        }
    }

    pub(crate) fn of(&self, id: &str) -> Option<Mark> {
        self.0.get(id).copied()
    }
}

/// What became of the entries of a task, as far as it is on record.
pub(super) async fn rows_of(broker: &Broker, task: &str) -> Result<Vec<ReplayResult>, CliError> {
    let mut rows = Vec::new();
    let taken = |operation: Operation| {
        if operation.task.as_deref() != Some(task) {
            return;
        }
        for replay in operation.replays {
            let row = ReplayResult::named(&replay.id, replay.kept_at, Outcome::Replayed, None);
            rows.push(ReplayResult { sequence: Some(replay.sequence), ..row });
        }
        for refused in operation.refused {
            rows.push(ReplayResult::named(
                &refused.id,
                refused.kept_at,
                refused.outcome,
                Some(&refused.reason),
            ));
        }
    };
    each_record(broker, 1, taken).await?;
    Ok(rows)
}

/// Reads every record of an operation there is, from a place on.
async fn each_record(broker: &Broker, from: u64, mut take: impl FnMut(Operation)) -> Result<(), CliError> {
    let filter = format!("{DLQ_OPERATION_PREFIX}>");
    let mut history = History::to_the_present(broker, DLQ_STREAM, &[&filter], from).await?;
    while let Some(kept) = history.next().await? {
        if let Some(operation) = Operation::read(&kept.subject, &kept.payload) {
            take(operation);
        }
    }
    Ok(())
}
