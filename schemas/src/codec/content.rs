//! Which bytes of a message are the event, and how they are written: binary mode, structured mode, or no envelope.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{DecodeError, Encoding};
use crate::headers::{HeaderSource, header};
use crate::{FailureClass, Stage};

/// Content type of structured mode.
const STRUCTURED: &str = "application/cloudevents+json";

/// What a message carries, whatever its mode.
pub(crate) struct Content<'a> {
    pub(crate) payload: Cow<'a, [u8]>,
    pub(crate) encoding: Encoding,
    /// The type a structured envelope claims; in binary mode it is a header.
    pub(crate) ce_type: Option<String>,
    /// The time after which a structured envelope is no longer wanted, as it stands there; see [`crate::expiry`].
    pub(crate) expirytime: Option<&'a RawValue>,
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
    #[serde(borrow)]
    expirytime: Option<&'a RawValue>,
}

/// Finds payload and encoding of a message.
pub(crate) fn content<'a>(
    headers: &impl HeaderSource,
    payload: &'a [u8],
) -> Result<Content<'a>, DecodeError> {
    let media_type = headers.value(header::CONTENT_TYPE).map(essence);
    if media_type.as_deref() == Some(STRUCTURED) {
        return structured(payload);
    }
    // In binary mode the type of the data travels as Content-Type; some publishers write it as an attribute.
    let media_type = media_type.or_else(|| headers.value(header::DATA_CONTENT_TYPE).map(essence));
    let encoding = encoding_of(media_type.as_deref())?;
    Ok(Content { payload: Cow::Borrowed(payload), encoding, ce_type: None, expirytime: None })
}

/// True if the payload is the whole CloudEvent, its attributes beside the event.
pub(crate) fn is_structured(headers: &impl HeaderSource) -> bool {
    headers.value(header::CONTENT_TYPE).map(essence).as_deref() == Some(STRUCTURED)
}

fn structured(payload: &[u8]) -> Result<Content<'_>, DecodeError> {
    let mut reader = serde_json::Deserializer::from_slice(payload);
    let envelope =
        super::json::watched::read(&mut reader).and_then(|(envelope, _)| reader.end().map(|()| envelope));
    let envelope: Structured<'_> =
        envelope.map_err(|error| fault(format!("not a CloudEvent in structured mode: {error}")))?;
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
        (Some(_), Some(_)) => {
            return Err(fault("both data and data_base64 are given; expected one".to_owned()));
        }
        (None, None) => return Err(fault("the CloudEvent has neither data nor data_base64".to_owned())),
    };
    let expirytime = envelope.expirytime;
    Ok(Content { payload: data, encoding, ce_type: Some(envelope.ce_type), expirytime })
}

fn fault(reason: String) -> DecodeError {
    DecodeError::new(FailureClass::Decode, Stage::Decode, reason)
}

/// The media type without parameters, in lower case.
fn essence(media_type: &str) -> Cow<'_, str> {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if essence.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(essence.to_ascii_lowercase());
    }
    Cow::Borrowed(essence)
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
