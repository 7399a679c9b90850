//! A payload of unknown content, made readable. Pure.

use std::io::{self, Write};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use schemas::cloudevents::Headers;
use schemas::codec::Foreign;
use schemas::{Encoding, codec};
use serde::Serialize;
use serde_json::Value;

/// Longest text shown to people; `--raw` has all of it.
const SHOWN_CHARS: usize = 20_000;
/// Bytes of a payload that is no text shown to people.
const SHOWN_BYTES: usize = 256;
/// Bytes in one line of the dump.
const LINE_BYTES: usize = 16;

/// What a payload turned out to be.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
pub(super) enum Payload {
    /// JSON.
    Json(Value),
    /// Avro with a known schema, as JSON.
    Avro(Value),
    /// UTF-8 that is no JSON.
    Text(String),
    /// Anything else, in base64.
    Binary(String),
}

impl Payload {
    pub(super) fn read(subject: &str, headers: &Headers, payload: &[u8], schema: Option<&Foreign>) -> Self {
        if let Ok(value) = serde_json::from_slice(payload) {
            return Self::Json(value);
        }
        if let Ok(decoded) = codec::decode_with(subject, headers, payload, schema)
            && decoded.encoding == Encoding::Avro
        {
            return Self::Avro(decoded.event.to_json());
        }
        match std::str::from_utf8(payload) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Binary(BASE64_STANDARD.encode(payload)),
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Json(_) => "JSON",
            Self::Avro(_) => "Avro, shown as JSON",
            Self::Text(_) => "text",
            Self::Binary(_) => "binary",
        }
    }

    /// For people. Control characters are written out by the printer.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Json(value) | Self::Avro(value) => {
                let text = serde_json::to_string_pretty(value)?;
                write_bounded(out, &text)
            }
            Self::Text(text) => write_bounded(out, text),
            Self::Binary(text) => {
                let bytes = BASE64_STANDARD.decode(text).map_err(io::Error::other)?;
                dump(out, &bytes)
            }
        }
    }
}

fn write_bounded(out: &mut dyn Write, text: &str) -> io::Result<()> {
    let end = text.char_indices().nth(SHOWN_CHARS).map_or(text.len(), |(index, _)| index);
    writeln!(out, "{}", &text[..end])?;
    if end < text.len() {
        writeln!(out, "… {} more bytes; --raw writes all of them", text.len() - end)?;
    }
    Ok(())
}

/// Offset, bytes, and what of them is printable ASCII.
fn dump(out: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    for (index, line) in bytes[..bytes.len().min(SHOWN_BYTES)].chunks(LINE_BYTES).enumerate() {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let text: String = line
            .iter()
            .map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' })
            .collect();
        writeln!(out, "{:08x}  {:<47}  {text}", index * LINE_BYTES, hex.join(" "))?;
    }
    if bytes.len() > SHOWN_BYTES {
        writeln!(out, "… {} more bytes; --raw writes all of them", bytes.len() - SHOWN_BYTES)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use schemas::event::RunRequested;

    use super::*;

    fn shown(payload: &[u8], headers: &Headers) -> (Payload, String) {
        let payload = Payload::read("cerebros.nas.run.requested", headers, payload, None);
        let mut out = Vec::new();
        payload.write(&mut out).unwrap();
        (payload, String::from_utf8(out).unwrap())
    }

    #[test]
    fn json_is_laid_out_and_text_stays_text() {
        let none = Headers::default();
        assert_eq!(shown(b"{\"a\":1}", &none).1, "{\n  \"a\": 1\n}\n");
        assert_eq!(shown(b"{\"a\":", &none), (Payload::Text("{\"a\":".into()), "{\"a\":\n".into()));
    }

    #[test]
    fn avro_with_a_known_schema_is_shown_as_json() {
        let payload = codec::encode(&RunRequested::new("digits").into(), Encoding::Avro).unwrap();
        let headers = Headers(vec![("Content-Type".into(), "application/avro".into())]);
        let (payload, text) = shown(&payload, &headers);
        assert!(matches!(payload, Payload::Avro(_)));
        assert!(text.contains("\"dataset_id\": \"digits\""), "{text}");
    }

    #[test]
    fn bytes_are_dumped_with_their_offsets() {
        let (payload, text) = shown(b"\xff\x00abc", &Headers::default());
        assert_eq!(payload, Payload::Binary("/wBhYmM=".into()));
        assert_eq!(text, format!("00000000  {:<47}  ..abc\n", "ff 00 61 62 63"));
        let (_, text) = shown(&[0xff; 1000], &Headers::default());
        assert_eq!(text.lines().count(), SHOWN_BYTES / LINE_BYTES + 1);
    }
}
