//! Both encodings, chosen by header: JSON (the default) and Avro single-object.
//!
//! Reading is bounded and never panics: an over-long payload is refused before it is parsed, JSON nests at most
//! 128 deep, no payload makes its reader take more than 8 MB, bytes after the value are an error. Unknown JSON fields
//! are ignored and listed, a wrong type or a missing field is an error that names its path.
//!
//! Any published version of a schema is read, and any other that the registry knows and that fits ([`Foreign`]). What
//! is written is the latest.

pub(crate) mod avro;
mod content;
mod envelope;
mod foreign;
mod glance;
pub(crate) mod json;

use std::fmt;

pub(crate) use content::is_structured;
pub use foreign::{Foreign, foreign_fingerprint};
pub use glance::{Glance, glance};

use crate::headers::{HeaderSource, Headers};
use crate::record::Version;
use crate::{Event, Failure, FailureClass, Record, Stage, Timestamp, expiry};

/// Largest event we write or read, in bytes; headers are not counted.
pub const MAX_EVENT_BYTES: usize = crate::limits::MAX_EVENT_BYTES;

/// How a payload is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// JSON, for any client.
    #[default]
    Json,
    /// Avro single-object encoding: two marker bytes, the schema's fingerprint, the value.
    Avro,
}

impl Encoding {
    /// The media type of an encoding.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Avro => "application/avro",
        }
    }
}

/// An event that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The event, valid.
    pub event: Event,
    /// Paths of JSON fields this version does not know, at most 32.
    pub unknown_fields: Vec<String>,
    /// How it was written.
    pub encoding: Encoding,
    /// When it is no longer wanted, if it is a request and says so; see [`crate::expiry`].
    pub expires: Option<Timestamp>,
}

/// Why a payload could not be read as the event its subject promises.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodeError {
    /// Class of the fault.
    pub class: FailureClass,
    /// Decode (the bytes) or validate (the meaning).
    pub stage: Stage,
    /// What happened, with the path and what was expected.
    pub reason: String,
    /// The record that was tried.
    pub record: Option<Record>,
    /// The version of its schema that was tried.
    pub version: u32,
}

impl DecodeError {
    pub(crate) fn new(class: FailureClass, stage: Stage, reason: impl Into<String>) -> Self {
        let reason = crate::failure::bounded_head(&reason.into(), 1024);
        Self { class, stage, reason, record: None, version: 0 }
    }

    fn of(mut self, record: Record) -> Self {
        self.record = Some(record);
        self.version = if self.version == 0 { record.latest().number } else { self.version };
        self
    }

    fn of_version(mut self, version: &Version) -> Self {
        self.version = version.number;
        self
    }

    /// The failure as events and dead letters carry it.
    pub fn to_failure(&self) -> Failure {
        Failure::new(self.class, self.stage, self.to_string())
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.record {
            Some(record) => write!(f, "{} v{}: {}", record.name(), self.version, self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Writes an event.
pub fn encode(event: &Event, encoding: Encoding) -> Result<Vec<u8>, EncodeError> {
    let payload = match encoding {
        Encoding::Json => event.write_json().map_err(|error| EncodeError::Unwritable(error.to_string()))?,
        Encoding::Avro => {
            let mut out = Vec::with_capacity(256);
            event.write_avro(&mut out).map_err(|error| EncodeError::Unwritable(error.to_string()))?;
            out
        }
    };
    if payload.len() > MAX_EVENT_BYTES {
        return Err(EncodeError::TooLarge { record: event.record(), bytes: payload.len() });
    }
    Ok(payload)
}

/// Why an event could not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// It is larger than every reader accepts.
    #[error("{} of {bytes} bytes is over the limit of {MAX_EVENT_BYTES}; put large values into the artefact store", record.name())]
    TooLarge {
        /// Which record.
        record: Record,
        /// Its size.
        bytes: usize,
    },
    /// The encoder refused a value.
    #[error("cannot be written: {0}")]
    Unwritable(String),
}

/// Reads what came on a subject: picks record and encoding, decodes, checks the meaning. Schemas this build was not
/// made with are unknown to it; see [`decode_with`].
pub fn decode(subject: &str, headers: &Headers, payload: &[u8]) -> Result<Decoded, DecodeError> {
    decode_with(subject, headers, payload, None)
}

/// The same with a schema that was looked up in the registry, for the fingerprint [`foreign_fingerprint`] asked for.
pub fn decode_with(
    subject: &str,
    headers: &impl HeaderSource,
    payload: &[u8],
    foreign: Option<&Foreign>,
) -> Result<Decoded, DecodeError> {
    let record = Record::of_subject(subject).ok_or_else(|| {
        let reason = format!("no record of the contract is carried on the subject \"{subject}\"");
        DecodeError::new(FailureClass::UnsupportedSubject, Stage::Decode, reason)
    })?;
    read_record(record, headers, payload, foreign).map_err(|error| error.of(record))
}

fn read_record(
    record: Record,
    headers: &impl HeaderSource,
    payload: &[u8],
    foreign: Option<&Foreign>,
) -> Result<Decoded, DecodeError> {
    if payload.len() > MAX_EVENT_BYTES {
        let reason = format!("payload of {} bytes is over the limit of {MAX_EVENT_BYTES}", payload.len());
        return Err(DecodeError::new(FailureClass::Validation, Stage::Decode, reason));
    }
    let by_header = envelope::check(record, headers)?;
    let content = content::content(headers, payload)?;
    if let Some(claimed) = &content.ce_type {
        envelope::check_type(record, claimed)?;
    }
    let by_envelope = content.expirytime.filter(|_| expiry::may_expire(record));
    let by_envelope = by_envelope.map(expiry::in_envelope).transpose()?;
    let mut unknown_fields = Vec::new();
    let event = match content.encoding {
        Encoding::Json => Event::read_json(record, &content.payload, &mut unknown_fields)?,
        Encoding::Avro => read_single_object(record, &content.payload, foreign)?,
    };
    event.validate().map_err(|invalid| {
        DecodeError::new(FailureClass::Validation, Stage::Validate, invalid.to_string())
    })?;
    let expires = by_header.into_iter().chain(by_envelope).min();
    Ok(Decoded { event, unknown_fields, encoding: content.encoding, expires })
}

fn read_single_object(
    record: Record,
    payload: &[u8],
    foreign: Option<&Foreign>,
) -> Result<Event, DecodeError> {
    let fingerprint = avro::header(payload)?;
    let datum = &payload[avro::HEADER_BYTES..];
    match Version::of_fingerprint(fingerprint) {
        Some(version) if version.record != record => Err(avro::misplaced(version.record, record)),
        Some(version) if version.is_latest() => Event::read_avro(record, datum),
        Some(version) => {
            let datum = avro::upgrade(version, datum).map_err(|error| error.of_version(version))?;
            Event::read_avro(record, &datum)
        }
        None => {
            let known = foreign.filter(|foreign| foreign.fingerprint == fingerprint);
            let datum = match known {
                Some(foreign) => foreign.resolve(record, datum)?,
                None => Foreign::missing(fingerprint).resolve(record, datum)?,
            };
            Event::read_avro(record, &datum)
        }
    }
}

#[cfg(test)]
mod tests;
