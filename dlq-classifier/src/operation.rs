//! What was done about dead letters, kept beside them: one message per action on
//! `cerebros.dlq.operation.<replayed|discarded|resumed|expired>`.
//!
//! Pure. A record is written after the action was confirmed, so that its existence proves the effect. One record
//! covers at most [`MAX_IDS`] entries; a larger action writes several.

use schemas::subject::DLQ_OPERATION_PREFIX;
use schemas::{RunId, Timestamp, failure::bounded_head};
use serde::{Deserialize, Serialize};

use crate::replay::{Outcome, ReplayResult};

/// Entries in one record. At most 500 bytes each (an id, a subject, a message id, a run), so that a record stays well below
/// the broker's default limit of 1 MiB.
pub const MAX_IDS: usize = 1000;
/// Bytes kept of the reason somebody gave.
const MAX_REASON_BYTES: usize = 1024;
/// Bytes kept of an edit; each record of a task repeats it.
const MAX_EDIT_BYTES: usize = 4096;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The messages were published again.
    Replayed,
    /// The entries were declared not needed.
    Discarded,
    /// A classifier that had stopped at its storm limit was told to go on.
    Resumed,
    /// Notice of messages that leave the stream by its limits before they were handled.
    Expired,
}

impl Kind {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
            Self::Resumed => "resumed",
            Self::Expired => "expired",
        }
    }
}

/// Where one entry was replayed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The entry.
    pub id: String,
    /// Its place in the dead-letter stream; 0 in records of earlier builds.
    #[serde(default)]
    pub kept_at: u64,
    /// Sequence the new message got.
    pub sequence: u64,
    /// Subject it went to.
    pub subject: String,
    /// Its message id.
    pub message_id: String,
    /// True if the payload was changed by an edit.
    pub edited: bool,
    /// True if it was of an older schema and is written in today's.
    #[serde(default, skip_serializing_if = "is_false")]
    pub upcast: bool,
    /// The run it was made to name: the one readers had derived for it while it named none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named_run: Option<RunId>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// An entry that a replay did not publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The entry.
    pub id: String,
    /// Its place in the dead-letter stream.
    pub kept_at: u64,
    /// Invalid or skipped.
    pub outcome: Outcome,
    /// Why.
    pub reason: String,
}

impl Refused {
    /// What a row says.
    pub(crate) fn of(row: &ReplayResult) -> Self {
        let reason = bounded_head(row.reason.as_deref().unwrap_or_default(), MAX_REASON_BYTES);
        Self { id: row.id.clone(), kept_at: row.kept_at, outcome: row.outcome, reason }
    }
}

/// One action of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// What was done.
    pub operation: Kind,
    /// To which entries.
    pub ids: Vec<String>,
    /// By whom: `user@host`.
    pub actor: String,
    /// When.
    pub at: Timestamp,
    /// Why, as far as it was said.
    #[serde(default)]
    pub reason: Option<String>,
    /// What the entries were picked by, as it was typed; absent when they were named.
    #[serde(default)]
    pub filter: Option<String>,
    /// Where each went; empty unless they were replayed.
    #[serde(default)]
    pub replays: Vec<Replay>,
    /// The jq expression or patch the payloads were changed by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<String>,
    /// The task it was part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Entries of the task that were not published, where somebody else than the one who asked was at work on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
    /// First and last sequence of the messages it speaks of, where it names no entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<(u64, u64)>,
}

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

    /// A record of discards.
    pub fn discarded(act: &Act, at: Timestamp, ids: Vec<String>) -> Self {
        Self::on(Kind::Discarded, act, at, ids)
    }

    /// A record of a classifier that was told to go on, with everything up to `through` let through.
    pub fn resumed(act: &Act, at: Timestamp, through: u64) -> Self {
        Self { range: Some((1, through)), ..Self::on(Kind::Resumed, act, at, Vec::new()) }
    }

    /// Notice that messages of a range leave the stream unhandled.
    pub fn expired(act: &Act, at: Timestamp, range: (u64, u64)) -> Self {
        Self { range: Some(range), ..Self::on(Kind::Expired, act, at, Vec::new()) }
    }

    fn on(operation: Kind, act: &Act, at: Timestamp, ids: Vec<String>) -> Self {
        let bounded = |text: &String| bounded_head(text, MAX_REASON_BYTES);
        Self {
            operation,
            ids,
            actor: bounded(&act.actor),
            at,
            reason: act.reason.as_ref().map(bounded),
            filter: act.filter.as_ref().map(bounded),
            replays: Vec::new(),
            edit: None,
            task: None,
            refused: Vec::new(),
            range: None,
        }
    }

    /// Subject the record is kept on.
    pub fn subject(&self) -> String {
        format!("{DLQ_OPERATION_PREFIX}{}", self.operation.as_str())
    }

    /// Message id that makes a second publication of this record a duplicate.
    pub fn message_id(&self) -> String {
        let refused = self.refused.first().map_or("", |refused| refused.id.as_str());
        let first = self.ids.first().map_or(refused, String::as_str);
        if let Some(task) = &self.task {
            // Whoever takes a task over writes the same record under the same id.
            return format!("dlq-operation:{task}:{first}:{}", self.ids.len());
        }
        format!("dlq-operation:{}:{}:{first}:{}", self.operation.as_str(), self.at.micros(), self.ids.len())
    }

    /// Reads a record; `None` for a message that is none.
    pub fn read(subject: &str, payload: &[u8]) -> Option<Self> {
        subject.strip_prefix(DLQ_OPERATION_PREFIX)?;
        serde_json::from_slice(payload).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act() -> Act {
        Act { actor: "ann@host".into(), reason: Some("x".repeat(5000)), filter: None }
    }

    #[test]
    fn a_record_reads_what_it_wrote_and_is_bounded() {
        let replay = |number: usize| Replay {
            id: format!("{number}-{}", "f".repeat(20)),
            kept_at: u64::MAX,
            sequence: u64::MAX,
            subject: "cerebros.nas.run.cancel_requested".into(),
            message_id: "m".repeat(200),
            edited: true,
            upcast: false,
            named_run: Some(RunId::derive("CEREBROS", u64::MAX, 1)),
        };
        let at = Timestamp::from_micros(1_700_000_000_000_000);
        let record = Operation::replayed(&act(), at, (0..MAX_IDS).map(replay).collect());
        let bytes = serde_json::to_vec(&record).unwrap();
        assert!(bytes.len() < 512 * 1024, "{}", bytes.len());
        assert_eq!(Operation::read(&record.subject(), &bytes), Some(record));
    }

    #[test]
    fn a_stranger_s_message_is_no_record() {
        assert_eq!(Operation::read("cerebros.dlq.operation.replayed", b"garbage"), None);
        assert_eq!(Operation::read("cerebros.dlq.decode.ml.run.trial", b"{}"), None);
    }
}
