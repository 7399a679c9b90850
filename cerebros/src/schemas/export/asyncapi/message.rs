//! Messages with their headers, their other encoding and their examples.

use schemas::cloudevents::Headers;
use schemas::ordered_json::Ordered;
use schemas::record::Version;
use schemas::{Record, expiry};
use service_kit::error::CliError;

use super::reference;
use crate::schemas::export::headers::{self, Header};
use crate::schemas::export::unwritable;
use crate::schemas::{corpus, facts};

/// The message of a record.
pub(super) fn of(record: Record, payload: Ordered) -> Result<Ordered, CliError> {
    let doc = record.latest().shape.as_record().and_then(|shape| shape.doc.as_deref()).unwrap_or_default();
    let headers = if expiry::may_expire(record) { "RequestHeaders" } else { "EventHeaders" };
    let description = format!("{doc} Published by: {}.", facts::published_by(record));
    Ok(Ordered::object([
        ("name", record.ce_type().into()),
        ("title", record.name().into()),
        ("summary", doc.into()),
        ("description", description.into()),
        ("contentType", "application/json".into()),
        ("headers", reference(&format!("#/components/schemas/{headers}"))),
        ("correlationId", reference("#/components/correlationIds/request")),
        ("payload", payload),
        ("examples", Ordered::List(examples(record)?)),
        ("x-avro", avro(record)),
    ]))
}

/// One with everything, one with nothing but what is required.
fn examples(record: Record) -> Result<Vec<Ordered>, CliError> {
    let read = |text: &str| serde_json::from_str::<Ordered>(text).map_err(unwritable);
    let (_, headers) = headers::example(record)?;
    let full = Ordered::object([
        ("name", "full".into()),
        ("summary", "Every field.".into()),
        ("headers", values(&headers)),
        ("payload", read(corpus::full(record))?),
    ]);
    let minimal = Ordered::object([
        ("name", "minimal".into()),
        ("summary", "Nothing but what is required; every other field has its default.".into()),
        ("payload", read(corpus::minimal(record))?),
    ]);
    Ok(vec![full, minimal])
}

fn values(headers: &Headers) -> Ordered {
    Ordered::Object(headers.0.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect())
}

/// The other encoding.
fn avro(record: Record) -> Ordered {
    let version = |version: &Version| {
        Ordered::object([
            ("version", i64::from(version.number).into()),
            ("fingerprint", version.fingerprint.to_string().into()),
            ("dataschema", version.ce_dataschema().into()),
            ("schema", format!("schemas/avro/{}.v{}.avsc", record.file_name(), version.number).into()),
        ])
    };
    Ordered::object([
        ("contentType", "application/avro".into()),
        ("encoding", "single-object".into()),
        ("versions", Ordered::List(record.versions().iter().map(version).collect())),
    ])
}

/// A message that could not be handled.
pub(super) fn dead_letter() -> Ordered {
    let payload = Ordered::object([(
        "description",
        "The original payload, byte for byte; often neither JSON nor Avro, which is why it is here.".into(),
    )]);
    Ordered::object([
        ("name", "cerebros.dlq".into()),
        ("title", "DeadLetter".into()),
        ("summary", "A message that could not be handled, with the verdict.".into()),
        ("contentType", "application/octet-stream".into()),
        ("headers", reference("#/components/schemas/DeadLetterHeaders")),
        ("correlationId", reference("#/components/correlationIds/request")),
        ("payload", payload),
    ])
}

/// The schemas of the headers, by name.
pub(super) fn header_schemas() -> Vec<(String, Ordered)> {
    vec![
        (
            "EventHeaders".to_owned(),
            schema("CloudEvents 1.0 in binary mode, and headers of our own.", headers::EVENT.iter()),
        ),
        (
            "RequestHeaders".to_owned(),
            schema(
                "Those of every event, and what only a request for a run may say.",
                headers::EVENT.iter().chain(&headers::REQUEST),
            ),
        ),
        (
            "DeadLetterHeaders".to_owned(),
            schema(
                "Beside the headers of the original; those with a meaning for the broker are kept as Cerebros-Original-<name>.",
                headers::DEAD_LETTER.iter(),
            ),
        ),
    ]
}

/// Of the headers we publish ourselves; from others, absent ones mean JSON and the record of the subject.
fn schema(doc: &str, list: impl Iterator<Item = &'static Header>) -> Ordered {
    let property = |header: &Header| {
        let text = Ordered::object([("type", "string".into()), ("description", header.doc.into())]);
        (header.name.to_owned(), text)
    };
    Ordered::object([
        ("type", "object".into()),
        ("description", doc.into()),
        ("properties", Ordered::Object(list.map(property).collect())),
    ])
}
