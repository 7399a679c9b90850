//! JSON: the path of every error, the names of what is not known.

use serde::de::DeserializeOwned;

use super::DecodeError;
use crate::{FailureClass, Stage};

/// Unknown fields listed per event; more are ignored without being named.
pub(crate) const MAX_UNKNOWN: usize = 32;

/// Reads one record. Fields the type does not know are listed in `unknown`.
pub(crate) fn read<T: DeserializeOwned>(payload: &[u8], unknown: &mut Vec<String>) -> Result<T, DecodeError> {
    if payload.is_empty() {
        return Err(DecodeError::new(
            FailureClass::Decode,
            Stage::Decode,
            "the payload is empty; expected a JSON object",
        ));
    }
    let text = std::str::from_utf8(payload).map_err(|error| {
        let marker = if payload.starts_with(&super::avro::MARKER) {
            "; it starts like Avro: set the header Content-Type to application/avro"
        } else {
            ""
        };
        let reason = format!("not UTF-8 from byte {}{marker}", error.valid_up_to());
        DecodeError::new(FailureClass::Decode, Stage::Decode, reason)
    })?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut track);
    let value = serde_ignored::deserialize(tracked, |path| {
        if unknown.len() < MAX_UNKNOWN {
            unknown.push(path.to_string());
        }
    });
    let value = value.map_err(|error| explain(&track.path().to_string(), &error))?;
    reader.end().map_err(|error| explain(".", &error))?;
    Ok(value)
}

/// A syntax error is a fault of the bytes; a wrong type or a missing field is one of the meaning.
fn explain(path: &str, error: &serde_json::Error) -> DecodeError {
    let class = if error.is_data() { FailureClass::Validation } else { FailureClass::Decode };
    let reason = match path {
        "." | "" if error.is_data() => format!("at the top level: {error}"),
        "." | "" => format!("not JSON: {error}"),
        path => format!("at `{path}`: {error}"),
    };
    DecodeError::new(class, Stage::Decode, reason)
}
