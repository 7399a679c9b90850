//! What was done about dead letters, kept beside them: one message per action on
//! `cerebros.dlq.operation.<replayed|discarded|resumed|expired|purged|acknowledged>`.
//!
//! Pure. A record is written after the action was confirmed, so that its existence proves the effect. One record
//! covers at most [`MAX_IDS`] entries; a larger action writes several.

mod act;
mod answered;
mod kind;
mod replay;

use schemas::Timestamp;
use schemas::subject::DLQ_OPERATION_PREFIX;
use serde::{Deserialize, Serialize};

pub use act::Act;
pub use answered::{Answered, MAX_LOSSES, MAX_RANGES, Missing};
pub use kind::Kind;
pub use replay::{Refused, Replay};

/// Entries in one record. At most 900 bytes each (an id, a consumer, a subject, a message id, a run), so that a record stays below
/// the broker's default limit of 1 MiB.
pub const MAX_IDS: usize = 1000;
/// Bytes kept of the reason somebody gave.
const MAX_REASON_BYTES: usize = 1024;

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

impl Operation {
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
    use schemas::RunId;

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
