//! Schemas this build was not made with: what a newer (or somebody else's) writer put into the registry.
//!
//! The registry is a bucket anybody with access can write to, so its texts are as untrusted as a payload: bounded
//! before they are parsed ([`crate::shape`]), held against the fingerprint they are kept under, and accepted only if
//! our own schema can read all of what they describe.

use crate::codec::{DecodeError, Encoding, avro, content};
use crate::headers::HeaderSource;
use crate::record::{Fingerprint, Version};
use crate::resolution::Resolution;
use crate::{FailureClass, Record, Stage, shape};

/// What is known about a schema that was looked up.
#[derive(Debug, Clone)]
pub struct Foreign {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    is_missing: bool,
    read: Result<Readable, Unreadable>,
}

#[derive(Debug, Clone)]
struct Readable {
    record: Record,
    resolution: Resolution,
}

#[derive(Debug, Clone)]
struct Unreadable {
    class: FailureClass,
    reason: String,
}

/// A fingerprint stands for its schema.
impl PartialEq for Foreign {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Foreign {}

impl Foreign {
    /// Reads the text the registry has for a fingerprint.
    pub fn read(fingerprint: Fingerprint, text: &str) -> Self {
        Self { fingerprint, is_missing: false, read: readable(fingerprint, text) }
    }

    /// The registry has no such schema.
    pub fn missing(fingerprint: Fingerprint) -> Self {
        let reason = format!(
            "no schema with fingerprint {fingerprint} is known here or in the registry; replay the message when its writer has registered it"
        );
        let read = Err(Unreadable { class: FailureClass::SchemaUnknown, reason });
        Self { fingerprint, is_missing: true, read }
    }

    /// True if the registry had nothing under the fingerprint.
    pub fn is_missing(&self) -> bool {
        self.is_missing
    }

    /// True if events written with it can be read.
    pub fn is_readable(&self) -> bool {
        self.read.is_ok()
    }

    /// The datum as the latest version of our own schema would have written it.
    pub(super) fn resolve(&self, record: Record, datum: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let readable = self
            .read
            .as_ref()
            .map_err(|fault| DecodeError::new(fault.class, Stage::Decode, fault.reason.clone()))?;
        if readable.record != record {
            return Err(avro::misplaced(readable.record, record));
        }
        readable.resolution.resolve(datum).map_err(|error| avro::broken(&error))
    }
}

fn readable(fingerprint: Fingerprint, text: &str) -> Result<Readable, Unreadable> {
    let unusable = |reason: String| Unreadable {
        class: FailureClass::SchemaUnknown,
        reason: format!("the registry's schema for fingerprint {fingerprint} cannot be used: {reason}"),
    };
    let parsed = shape::parse(text).map_err(|error| unusable(error.to_string()))?;
    if !parsed.is_named(fingerprint) {
        return Err(unusable(format!("its text has the fingerprint {}", parsed.fingerprint)));
    }
    let title = parsed.shape.title();
    let record = title
        .strip_prefix("cerebros.events.")
        .and_then(Record::of_name)
        .ok_or_else(|| unusable(format!("{title} is no record of the contract")))?;
    let resolution = Resolution::new(&parsed.shape, &record.latest().shape).map_err(|mismatches| {
        let first = &mismatches[0];
        Unreadable {
            class: FailureClass::SchemaMismatch,
            reason: format!(
                "the writer's schema {fingerprint} does not fit: at `{}`: {} ({} in all)",
                first.path,
                first.reason,
                mismatches.len()
            ),
        }
    })?;
    Ok(Readable { record, resolution })
}

/// True for what begins as an object and is no envelope around Avro, which would say so in plain letters: nearly every
/// payload, whatever its headers say.
fn is_surely_json(payload: &[u8]) -> bool {
    payload.first() == Some(&b'{')
        && memchr::memchr(b'\\', payload).is_none()
        && memchr::memmem::find(payload, b"data_base64").is_none()
}

/// The fingerprint of a message that is Avro and written with a schema this build was not made with: what has to be
/// looked up before [`super::decode_with`] can read it. Nothing else is judged here.
pub fn foreign_fingerprint(headers: &impl HeaderSource, payload: &[u8]) -> Option<Fingerprint> {
    if payload.len() > super::MAX_EVENT_BYTES || is_surely_json(payload) {
        return None;
    }
    let content = content::content(headers, payload).ok()?;
    if content.encoding != Encoding::Avro {
        return None;
    }
    let fingerprint = avro::header(&content.payload).ok()?;
    Version::of_fingerprint(fingerprint).is_none().then_some(fingerprint)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    use super::*;
    use crate::headers::{Headers, header};

    #[test]
    fn an_envelope_around_avro_is_found_however_its_member_is_spelled() {
        let fingerprint = Fingerprint([7; 8]);
        let datum = [&avro::MARKER[..], &fingerprint.0, b"datum"].concat();
        let mut headers = Headers::default();
        headers.push(header::CONTENT_TYPE, "application/cloudevents+json");
        for member in ["data_base64", "data\\u005fbase64"] {
            let text = format!(
                r#"{{"specversion":"1.0","type":"ml.run.trial.v2","datacontenttype":"application/avro","{member}":"{}"}}"#,
                BASE64_STANDARD.encode(&datum)
            );
            assert_eq!(foreign_fingerprint(&headers, text.as_bytes()), Some(fingerprint), "{text}");
        }
    }
}
