//! Who acts, and the record that comes of each act. Pure.

use schemas::Timestamp;
use schemas::failure::bounded_head;

use super::{Answered, Kind, MAX_REASON_BYTES, Operation, Replay};

/// Bytes kept of an edit; each record of a task repeats it.
const MAX_EDIT_BYTES: usize = 4096;

/// Who acts, why, and on what grounds: the part of a record all its pieces share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// By whom.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
    /// What the entries were picked by.
    pub filter: Option<String>,
}

impl Operation {
    /// A record of replays.
    pub fn replayed(act: &Act, at: Timestamp, replays: Vec<Replay>) -> Self {
        let ids = replays.iter().map(|replay| replay.id.clone()).collect();
        Self { replays, ..Self::on(Kind::Replayed, act, at, ids) }
    }

    /// The same as part of a task, with the edit it was asked for.
    #[must_use]
    pub fn of_task(self, task: &str, edit: Option<&str>) -> Self {
        let edit = edit.map(|edit| bounded_head(edit, MAX_EDIT_BYTES));
        Self { task: Some(task.to_owned()), edit, ..self }
    }

    /// A record of discards of entries, by their ids and the consumers in whose names they are.
    pub fn discarded(act: &Act, at: Timestamp, entries: Vec<(String, String)>) -> Self {
        Self::about(Kind::Discarded, act, at, entries)
    }

    /// A record of letters that were removed, in the same form.
    pub fn purged(act: &Act, at: Timestamp, entries: Vec<(String, String)>) -> Self {
        Self::about(Kind::Purged, act, at, entries)
    }

    fn about(kind: Kind, act: &Act, at: Timestamp, entries: Vec<(String, String)>) -> Self {
        let (ids, consumers) = entries.into_iter().unzip();
        Self { consumers, ..Self::on(kind, act, at, ids) }
    }

    /// A record of a classifier that was told to go on, with everything up to `through` let through.
    pub fn resumed(act: &Act, at: Timestamp, through: u64) -> Self {
        Self { range: Some((1, through)), ..Self::on(Kind::Resumed, act, at, Vec::new()) }
    }

    /// Notice that messages of a range leave the stream unhandled.
    pub fn expired(act: &Act, at: Timestamp, range: (u64, u64)) -> Self {
        Self { range: Some(range), ..Self::on(Kind::Expired, act, at, Vec::new()) }
    }

    /// A record of what somebody answers for.
    pub fn acknowledged(act: &Act, at: Timestamp, answered: Answered) -> Self {
        let Answered { ranges, losses, consumer } = answered;
        Self { ranges, losses, consumer, ..Self::on(Kind::Acknowledged, act, at, Vec::new()) }
    }

    fn on(operation: Kind, act: &Act, at: Timestamp, ids: Vec<String>) -> Self {
        let bounded = |text: &String| bounded_head(text, MAX_REASON_BYTES);
        Self {
            operation,
            ids,
            consumers: Vec::new(),
            actor: bounded(&act.actor),
            at,
            reason: act.reason.as_ref().map(bounded),
            filter: act.filter.as_ref().map(bounded),
            replays: Vec::new(),
            edit: None,
            task: None,
            refused: Vec::new(),
            range: None,
            ranges: Vec::new(),
            losses: Vec::new(),
            consumer: None,
        }
    }
}
