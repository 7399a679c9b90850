//! What a message says about itself. Pure.

use schemas::Record;
use schemas::record::{Fingerprint, Version};
use serde::Deserialize;
use serde::de::IgnoredAny;
use service_kit::error::CliError;
use service_kit::exit::Exit;

/// How Avro single-object encoding begins; the fingerprint follows.
const MARKER: [u8; 2] = [0xC3, 0x01];

/// What the first look shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Avro single-object encoding.
    SingleObject(Fingerprint),
    /// A CloudEvent in structured mode, with its type.
    Structured(String),
    /// JSON that may be any record.
    Json,
}

/// What tells a CloudEvent from an event: no record has such fields.
#[derive(Deserialize)]
struct Envelope {
    specversion: Option<IgnoredAny>,
    #[serde(rename = "type")]
    ce_type: Option<String>,
}

impl Kind {
    /// Looks at a message.
    pub(super) fn of(payload: &[u8]) -> Result<Self, CliError> {
        if let Some(rest) = payload.strip_prefix(&MARKER) {
            let fingerprint = rest.first_chunk().ok_or_else(|| {
                foreign("it ends inside the header of Avro single-object encoding, which has ten bytes")
            })?;
            return Ok(Self::SingleObject(Fingerprint(*fingerprint)));
        }
        let is_json = serde_json::from_slice::<IgnoredAny>(payload);
        if let Err(error) = is_json {
            return Err(foreign(other_format(payload).map_or_else(|| error.to_string(), str::to_owned)));
        }
        // The JSON library takes a list for an object too, which no envelope is.
        let is_object = payload.trim_ascii_start().starts_with(b"{");
        match serde_json::from_slice(payload) {
            Ok(_) if !is_object => Ok(Self::Json),
            Ok(Envelope { specversion: Some(_), ce_type: Some(ce_type) }) => Ok(Self::Structured(ce_type)),
            Ok(_) | Err(_) => Ok(Self::Json),
        }
    }

    /// The header that says it on the wire.
    pub(super) fn content_type(&self) -> &'static str {
        match self {
            Self::SingleObject(_) => "application/avro",
            Self::Structured(_) => "application/cloudevents+json",
            Self::Json => "application/json",
        }
    }

    /// The schema it was written with, where it says so.
    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        match self {
            Self::SingleObject(fingerprint) => Some(*fingerprint),
            Self::Structured(_) | Self::Json => None,
        }
    }

    /// The record it claims to be.
    pub(super) fn record(&self) -> Result<Record, CliError> {
        match self {
            Self::SingleObject(fingerprint) => Version::of_fingerprint(*fingerprint)
                .map(|version| version.record)
                .ok_or_else(|| no_record(&format!("schema {fingerprint}"))),
            Self::Structured(ce_type) => {
                of_type(ce_type).ok_or_else(|| no_record(&format!("type \"{ce_type}\"")))
            }
            Self::Json => Err(CliError::new(
                "record-unnamed",
                Exit::Usage,
                "plain JSON does not say which record it is",
            )
            .help(
                "give --subject with the subject it came on, or --record; `cerebros schemas list` has them",
            )),
        }
    }
}

/// `cerebros.nas.run.started.v1` is the type of what `cerebros.nas.run.started` carries.
fn of_type(ce_type: &str) -> Option<Record> {
    let subject = ce_type.rsplit_once(".v").map_or(ce_type, |(subject, _)| subject);
    Record::of_subject(subject)
}

fn no_record(claim: &str) -> CliError {
    let what = format!("the {claim} of the message is that of no record of the contract");
    CliError::new("message-invalid", Exit::InvalidInput, what)
        .help("--record or --subject says what it was meant to be; `cerebros schemas list` has the records")
}

fn foreign(reason: impl std::fmt::Display) -> CliError {
    let what = "the message is neither JSON nor Avro single-object encoding";
    CliError::new("message-invalid", Exit::InvalidInput, what).because(reason)
}

/// The usual other ways to write Avro.
fn other_format(payload: &[u8]) -> Option<&'static str> {
    if payload.is_empty() {
        Some("it is empty")
    } else if payload.starts_with(b"Obj\x01") {
        Some("it is an Avro object container file; a message is one value after its fingerprint")
    } else if payload.first() == Some(&0) && payload.len() > 5 {
        Some("it begins like the framing of a schema-registry client (a zero and a schema's number)")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_what_it_says() {
        let record = Record::RunStarted;
        let mut avro = MARKER.to_vec();
        avro.extend(record.fingerprint().0);
        assert_eq!(Kind::of(&avro).unwrap().record().unwrap(), record);
        let event = format!(r#"{{"specversion": "1.0", "type": "{}", "data": {{}}}}"#, record.ce_type());
        assert_eq!(Kind::of(event.as_bytes()).unwrap().record().unwrap(), record);
    }

    #[test]
    fn plain_json_is_not_guessed_and_garbage_is_not_json() {
        for text in [
            "{}",
            "[]",
            r#"["1.0", "ml.run.trial"]"#,
            "3",
            r#"{"type": "x"}"#,
            r#"{"specversion": "1.0", "type": 3}"#,
        ] {
            assert_eq!(Kind::of(text.as_bytes()).unwrap().record().unwrap_err().exit, Exit::Usage);
        }
        for bytes in [b"".as_slice(), b"Obj\x01", b"\0\0\0\0\x07x", b"\xff\xfe", b"{", b"\xc3\x01\x00"] {
            assert_eq!(Kind::of(bytes).unwrap_err().exit, Exit::InvalidInput, "{bytes:?}");
        }
    }
}
