//! The dead letter: the original payload, byte for byte, the original headers, and the verdict beside them.
//!
//! Headers with a meaning for the broker (`Nats-*`: message id, expected sequence, TTL, roll-up) are kept under
//! `Cerebros-Original-<name>`, because repeating them would act again.

use sha2::{Digest, Sha256};

use crate::failure::bounded_head;
use crate::headers::{Headers, header, starts_with_ignoring_case};
use crate::{FailureClass, Stage, Timestamp, subject};

/// Prefix of the verdict's headers.
const PREFIX: &str = "Cerebros-Dlq-";
/// Prefix under which the broker's own headers are kept.
const ORIGINAL_PREFIX: &str = "Cerebros-Original-";
/// Longest reason kept in a header.
const MAX_REASON_BYTES: usize = 1024;
/// Header that counts how often the message has been replayed already.
pub const REPLAYS: &str = "Cerebros-Dlq-Replays";
/// Header of a replayed message that names the dead letter it came from.
pub const REPLAY_OF: &str = "Cerebros-Replay-Of";

/// Why a message is dead, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Identity of the entry.
    pub id: String,
    /// Class of the fault.
    pub class: FailureClass,
    /// Where it showed.
    pub stage: Stage,
    /// The failing path and what was expected.
    pub reason: String,
    /// Groups equal faults.
    pub fingerprint: String,
    /// Stream the message was in.
    pub stream: String,
    /// Its sequence there.
    pub sequence: u64,
    /// Consumer that could not handle it.
    pub consumer: String,
    /// Subject it came on.
    pub subject: String,
    /// Deliveries it took.
    pub deliveries: u64,
    /// When the stream took it in.
    pub first_seen: Timestamp,
    /// When it was given up.
    pub seen: Timestamp,
    /// How often it had been replayed before.
    pub replays: u32,
}

/// Where a message stood when it was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Stream the message was in.
    pub stream: String,
    /// Its sequence there.
    pub sequence: u64,
    /// Consumer that could not handle it.
    pub consumer: String,
    /// Subject it came on.
    pub subject: String,
    /// Deliveries it took.
    pub deliveries: u64,
    /// When the stream took it in.
    pub first_seen: Timestamp,
}

impl Place {
    /// The entry's id: the sequence, and four digits that tell consumers and streams apart. The same place gives the
    /// same id whoever asks.
    pub fn entry_id(&self) -> String {
        let digest = Sha256::new()
            .chain_update(&self.stream)
            .chain_update([0])
            .chain_update(&self.consumer)
            .chain_update(self.first_seen.micros().to_be_bytes())
            .finalize();
        format!("{}-{:02x}{:02x}", self.sequence, digest[0], digest[1])
    }

    /// The message id that makes a second dead letter of one cause a duplicate.
    pub fn message_id(&self) -> String {
        format!("dlq:{}:{}:{}", self.stream, self.sequence, self.consumer)
    }
}

impl Verdict {
    /// The verdict on a message at a place.
    pub fn new(place: &Place, failure: &crate::Failure, seen: Timestamp, original: &Headers) -> Self {
        let replays = original.get(REPLAYS).and_then(|text| text.parse().ok()).unwrap_or(0);
        Self {
            id: place.entry_id(),
            class: failure.class,
            stage: failure.stage,
            reason: failure.message.clone(),
            fingerprint: failure.fingerprint.clone(),
            stream: place.stream.clone(),
            sequence: place.sequence,
            consumer: place.consumer.clone(),
            subject: place.subject.clone(),
            deliveries: place.deliveries,
            first_seen: place.first_seen,
            seen,
            replays,
        }
    }

    /// Subject the dead letter is kept on. A foreign subject is made legal by leaving out what is not.
    pub fn kept_on(&self) -> String {
        subject::dead_letter(self.class, &self.subject)
    }

