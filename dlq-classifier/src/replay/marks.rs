//! What has been done with entries, by their ids: the records of operations in one pass, without the letters.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU64;

use schemas::subject::{DLQ_OPERATION_PREFIX, DLQ_STREAM};
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::history::History;

use super::engine::MOST_IN_A_BATCH;
use super::in_order::InOrder;
use super::{Outcome, ReplayResult};
use crate::entry::State;
use crate::operation::{Kind, Operation};

/// What was done with each entry last.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// By the hash of the entry's id, which nobody can aim at: there may be as many as letters.
    marks: HashMap<u64, Mark>,
    hasher: RandomState,
    /// The records up to this place of the stream are read.
    through: u64,
    /// True if something in them is not on record yet.
    is_supposed: bool,
}

/// The last operation on one entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    /// What the entry is now.
    pub(crate) state: State,
    /// The task that did it, by its hash.
    task: u32,
    /// Where that task replayed it to.
    sequence: Option<NonZeroU64>,
}

impl Marks {
    /// Reads what is on record, and nothing else: what was only supposed is forgotten.
    pub(crate) async fn read(&mut self, broker: &Broker) -> Result<(), CliError> {
        if self.is_supposed {
            *self = Self::default();
        }
        self.refresh(broker).await
    }

    /// Reads what came on record since: somebody may have discarded what is about to be replayed.
    pub(crate) async fn refresh(&mut self, broker: &Broker) -> Result<(), CliError> {
        let from = self.through + 1;
        let through = each_record(broker, from, |operation| self.take(&operation)).await?;
        self.through = self.through.max(through);
        Ok(())
    }

    /// Takes one record.
    pub(crate) fn take(&mut self, operation: &Operation) {
        let state = match operation.operation {
            Kind::Replayed => State::Replayed,
            Kind::Discarded => State::Discarded,
            // They speak of no entries.
            Kind::Resumed | Kind::Expired | Kind::Purged | Kind::Acknowledged => return,
        };
        let task = operation.task.as_deref().map(|task| self.hash(task));
        for (number, id) in operation.ids.iter().enumerate() {
            let sequence = operation.replays.get(number).map(|replay| replay.sequence);
            let sequence = sequence.filter(|_| task.is_some()).and_then(NonZeroU64::new);
            let mark = Mark { state, task: task.unwrap_or_default(), sequence };
            self.marks.insert(self.hasher.hash_one(id.as_str()), mark);
        }
    }

    /// Takes a record that could not be written yet.
    pub(crate) fn suppose(&mut self, operation: &Operation) {
        self.take(operation);
        self.is_supposed = true;
    }

    pub(crate) fn of(&self, id: &str) -> Option<Mark> {
        self.marks.get(&self.hasher.hash_one(id)).copied()
    }

    /// Where an entry was replayed to, if this task did it.
    pub(crate) fn replayed_by(&self, task: &str, id: &str) -> Option<NonZeroU64> {
        self.of(id).filter(|mark| mark.task == self.hash(task)).and_then(|mark| mark.sequence)
    }

    fn hash(&self, task: &str) -> u32 {
        self.hasher.hash_one(task) as u32
    }
}

/// What became of the entries of a task behind a place in the queue, as far as it is on record, oldest first.
pub(super) async fn each_row(
    broker: &Broker,
    task: &str,
    behind: u64,
    mut take: impl FnMut(ReplayResult),
) -> Result<(), CliError> {
    let mut in_order = InOrder::new(2 * MOST_IN_A_BATCH);
    each_record(broker, 1, |operation| {
        if operation.task.as_deref() == Some(task) {
            let rows = rows_in(operation).filter(|row| row.kept_at > behind);
            rows.filter_map(|row| in_order.push(row)).for_each(&mut take);
        }
    })
    .await?;
    in_order.rest().for_each(take);
    Ok(())
}

fn rows_in(operation: Operation) -> impl Iterator<Item = ReplayResult> {
    let replayed = operation.replays.into_iter().map(|replay| {
        let row = ReplayResult::named(&replay.id, replay.kept_at, Outcome::Replayed, None);
        ReplayResult { sequence: Some(replay.sequence), ..row }
    });
    let refused = operation.refused.into_iter().map(|refused| {
        ReplayResult::named(&refused.id, refused.kept_at, refused.outcome, Some(&refused.reason))
    });
    replayed.chain(refused)
}

/// Reads every record of an operation there is, from a place on.
/// Hands every record from a place on to `take`; the place of the last one, 0 when there is none.
async fn each_record(broker: &Broker, from: u64, mut take: impl FnMut(Operation)) -> Result<u64, CliError> {
    let filter = format!("{DLQ_OPERATION_PREFIX}>");
    let mut history = History::to_the_present(broker, DLQ_STREAM, &[&filter], from).await?;
    let mut through = 0;
    while let Some(kept) = history.next().await? {
        through = kept.sequence;
        if let Some(operation) = Operation::read(&kept.subject, &kept.payload) {
            take(operation);
        }
    }
    Ok(through)
}

#[cfg(test)]
mod tests {
    use schemas::Timestamp;

    use super::*;
    use crate::operation::{Act, Replay};

    #[test]
    fn what_one_task_replayed_is_told_from_what_another_did() {
        let replay = Replay {
            id: "7-a".into(),
            consumer: "mlflow-sink".into(),
            kept_at: 4,
            sequence: 9,
            subject: "ml.run.trial".into(),
            message_id: "m".into(),
            edited: false,
            upcast: false,
            named_run: None,
        };
        let act = Act { actor: "ann@host".into(), reason: None, filter: None };
        let operation =
            Operation::replayed(&act, Timestamp::from_micros(1), vec![replay]).of_task("one", None);
        let mut marks = Marks::default();
        marks.suppose(&operation);
        assert!(marks.is_supposed);
        assert_eq!(marks.of("7-a").unwrap().state, State::Replayed);
        assert_eq!(marks.replayed_by("one", "7-a").map(NonZeroU64::get), Some(9));
        assert_eq!(marks.replayed_by("other", "7-a"), None);
        assert_eq!(marks.replayed_by("one", "7-b"), None);
    }
}
