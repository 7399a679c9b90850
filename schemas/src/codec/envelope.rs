//! The headers as far as they can make a message unreadable: CloudEvents attributes in binary mode, and headers that
//! command the broker.

use std::borrow::Cow;

use super::DecodeError;
use crate::headers::{HeaderSource, starts_with_ignoring_case};
use crate::{FailureClass, Record, Stage, Timestamp, expiry};

/// What a publisher may ask of the broker, and what the broker itself adds. Everything else under `Nats-` would make
/// it do something with the stream (roll up, expire, schedule, count, mark as deleted), which no event may.
const HARMLESS: [&str; 12] = [
    "Nats-Msg-Id",
    "Nats-Expected-",
    "Nats-Batch-",
    "Nats-Stream",
    "Nats-Stream-Source",
    "Nats-Subject",
    "Nats-Sequence",
    "Nats-Last-Sequence",
    "Nats-Time-Stamp",
    "Nats-Num-Pending",
    "Nats-UpTo-Sequence",
    "Nats-Required-Api-Level",
];

/// Holds the headers against the record of the subject. Messages without an envelope pass. What comes back is when a
/// request is no longer wanted.
pub(super) fn check(record: Record, headers: &impl HeaderSource) -> Result<Option<Timestamp>, DecodeError> {
    let mut expires = None;
    for (name, value) in headers.pairs() {
        // Of several the earliest counts, in whatever order they come.
        expires = expires.into_iter().chain(judge(record, name, value)?).min();
    }
    Ok(expires)
}

/// Holds one header against the record; the time it says, if it is the one that says when a request is no longer wanted.
pub(super) fn judge(record: Record, name: &str, value: &str) -> Result<Option<Timestamp>, DecodeError> {
    // Most headers are told apart by their first letter.
    let first = name.as_bytes().first().map(u8::to_ascii_lowercase);
    if first == Some(b'c') && starts_with_ignoring_case(name, "ce-") {
        return attribute(record, &name[3..], value);
    }
    if first == Some(b'n') && starts_with_ignoring_case(name, "Nats-") && !is_harmless(name) {
        let reason = format!(
            "the header {name} commands the broker; an event may carry none of those but Nats-Msg-Id and Nats-Expected-*"
        );
        return Err(DecodeError::new(FailureClass::Validation, Stage::Decode, reason));
    }
    Ok(None)
}

fn is_harmless(name: &str) -> bool {
    HARMLESS.iter().any(|known| {
        if known.ends_with('-') {
            starts_with_ignoring_case(name, known)
        } else {
            name.eq_ignore_ascii_case(known)
        }
    })
}

/// Judges one attribute, and reads the one that says when a request is no longer wanted.
fn attribute(record: Record, attribute: &str, value: &str) -> Result<Option<Timestamp>, DecodeError> {
    let value = percent_decoded(value).map_err(|at| {
        let reason = format!("the header ce-{attribute} has broken percent-encoding at byte {at}");
        DecodeError::new(FailureClass::Decode, Stage::Decode, reason)
    })?;
    let is = |name: &str| attribute.eq_ignore_ascii_case(name);
    match attribute.len() {
        4 if is("type") => check_type(record, &value).map(|()| None),
        10 if is("dataschema") => check_dataschema(record, &value).map(|()| None),
        10 if is("expirytime") && expiry::may_expire(record) => expiry::in_header(&value).map(Some),
        11 if is("specversion") && value != "1.0" => {
            let reason = format!("CloudEvents specversion \"{value}\", expected \"1.0\"");
            Err(DecodeError::new(FailureClass::Decode, Stage::Decode, reason))
        }
        _ => Ok(None),
    }
}

/// The type a publisher claims must be the one the subject carries.
pub(super) fn check_type(record: Record, claimed: &str) -> Result<(), DecodeError> {
    let is_ours =
        claimed.strip_prefix(record.subject()).is_some_and(|rest| rest.is_empty() || rest.starts_with(".v"));
    if is_ours {
        return Ok(());
    }
    let reason = format!(
        "ce-type \"{claimed}\" does not belong on {}; expected {}",
        record.subject(),
        record.ce_type()
    );
    Err(DecodeError::new(FailureClass::SchemaMismatch, Stage::Decode, reason))
}

/// `cerebros:<record>:<version>:<fingerprint>` must name the record; another scheme is somebody else's catalogue.
fn check_dataschema(record: Record, claimed: &str) -> Result<(), DecodeError> {
    let Some(named) = claimed.strip_prefix("cerebros:").and_then(|rest| rest.split(':').next()) else {
        return Ok(());
    };
    if named == record.name() {
        return Ok(());
    }
    let reason = format!("ce-dataschema \"{claimed}\" is that of a {named}, expected a {}", record.name());
    Err(DecodeError::new(FailureClass::SchemaMismatch, Stage::Decode, reason))
}

/// The value of an attribute in binary mode; the byte at which its encoding is broken otherwise.
pub(super) fn percent_decoded(value: &str) -> Result<Cow<'_, str>, usize> {
    if !value.contains('%') {
        return Ok(Cow::Borrowed(value));
    }
    let bytes = value.as_bytes();
    for (at, _) in value.match_indices('%') {
        let is_hex = |offset: usize| bytes.get(at + offset).is_some_and(u8::is_ascii_hexdigit);
        if !(is_hex(1) && is_hex(2)) {
            return Err(at);
        }
    }
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(value).collect();
    String::from_utf8(decoded).map(Cow::Owned).map_err(|error| error.utf8_error().valid_up_to())
}
