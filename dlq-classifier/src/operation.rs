//! What was done about dead letters, kept beside them: one message per action on
//! `cerebros.dlq.operation.<replayed|discarded|resumed|expired|purged|acknowledged>`.
//!
//! Pure. A record is written after the action was confirmed, so that its existence proves the effect. One record
//! covers at most [`MAX_IDS`] entries; a larger action writes several.

mod answered;

use schemas::subject::DLQ_OPERATION_PREFIX;
use schemas::{RunId, Timestamp, failure::bounded_head};
use serde::{Deserialize, Serialize};

use crate::replay::{Outcome, ReplayResult};

pub use answered::{Answered, MAX_LOSSES, MAX_RANGES, Missing};

/// Entries in one record. At most 900 bytes each (an id, a consumer, a subject, a message id, a run), so that a record stays below
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
    /// Letters that were replayed or discarded were removed.
    Purged,
    /// Somebody knows why messages left the stream in silence, and answers for them.
    Acknowledged,
}

impl Kind {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
            Self::Resumed => "resumed",
            Self::Expired => "expired",
            Self::Purged => "purged",
            Self::Acknowledged => "acknowledged",
        }
    }
}

/// Where one entry was replayed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The entry.
    pub id: String,
    /// The consumer in whose name the letter was; empty in records of earlier builds.
    #[serde(default)]
    pub consumer: String,
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
    /// In whose names the letters of these were, one by one, where [`Operation::replays`] does not say so; records of
    /// earlier builds do not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consumers: Vec<String>,
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
    /// Ranges of the messages somebody answers for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<(u64, u64)>,
    /// Losses nobody can name more closely, which somebody answers for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<Missing>,
    /// The consumer these are acknowledged for; absent when it is for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
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

    /// The messages whose letters were dealt with: their sequences, and the consumers in whose names the letters were.
    pub fn messages(&self) -> impl Iterator<Item = (u64, Option<&str>)> {
        let consumer = |at: usize| {
            let replayed = || self.replays.get(at).map(|replay| replay.consumer.as_str());
            let named = self.consumers.get(at).map(String::as_str).or_else(replayed);
            named.filter(|name| !name.is_empty())
        };
        let sequence = |id: &String| id.split('-').next().and_then(|digits| digits.parse().ok());
        let ids = self.ids.iter().enumerate();
        ids.filter_map(move |(at, id)| sequence(id).map(|sequence| (sequence, consumer(at))))
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

    /// Entries it is about, or messages where it names none.
    pub fn count(&self) -> u64 {
        let span = |(from, to): (u64, u64)| to.saturating_sub(from).saturating_add(1);
        let ranges = self.range.iter().chain(&self.ranges).map(|range| span(*range));
        let all = ranges.chain(self.losses.iter().map(|loss| loss.count));
        all.chain([self.ids.len() as u64]).fold(0, u64::saturating_add)
    }

    /// Subject the record is kept on.
    pub fn subject(&self) -> String {
        format!("{DLQ_OPERATION_PREFIX}{}", self.operation.as_str())
    }

    /// Message id that makes a second publication of this record a duplicate.
    pub fn message_id(&self) -> String {
        let refused = self.refused.first().map_or("", |refused| refused.id.as_str());
        let answered = self.ranges.first().copied().or(self.losses.first().map(|loss| (loss.from, loss.to)));
        if let Some((from, to)) = answered {
            let (kind, at) = (self.operation.as_str(), self.at.micros());
            return format!("dlq-operation:{kind}:{at}:{from}-{to}:{}", self.ranges.len());
        }
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
            consumer: "c".repeat(255),
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
        assert!(bytes.len() < 768 * 1024, "{}", bytes.len());
        assert_eq!(Operation::read(&record.subject(), &bytes), Some(record));
    }

    #[test]
    fn a_record_tells_whose_letters_were_dealt_with_as_far_as_it_says() {
        let at = Timestamp::default();
        let entries =
            vec![("7-ab".into(), "sink".into()), ("x".into(), "y".into()), ("9-cd".into(), "mine".into())];
        let discard = Operation::discarded(&act(), at, entries);
        let told: Vec<_> = discard.messages().collect();
        assert_eq!(told, [(7, Some("sink")), (9, Some("mine"))]);
        let earlier = Operation { consumers: Vec::new(), ..discard };
        assert_eq!(earlier.messages().map(|(_, consumer)| consumer).collect::<Vec<_>>(), [None, None]);
    }

    #[test]
    fn a_stranger_s_message_is_no_record() {
        assert_eq!(Operation::read("cerebros.dlq.operation.replayed", b"garbage"), None);
        assert_eq!(Operation::read("cerebros.dlq.decode.ml.run.trial", b"{}"), None);
    }
}
