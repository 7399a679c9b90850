//! The time after which a request is no longer wanted: the CloudEvents extension `expirytime`, RFC 3339.
//!
//! In binary mode it is the header [`header::EXPIRY`], in structured mode a member of the envelope; of several the
//! earliest counts. Only a request for a run can expire, and only until it is taken. Everything else is a fact, which no
//! time makes untrue: there the attribute is not even looked at.
//!
//! Invariants: no clock in here; the moment itself is still in time. One consumer judges, the one that takes requests;
//! that the attribute is a time at all is judged by the decoder, which every reader shares.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::codec::{DecodeError, MAX_EVENT_BYTES, is_structured};
use crate::failure::bounded_head;
use crate::headers::{Headers, header};
use crate::{Failure, FailureClass, Record, Stage, Timestamp};

/// Bytes of what stands where a time should, as a reason repeats it.
const MAX_FOUND_BYTES: usize = 64;
/// Units of how late it is, the largest first, in microseconds.
const UNITS: [(&str, i64); 5] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("min", 60_000_000), ("s", 1_000_000), ("ms", 1_000)];

/// True for what is asked and may come too late; facts never do.
pub fn may_expire(record: Record) -> bool {
    record == Record::RunRequested
}

/// Why a request is refused that was taken at a moment; `None` when it was taken in time, or has for ever.
pub fn refusal(expires: Option<Timestamp>, taken: Timestamp) -> Option<Failure> {
    let expires = expires.filter(|expires| *expires < taken)?;
    let message = format!(
        "the request is no longer wanted: its ce-expirytime \"{expires}\" had passed by {} when a worker took it; \
         replay its dead letter, which drops ce-expirytime, or request the run again (`producer retry`)",
        late(taken.micros().saturating_sub(expires.micros()))
    );
    Some(Failure::new(FailureClass::Expired, Stage::Validate, message))
}

/// So many microseconds in their largest unit that is there twice: one word, so that equal faults stay one group.
fn late(micros: i64) -> String {
    let fits = UNITS.into_iter().find(|(_, unit)| micros >= 2 * unit);
    fits.map_or_else(|| format!("{micros}us"), |(name, unit)| format!("{}{name}", micros / unit))
}

/// The same message for somebody who wants it done all the same: without the attribute, and nothing else changed.
pub fn without(headers: &mut Headers, payload: &mut Vec<u8>) {
    headers.0.retain(|(name, _)| !name.eq_ignore_ascii_case(header::EXPIRY));
    // To say nothing and to say null is the same in an envelope; the bytes of everything else stay as they are.
    if let Some(place) = is_structured(headers).then(|| place_of_member(payload)).flatten() {
        payload.splice(place, *b"null");
    }
}

/// Which bytes of an envelope are the attribute's value.
fn place_of_member(payload: &[u8]) -> Option<std::ops::Range<usize>> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        expirytime: Option<&'a RawValue>,
    }
    if payload.len() > MAX_EVENT_BYTES {
        return None;
    }
    let value = serde_json::from_slice::<Envelope<'_>>(payload).ok()?.expirytime?.get();
    let from = value.as_ptr().addr() - payload.as_ptr().addr();
    Some(from..from + value.len())
}

/// The time in a header.
pub(crate) fn in_header(value: &str) -> Result<Timestamp, DecodeError> {
    let fault = || malformed("the header ce-expirytime", &format!("\"{}\"", shortened(value)));
    Timestamp::parse(value).map_err(|_| fault())
}

/// The time in an envelope.
pub(crate) fn in_envelope(value: &RawValue) -> Result<Timestamp, DecodeError> {
    let text = serde_json::from_str::<String>(value.get()).ok();
    let fault = || malformed("the attribute expirytime of the envelope", &shortened(value.get()));
    text.and_then(|text| Timestamp::parse(&text).ok()).ok_or_else(fault)
}

fn malformed(place: &str, found: &str) -> DecodeError {
    let reason = format!("{place}: expected a time in RFC 3339 such as 2026-01-31T12:00:00Z, found {found}");
    DecodeError::new(FailureClass::Validation, Stage::Decode, reason)
}

fn shortened(found: &str) -> String {
    bounded_head(found, MAX_FOUND_BYTES)
}

#[cfg(test)]
mod tests;
