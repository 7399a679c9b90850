//! What was done about dead letters, kept beside them: one message per action on
//! `cerebros.dlq.operation.<replayed|discarded|resumed|expired>`.
//!
//! Pure. A record is written after the action was confirmed, so that its existence proves the effect. One record
//! covers at most [`MAX_IDS`] entries; a larger action writes several.

use schemas::subject::DLQ_OPERATION_PREFIX;
use schemas::{Timestamp, failure::bounded_head};
use serde::{Deserialize, Serialize};

/// Entries in one record. At most 400 bytes each (an id, a subject, a message id), so that a record stays well below
/// the broker's default limit of 1 MiB.
pub const MAX_IDS: usize = 1000;
/// Bytes kept of the reason somebody gave.
const MAX_REASON_BYTES: usize = 1024;

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
    /// Sequence the new message got.
    pub sequence: u64,
    /// Subject it went to.
    pub subject: String,
    /// Its message id.
    pub message_id: String,
    /// True if the payload is not the original one.
    pub edited: bool,
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
            range: None,
        }
    }

    /// Subject the record is kept on.
    pub fn subject(&self) -> String {
        format!("{DLQ_OPERATION_PREFIX}{}", self.operation.as_str())
    }

    /// Message id that makes a second publication of this record a duplicate.
    pub fn message_id(&self) -> String {
        let first = self.ids.first().map_or("", String::as_str);
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
            sequence: u64::MAX,
            subject: "cerebros.nas.run.cancel_requested".into(),
            message_id: "m".repeat(200),
            edited: true,
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
