//! A message of an older schema, written in today's. Pure.
//!
//! Readers understand all versions, so this changes nothing for them; what it spares is that bytes of a schema nobody
//! writes any more go round for ever. Bytes of a schema this build does not know stay as they are, and so does an event in
//! structured mode, whose envelope is somebody else's, and one with fields that would be lost.

use schemas::cloudevents::{Headers, header};
use schemas::record::{Fingerprint, Version};
use schemas::{Record, codec};

use crate::edit::{Draft, set};

/// Bytes in front of every Avro value, before the fingerprint of its schema.
const AVRO_MARKER: [u8; 2] = [0xC3, 0x01];

/// The same event in today's schema and in the same encoding, and the version it had; `None` if nothing is to be changed.
pub(super) fn upcast(draft: &Draft) -> Option<(Draft, u32)> {
    let record = Record::of_subject(&draft.subject)?;
    let version = version_of(draft)?;
    if version.record != record || version.is_latest() || is_structured(&draft.headers) {
        return None;
    }
    let decoded = draft.decode().ok()?;
    if !decoded.unknown_fields.is_empty() {
        return None;
    }
    let payload = codec::encode(&decoded.event, decoded.encoding).ok()?;
    let mut draft = Draft { payload, ..draft.clone() };
    set(&mut draft.headers, "ce-dataschema", record.ce_dataschema());
    Some((draft, version.number))
}

/// The fingerprint in front of an Avro value.
pub(super) fn fingerprint_of(payload: &[u8]) -> Option<Fingerprint> {
    payload.strip_prefix(&AVRO_MARKER)?.first_chunk().copied().map(Fingerprint)
}

/// The version a message says it is of: Avro by its fingerprint, JSON by its envelope.
fn version_of(draft: &Draft) -> Option<&'static Version> {
    let fingerprint = if draft.payload.starts_with(&AVRO_MARKER) {
        fingerprint_of(&draft.payload)?
    } else {
        let schema = draft.headers.get("ce-dataschema")?.strip_prefix("cerebros:")?;
        Fingerprint::parse(schema.rsplit(':').next()?)?
    };
    Version::of_fingerprint(fingerprint)
}

pub(super) fn is_structured(headers: &Headers) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|media_type| media_type.to_ascii_lowercase().starts_with("application/cloudevents"))
}

#[cfg(test)]
mod tests {
    use schemas::Encoding;

    use super::*;

    /// A request as version 1 wrote it.
    const OLD: &[u8] = include_bytes!("../../../schemas/golden/run_requested.v1/full.avro");

    fn draft(payload: &[u8], headers: &[(&str, &str)]) -> Draft {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Draft {
            subject: Record::RunRequested.subject().to_owned(),
            headers: Headers(headers),
            payload: payload.to_vec(),
            schema: None,
        }
    }

    fn old_dataschema() -> &'static str {
        Record::RunRequested.versions()[0].ce_dataschema()
    }

    #[test]
    fn an_old_avro_event_says_the_same_in_today_s_schema() {
        let avro = ("Content-Type", "application/avro");
        let old = draft(OLD, &[avro, ("ce-dataschema", old_dataschema()), ("X-Mine", "kept")]);
        let (new, version) = upcast(&old).unwrap();
        assert_eq!(version, 1);
        assert_eq!(new.decode().unwrap().event, old.decode().unwrap().event);
        assert_eq!(new.decode().unwrap().encoding, Encoding::Avro);
        assert_eq!(new.payload[2..10], Record::RunRequested.fingerprint().0);
        assert_eq!(new.headers.get("ce-dataschema"), Some(Record::RunRequested.ce_dataschema()));
        assert_eq!(new.headers.get("X-Mine"), Some("kept"));
        assert_eq!(upcast(&new), None, "it is of today");
        let bare = upcast(&draft(OLD, &[avro])).unwrap().0;
        assert_eq!(bare.headers.get("ce-dataschema"), None, "what was not said is not said now");
    }

    #[test]
    fn old_json_is_known_by_its_envelope_alone_and_loses_nothing() {
        let old = draft(br#"{"dataset_id":"digits"}"#, &[("ce-dataschema", old_dataschema())]);
        let (new, _) = upcast(&old).unwrap();
        assert_eq!(new.decode().unwrap().event, old.decode().unwrap().event);
        assert_eq!(new.decode().unwrap().encoding, Encoding::Json);
        assert_eq!(upcast(&draft(br#"{"dataset_id":"digits"}"#, &[])), None);
        let more = br#"{"dataset_id":"digits","mine":1}"#;
        assert_eq!(upcast(&draft(more, &[("ce-dataschema", old_dataschema())])), None);
    }

    #[test]
    fn bytes_of_others_stay_as_they_are() {
        let avro = ("Content-Type", "application/avro");
        let mut foreign = OLD.to_vec();
        foreign[2..10].copy_from_slice(&[7; 8]);
        assert_eq!(upcast(&draft(&foreign, &[avro])), None, "a schema of another build");
        assert_eq!(upcast(&draft(&OLD[..20], &[avro])), None, "what cannot be read");
        let elsewhere = Draft { subject: "elsewhere".to_owned(), ..draft(OLD, &[avro]) };
        assert_eq!(upcast(&elsewhere), None);
    }
}
