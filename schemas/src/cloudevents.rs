//! The envelope: CloudEvents 1.0. Binary mode (`ce-*` headers) on everything we publish, structured mode
//! (`application/cloudevents+json`) understood as well, no headers at all taken as JSON.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::codec::{DecodeError, Encoding};
use crate::{Event, FailureClass, RunId, Stage, Timestamp};

/// Header names of our own.
#[expect(missing_docs, reason = "the names are the documentation")]
pub mod header {
    pub const MESSAGE_ID: &str = "Nats-Msg-Id";
    pub const CONTENT_TYPE: &str = "Content-Type";
    pub const RUN_ID: &str = "Cerebros-Run-Id";
    pub const ATTEMPT: &str = "Cerebros-Attempt";
    pub const CAUSATION_ID: &str = "Cerebros-Causation-Id";
    pub const CORRELATION_ID: &str = "Cerebros-Correlation-Id";
    pub const TRACEPARENT: &str = "traceparent";
}

/// Headers of a message, in order. Names are compared without case, as HTTP does and NATS clients expect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The first value of a header.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Adds a header.
    pub fn push(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// Adds a header when there is a value.
    pub fn push_some(&mut self, name: &str, value: Option<impl Into<String>>) {
        if let Some(value) = value {
            self.push(name, value);
        }
    }
}

/// What the envelope says beside the event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context {
    /// Who speaks, such as `/cerebros/bridge-worker/<worker id>`.
    pub source: String,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Message that caused this one.
    pub causation_id: Option<String>,
    /// Identity that follows the request.
    pub correlation_id: Option<String>,
}

/// The run, attempt and epoch an event speaks for, and the envelope beside it.
#[derive(Debug, Clone)]
pub struct Voice {
    /// The run.
    pub run: RunId,
    /// The attempt, 0 for whoever is no attempt.
    pub attempt: u32,
    /// See [`Event::message_id`].
    pub epoch: u32,
    /// The envelope beside it.
    pub context: Context,
}

impl Voice {
    /// Speaks about a run without being an attempt of it.
    pub fn outside(run: RunId, context: Context) -> Self {
        Self { run, attempt: 0, epoch: 0, context }
    }
}

/// The headers of an event we publish.
pub fn headers(event: &Event, voice: &Voice, encoding: Encoding, time: Timestamp) -> Headers {
    let Voice { run, attempt, epoch, context } = voice;
    let record = event.record();
    let id = event.message_id(run, *attempt, *epoch);
    let mut headers = Headers(Vec::with_capacity(14));
    headers.push(header::MESSAGE_ID, id.clone());
    headers.push("ce-specversion", "1.0");
    headers.push("ce-id", id);
    headers.push("ce-type", record.ce_type());
    headers.push("ce-source", context.source.clone());
    headers.push("ce-subject", run.as_str());
    headers.push("ce-time", time.to_string());
    headers.push("ce-dataschema", record.ce_dataschema());
    headers.push(header::CONTENT_TYPE, encoding.content_type());
    headers.push_some(header::TRACEPARENT, context.traceparent.clone());
    headers.push(header::RUN_ID, run.as_str());
    if *attempt > 0 {
        headers.push(header::ATTEMPT, attempt.to_string());
    }
    headers.push_some(header::CAUSATION_ID, context.causation_id.clone());
    headers.push(header::CORRELATION_ID, context.correlation_id.clone().unwrap_or_else(|| run.to_string()));
    headers
}

/// What a message carries, whatever its mode.
pub(crate) struct Content<'a> {
    pub(crate) payload: Cow<'a, [u8]>,
    pub(crate) encoding: Encoding,
    pub(crate) ce_type: Option<String>,
}

#[derive(Deserialize)]
struct Structured<'a> {
    specversion: String,
    #[serde(rename = "type")]
    ce_type: String,
    datacontenttype: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
}

/// Finds payload and encoding of a message.
pub(crate) fn content<'a>(headers: &Headers, payload: &'a [u8]) -> Result<Content<'a>, DecodeError> {
    let media_type = headers.get(header::CONTENT_TYPE).map(essence);
    if media_type.as_deref() == Some("application/cloudevents+json") {
        return structured(payload);
    }
    let encoding = encoding_of(media_type.as_deref())?;
    let ce_type = headers.get("ce-type").map(str::to_owned);
    Ok(Content { payload: Cow::Borrowed(payload), encoding, ce_type })
}

fn structured(payload: &[u8]) -> Result<Content<'_>, DecodeError> {
    let envelope: Structured<'_> = serde_json::from_slice(payload).map_err(|error| {
        fault(format!("not a CloudEvent in structured mode: {error}"))
    })?;
    if envelope.specversion != "1.0" {
        return Err(fault(format!("CloudEvents specversion \"{}\", expected \"1.0\"", envelope.specversion)));
    }
    let encoding = encoding_of(envelope.datacontenttype.as_deref().map(essence).as_deref())?;
    let data = match (envelope.data, envelope.data_base64) {
        (Some(data), None) => data.get().as_bytes().into(),
        (None, Some(text)) => BASE64_STANDARD
            .decode(text)
            .map_err(|error| fault(format!("data_base64 is not base64: {error}")))?
            .into(),
        (Some(_), Some(_)) => return Err(fault("both data and data_base64 are given; expected one".to_owned())),
        (None, None) => return Err(fault("the CloudEvent has neither data nor data_base64".to_owned())),
    };
    Ok(Content { payload: data, encoding, ce_type: Some(envelope.ce_type) })
}

fn fault(reason: String) -> DecodeError {
    DecodeError::new(FailureClass::Decode, Stage::Decode, reason)
}

/// The media type without parameters, in lower case.
fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn encoding_of(media_type: Option<&str>) -> Result<Encoding, DecodeError> {
    match media_type {
        None | Some("" | "application/json" | "text/json" | "text/plain") => Ok(Encoding::Json),
        Some("application/avro" | "avro/binary" | "application/vnd.apache.avro") => Ok(Encoding::Avro),
        Some(other) if other.starts_with("application/") && other.ends_with("+json") => Ok(Encoding::Json),
        Some(other) => Err(fault(format!(
            "Content-Type \"{other}\" is not understood; expected application/json, application/avro or application/cloudevents+json"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_are_compared_without_case() {
        let headers = Headers(vec![("CE-Type".to_owned(), "x".to_owned())]);
        assert_eq!(headers.get("ce-type"), Some("x"));
        assert_eq!(headers.get("ce-id"), None);
    }
}