    /// Headers of the dead letter.
    pub fn headers(&self, original: &Headers, message_id: &str) -> Headers {
        let is_verdict = |name: &str| starts_with_ignoring_case(name, PREFIX);
        let mut headers = Headers::default();
        for (name, value) in original.0.iter().filter(|(name, _)| !is_verdict(name)) {
            let kept = if starts_with_ignoring_case(name, "Nats-") {
                format!("{ORIGINAL_PREFIX}{name}")
            } else {
                name.clone()
            };
            headers.push(&kept, value.clone());
        }
        headers.push(header::MESSAGE_ID, message_id);
        let mut put = |name: &str, value: String| headers.push(&format!("{PREFIX}{name}"), value);
        put("Id", self.id.clone());
        put("Class", self.class.to_string());
        put("Stage", self.stage.to_string());
        put("Reason", one_line(&self.reason));
        put("Fingerprint", self.fingerprint.clone());
        put("Stream", self.stream.clone());
        put("Sequence", self.sequence.to_string());
        put("Consumer", self.consumer.clone());
        put("Subject", self.subject.clone());
        put("Deliveries", self.deliveries.to_string());
        put("First-Seen", self.first_seen.to_string());
        put("Seen", self.seen.to_string());
        put("Replays", self.replays.to_string());
        headers
    }

    /// Reads the verdict back; `None` when a header is missing or broken.
    pub fn read(headers: &Headers) -> Option<Self> {
        let get = |name: &str| headers.get(&format!("{PREFIX}{name}"));
        let stage = [Stage::Decode, Stage::Validate, Stage::Execute, Stage::Publish, Stage::Sink]
            .into_iter()
            .find(|stage| get("Stage") == Some(stage.as_str()))?;
        Some(Self {
            id: get("Id")?.to_owned(),
            class: FailureClass::parse(get("Class")?)?,
            stage,
            reason: get("Reason")?.to_owned(),
            fingerprint: get("Fingerprint")?.to_owned(),
            stream: get("Stream")?.to_owned(),
            sequence: get("Sequence")?.parse().ok()?,
            consumer: get("Consumer")?.to_owned(),
            subject: get("Subject")?.to_owned(),
            deliveries: get("Deliveries")?.parse().ok()?,
            first_seen: Timestamp::parse(get("First-Seen")?).ok()?,
            seen: Timestamp::parse(get("Seen")?).ok()?,
            replays: get("Replays")?.parse().ok()?,
        })
    }
}

/// The headers the message had before it died, as far as they may be sent again: without the verdict, without what
/// had a meaning for the broker.
pub fn original_headers(headers: &Headers) -> Headers {
    let ours = |name: &str| {
        [PREFIX, ORIGINAL_PREFIX, "Nats-"].iter().any(|prefix| starts_with_ignoring_case(name, prefix))
    };
    Headers(headers.0.iter().filter(|(name, _)| !ours(name)).cloned().collect())
}

/// The message id the message had before it died.
pub fn original_message_id(headers: &Headers) -> Option<&str> {
    headers.get(&format!("{ORIGINAL_PREFIX}{}", header::MESSAGE_ID))
}

/// A header value is one line of bounded length.
fn one_line(text: &str) -> String {
    let flat: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    bounded_head(flat.trim(), MAX_REASON_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Failure;

    fn place() -> Place {
        Place {
            stream: "CEREBROS".into(),
            sequence: 42,
            consumer: "dlq-classifier".into(),
            subject: "ml.run.trial".into(),
            deliveries: 1,
            first_seen: Timestamp::from_micros(1_700_000_000_000_000),
        }
    }

    #[test]
    fn a_verdict_survives_its_headers_and_the_broker_s_headers_are_put_aside() {
        let original = Headers(vec![
            ("Nats-Msg-Id".into(), "mine".into()),
            ("nats-expected-last-sequence".into(), "7".into()),
            ("X-Mine".into(), "kept".into()),
            (REPLAYS.into(), "2".into()),
        ]);
        let failure = Failure::new(FailureClass::Decode, Stage::Decode, "line one\r\nline two");
        let verdict =
            Verdict::new(&place(), &failure, Timestamp::from_micros(1_700_000_001_000_000), &original);
        let headers = verdict.headers(&original, &place().message_id());
        let read = Verdict::read(&headers).unwrap();
        assert_eq!(read.reason, "line one  line two");
        assert_eq!(Verdict { reason: verdict.reason.clone(), ..read }, verdict);
        assert_eq!(verdict.replays, 2);
        assert_eq!(headers.get("Nats-Msg-Id"), Some("dlq:CEREBROS:42:dlq-classifier"));
        assert_eq!(original_message_id(&headers), Some("mine"));
        assert_eq!(headers.get("nats-expected-last-sequence"), None);
        assert_eq!(original_headers(&headers).0, vec![("X-Mine".to_owned(), "kept".to_owned())]);
    }
}
