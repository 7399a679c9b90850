//! The verdict as headers of the letter, and read back from them.
//!
//! Invariant: what was written is read back, in whatever form and order the headers come.

use super::names::{NAMES, at, place_of};
use super::original::kept;
use super::{PREFIX, Verdict};
use crate::failure::bounded_head;
use crate::headers::{Headers, header, starts_with_ignoring_case};
use crate::{FailureClass, Stage, Timestamp};

/// Longest reason kept in a header.
const MAX_REASON_BYTES: usize = 1024;
/// What the letter of a message that was gone says of its payload.
const PAYLOAD_GONE: &str = "gone";

impl Verdict {
    /// Headers of the dead letter.
    pub fn headers(&self, original: &Headers, message_id: &str) -> Headers {
        let mut headers = Headers(kept(original).collect());
        headers.push(header::MESSAGE_ID, message_id);
        let mut put = |name: &str, value: String| headers.push(&format!("{PREFIX}{name}"), value);
        put("Id", self.id.clone());
        put("Class", self.class.to_string());
        put("Stage", self.stage.to_string());
        put("Reason", one_line(&self.reason, MAX_REASON_BYTES));
        put("Fingerprint", self.fingerprint.clone());
        put("Stream", self.stream.clone());
        put("Sequence", self.sequence.to_string());
        put("Consumer", self.consumer.clone());
        put("Subject", self.subject.clone());
        put("Deliveries", self.deliveries.to_string());
        put("First-Seen", self.first_seen.to_string());
        put("Seen", self.seen.to_string());
        put("Replays", self.replays.to_string());
        if let Some(cause) = self.cause {
            put("Cause", cause.to_string());
        }
        if let Some(run) = &self.run {
            put("Run", one_line(run, MAX_REASON_BYTES));
        }
        if self.is_payload_gone {
            put("Payload", PAYLOAD_GONE.to_owned());
        }
        headers
    }

    /// Reads the verdict back; `None` when a header is missing or broken.
    pub fn read(headers: &Headers) -> Option<Self> {
        Self::find(headers.0.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// The same from headers in any form and order, in one pass over them.
    pub fn find<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let mut found: [Option<&str>; NAMES.len()] = [None; NAMES.len()];
        for (name, value) in headers.filter(|(name, _)| starts_with_ignoring_case(name, PREFIX)) {
            if let Some(at) = place_of(&name[PREFIX.len()..]) {
                // Of a header that is given twice the least value counts, in whatever order they come.
                found[at] = Some(found[at].map_or(value, |known| known.min(value)));
            }
        }
        let stage = [Stage::Decode, Stage::Validate, Stage::Execute, Stage::Publish, Stage::Sink]
            .into_iter()
            .find(|stage| found[const { at("Stage") }] == Some(stage.as_str()))?;
        Some(Self {
            id: found[const { at("Id") }]?.to_owned(),
            class: FailureClass::parse(found[const { at("Class") }]?)?,
            stage,
            reason: found[const { at("Reason") }]?.to_owned(),
            fingerprint: found[const { at("Fingerprint") }]?.to_owned(),
            stream: found[const { at("Stream") }]?.to_owned(),
            sequence: found[const { at("Sequence") }]?.parse().ok()?,
            consumer: found[const { at("Consumer") }]?.to_owned(),
            subject: found[const { at("Subject") }]?.to_owned(),
            deliveries: found[const { at("Deliveries") }]?.parse().ok()?,
            first_seen: Timestamp::parse(found[const { at("First-Seen") }]?).ok()?,
            seen: Timestamp::parse(found[const { at("Seen") }]?).ok()?,
            replays: found[const { at("Replays") }]?.parse().ok()?,
            cause: found[const { at("Cause") }].and_then(FailureClass::parse),
            run: found[const { at("Run") }].map(str::to_owned),
            is_payload_gone: found[const { at("Payload") }].is_some(),
        })
    }
}

/// A text as a header value: one line of so many bytes at most.
pub fn one_line(text: &str, bytes: usize) -> String {
    let flat: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    bounded_head(flat.trim(), bytes)
}
