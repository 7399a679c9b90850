//! Both encodings, chosen by header: JSON (the default) and Avro single-object.
//!
//! Reading is bounded and never panics: an over-long payload is refused before it is parsed, JSON nests at most
//! 128 deep, Avro collections may not claim more memory than [`MAX_EVENT_BYTES`] times a small factor, bytes after
//! the value are an error. Unknown JSON fields are ignored and listed, a wrong type or a missing field is an error
//! that names its path.

pub(crate) mod avro;
mod content;
pub(crate) mod json;

use std::fmt;

use crate::headers::Headers;
use crate::record::Fingerprint;
use crate::{Event, Failure, FailureClass, Record, Stage};

/// Largest event we write or read, headers not counted. It is half of the broker's default limit of 1 MiB, so that
/// a dead letter, which adds headers, always fits.
pub const MAX_EVENT_BYTES: usize = 512 * 1024;

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
}

impl DecodeError {
    pub(crate) fn new(class: FailureClass, stage: Stage, reason: impl Into<String>) -> Self {
        let reason = crate::failure::bounded_head(&reason.into(), 1024);
        Self { class, stage, reason, record: None }
    }

    fn of(mut self, record: Record) -> Self {
        self.record = Some(record);
        self
    }

    /// The failure as events and dead letters carry it.
    pub fn to_failure(&self) -> Failure {
        let tried = self
            .record
            .map_or(String::new(), |record| format!("{} v{}: ", record.name(), crate::record::VERSION));
        Failure::new(self.class, self.stage, format!("{tried}{}", self.reason))
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.record {
            Some(record) => write!(f, "{} v{}: {}", record.name(), crate::record::VERSION, self.reason),
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

/// Reads what came on a subject: picks record and encoding, decodes, checks the meaning.
pub fn decode(subject: &str, headers: &Headers, payload: &[u8]) -> Result<Decoded, DecodeError> {
    let record = Record::of_subject(subject).ok_or_else(|| {
        let reason = format!("no record of the contract is carried on the subject \"{subject}\"");
        DecodeError::new(FailureClass::UnsupportedSubject, Stage::Decode, reason)
    })?;
    if payload.len() > MAX_EVENT_BYTES {
        let reason = format!("payload of {} bytes is over the limit of {MAX_EVENT_BYTES}", payload.len());
        return Err(DecodeError::new(FailureClass::Validation, Stage::Decode, reason).of(record));
    }
    let content = content::content(headers, payload).map_err(|error| error.of(record))?;
    check_type(record, content.ce_type.as_deref())?;
    let mut unknown_fields = Vec::new();
    let event = match content.encoding {
        Encoding::Json => Event::read_json(record, &content.payload, &mut unknown_fields),
        Encoding::Avro => read_single_object(record, &content.payload),
    }
    .map_err(|error| error.of(record))?;
    event.validate().map_err(|invalid| {
        DecodeError::new(FailureClass::Validation, Stage::Validate, invalid.to_string()).of(record)
    })?;
    Ok(Decoded { event, unknown_fields, encoding: content.encoding })
}

/// The type a publisher claims must be the one the subject carries.
fn check_type(record: Record, claimed: Option<&str>) -> Result<(), DecodeError> {
    let Some(claimed) = claimed else { return Ok(()) };
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
    Err(DecodeError::new(FailureClass::SchemaMismatch, Stage::Decode, reason).of(record))
}

fn read_single_object(record: Record, payload: &[u8]) -> Result<Event, DecodeError> {
    let fingerprint = avro::header(payload)?;
    match Record::of_fingerprint(fingerprint) {
        Some(written) if written == record => Event::read_avro(record, &payload[avro::HEADER_BYTES..]),
        Some(written) => {
            let reason = format!("the payload is a {}, expected a {}", written.name(), record.name());
            Err(DecodeError::new(FailureClass::SchemaMismatch, Stage::Decode, reason))
        }
        None => Err(unknown_schema(fingerprint)),
    }
}

fn unknown_schema(fingerprint: Fingerprint) -> DecodeError {
    let reason = format!("no schema with fingerprint {fingerprint} is known");
    DecodeError::new(FailureClass::SchemaUnknown, Stage::Decode, reason)
}

#[cfg(test)]
mod tests;
