//! JSON: the path of every error, the names of what is not known.

pub(super) mod watched;

use serde::de::DeserializeOwned;

use super::DecodeError;
use crate::json_text::weigh;
use crate::{FailureClass, Stage};

/// Unknown fields listed per event; more are ignored without being named.
pub(crate) const MAX_UNKNOWN: usize = 32;

/// Bytes shown of the path of an error; a value that is nested too deep has a long one.
const MAX_PATH_BYTES: usize = 120;

/// Reads one record. Fields the type does not know are listed in `unknown`.
pub(crate) fn read<T: DeserializeOwned>(payload: &[u8], unknown: &mut Vec<String>) -> Result<T, DecodeError> {
    let text = text_of(payload)?;
    weigh(text).map_err(|reason| DecodeError::new(FailureClass::Validation, Stage::Decode, reason))?;
    let mut reader = serde_json::Deserializer::from_str(text);
    match watched::read::<T, _>(&mut reader) {
        Ok((value, has_ignored)) => {
            reader.end().map_err(|error| explain(".", &error))?;
            if has_ignored {
                name_ignored::<T>(text, unknown);
            }
            Ok(value)
        }
        Err(_) => Err(locate::<T>(text)),
    }
}

/// Reads again to list the fields the type does not know.
fn name_ignored<T: DeserializeOwned>(text: &str, unknown: &mut Vec<String>) {
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = serde_ignored::deserialize::<_, _, T>(&mut reader, |path| {
        if unknown.len() < MAX_UNKNOWN {
            unknown.push(path.to_string());
        }
    });
    debug_assert!(read.is_ok(), "the same text was read before");
}

/// Reads again to find the path of the error, which costs as much as the reading itself.
fn locate<T: DeserializeOwned>(text: &str) -> DecodeError {
    let mut reader = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut track);
    match watched::read::<T, _>(tracked) {
        Err(error) => explain(&track.path().to_string(), &error),
        Ok(_) => unreachable!("the same text was refused before"),
    }
}

fn text_of(payload: &[u8]) -> Result<&str, DecodeError> {
    let fault = |reason: String| DecodeError::new(FailureClass::Decode, Stage::Decode, reason);
    if payload.is_empty() {
        return Err(fault("the payload is empty; expected a JSON object".to_owned()));
    }
    std::str::from_utf8(payload).map_err(|error| {
        let marker = if payload.starts_with(&super::avro::MARKER) {
            "; it starts like Avro: set the header Content-Type to application/avro"
        } else {
            ""
        };
        fault(format!("not UTF-8 from byte {}{marker}", error.valid_up_to()))
    })
}

/// A syntax error is a fault of the bytes; a wrong type or a missing field is one of the meaning.
fn explain(path: &str, error: &serde_json::Error) -> DecodeError {
    let path = &crate::failure::bounded_head(path, MAX_PATH_BYTES);
    let class = if error.is_data() { FailureClass::Validation } else { FailureClass::Decode };
    let reason = match path.as_str() {
        "." | "" if error.is_data() => format!("at the top level: {error}"),
        "." | "" => format!("not JSON: {error}"),
        path => format!("at `{path}`: {error}"),
    };
    DecodeError::new(class, Stage::Decode, reason)
}
