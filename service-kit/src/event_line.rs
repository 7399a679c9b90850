//! One event as one line: the JSON shape that `producer watch`, `cerebros events tail` and every other live view
//! share.
//!
//! Invariants: what is valid is shown as the contract reads it, every field present, whatever encoding it came in;
//! what is not is shown as it came, with the reason; every message of the stream makes a line.

use schemas::failure::bounded_head;
use schemas::subject::STREAM;
use schemas::{Event, Record, RunId, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::history::Kept;

/// Bytes shown of a payload that is no JSON.
const TEXT_LIMIT: usize = 4096;

/// A message of the event stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventLine {
    /// Its sequence in the stream: where a reader that stopped goes on.
    pub seq: u64,
    /// The subject it came on.
    pub subject: String,
    /// When the stream took it in.
    pub time: Timestamp,
    /// The run it belongs to; derived from the message for a request without one.
    pub run_id: Option<RunId>,
    /// CloudEvents type of what the subject carries, such as `ml.run.trial.v1`.
    #[serde(rename = "type")]
    pub kind: Option<&'static str>,
    /// The event.
    pub data: Value,
    /// Why it is no valid event, if it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl EventLine {
    /// The line of a message, and the event it carries if it is a valid one.
    pub fn of(kept: &Kept) -> (Self, Option<Event>) {
        let decoded = kept.decode();
        let (run_id, data, error, event) = match decoded {
            Ok(decoded) => (run_of(kept, &decoded.event), decoded.event.to_json(), None, Some(decoded.event)),
            Err(error) => (None, undecoded(&kept.payload), Some(error.to_string()), None),
        };
        let kind = Record::of_subject(&kept.subject).map(Record::ce_type);
        let line = Self {
            seq: kept.sequence,
            subject: kept.subject.clone(),
            time: kept.time,
            run_id,
            kind,
            data,
            error,
        };
        (line, event)
    }
}

/// The run an event of the stream belongs to. A request without a run id has the one that every reader derives.
pub fn run_of(kept: &Kept, event: &Event) -> Option<RunId> {
    let derived = || {
        let millis = u64::try_from(kept.time.millis()).unwrap_or_default();
        matches!(event, Event::RunRequested(_)).then(|| RunId::derive(STREAM, kept.sequence, millis))
    };
    event.run_id().cloned().or_else(derived)
}

fn undecoded(payload: &[u8]) -> Value {
    serde_json::from_slice(payload)
        .unwrap_or_else(|_| Value::String(bounded_head(&String::from_utf8_lossy(payload), TEXT_LIMIT)))
}

#[cfg(test)]
mod tests {
    use schemas::cloudevents::Headers;

    use super::*;

    fn kept(subject: &str, payload: &[u8]) -> Kept {
        Kept {
            sequence: 7,
            subject: subject.to_owned(),
            time: Timestamp::from_micros(1_700_000_000_000_000),
            headers: Headers::default(),
            payload: payload.to_vec().into(),
            schema: None,
        }
    }

    #[test]
    fn a_bare_request_has_every_field_and_the_run_id_every_reader_derives() {
        let (line, event) = EventLine::of(&kept("cerebros.nas.run.requested", br#"{"dataset_id": "iris"}"#));
        assert!(event.is_some());
        assert_eq!(line.run_id, Some(RunId::derive(STREAM, 7, 1_700_000_000_000)));
        assert_eq!((line.data["strategy"].as_str(), line.error), (Some("ga"), None));
        assert_eq!(line.kind, Some("cerebros.nas.run.requested.v1"));
    }

    #[test]
    fn garbage_is_shown_as_it_came_with_the_reason() {
        let (line, event) = EventLine::of(&kept("ml.run.trial", b"\xff\x00garbage"));
        assert!(event.is_none() && line.error.is_some() && line.data.is_string());
        let (line, _) = EventLine::of(&kept("ml.run.trial", br#"{"trial_id": 1}"#));
        assert_eq!(line.data["trial_id"], 1);
    }
}
