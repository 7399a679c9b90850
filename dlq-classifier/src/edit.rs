//! Repairing a dead message before it is replayed: a jq expression or a merge patch on its payload.
//!
//! What the edit sees: the JSON value of the payload; for Avro with a known schema the event as JSON; for anything
//! else the text itself as one string, so that a new object can still be built from it. The result is always JSON.
//! The original entry is not touched.

pub mod jq;
mod merge;

use std::path::PathBuf;
use std::sync::Arc;

use schemas::cloudevents::{Headers, header};
use schemas::codec::{DecodeError, Decoded, Foreign, MAX_EVENT_BYTES};
use schemas::{Encoding, Record, codec};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service_kit::error::CliError;
use service_kit::exit::Exit;

pub use merge::merge;

/// Largest edit: it is kept with the task that carries it out.
const MAX_EDIT_BYTES: usize = 256 * 1024;

/// A message on its way back: what is published when it is replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Where it goes.
    pub subject: String,
    /// Its headers, without the broker's own.
    pub headers: Headers,
    /// Its payload.
    pub payload: Vec<u8>,
    /// The schema the payload was written with, where this build was not made with it.
    pub schema: Option<Arc<Foreign>>,
}

impl Draft {
    /// Reads it as every reader of its subject will.
    ///
    /// # Errors
    /// Why it would die again.
    pub fn decode(&self) -> Result<Decoded, DecodeError> {
        self.decode_on(&self.subject)
    }

    /// Reads it as what another subject carries.
    fn decode_on(&self, subject: &str) -> Result<Decoded, DecodeError> {
        codec::decode_with(subject, &self.headers, &self.payload, self.schema.as_deref())
    }
}

/// How a payload is changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edit {
    /// A jq expression.
    Jq(String),
    /// A merge patch (RFC 7386).
    Patch(Value),
}

/// Why an edit gave nothing to publish.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The expression failed.
    #[error(transparent)]
    Jq(#[from] jq::JqError),
    /// The result is larger than any reader accepts.
    #[error("the edited payload has {0} bytes, over the limit of {MAX_EVENT_BYTES}")]
    TooLarge(usize),
}

impl Edit {
    /// What `--edit` and `--patch` ask for; the patch file is read here, before anything else is done.
    pub fn from_flags(expression: Option<String>, patch: Option<PathBuf>) -> Result<Option<Self>, CliError> {
        if let Some(expression) = expression {
            check_size(expression.len())?;
            jq::check(&expression).map_err(|error| {
                CliError::new("edit-invalid", Exit::Usage, "the expression of --edit is not jq")
                    .because(error)
            })?;
            return Ok(Some(Self::Jq(expression)));
        }
        let Some(path) = patch else { return Ok(None) };
        let unreadable = |cause: String| {
            CliError::new(
                "patch-unreadable",
                Exit::InvalidInput,
                format!("no merge patch in {}", path.display()),
            )
            .because(cause)
            .help("the file holds one JSON value; members that are null are removed (RFC 7386)")
        };
        let text = std::fs::read(&path).map_err(|error| unreadable(error.to_string()))?;
        check_size(text.len())?;
        serde_json::from_slice(&text)
            .map(Self::Patch)
            .map(Some)
            .map_err(|error| unreadable(error.to_string()))
    }

    /// The expression or the patch, as it was given.
    pub fn text(&self) -> String {
        match self {
            Self::Jq(expression) => expression.clone(),
            Self::Patch(patch) => patch.to_string(),
        }
    }

    /// Changes a message. Its media type follows the result; `ce-type` and the run in the headers follow the payload.
    pub fn apply(&self, mut draft: Draft, original_subject: &str) -> Result<Draft, EditError> {
        let value = input(original_subject, &draft);
        let edited = match self {
            Self::Jq(expression) => jq::run(expression, value)?,
            Self::Patch(patch) => merge(value, patch),
        };
        draft.payload = serde_json::to_vec(&edited).expect("a JSON value has string keys");
        if draft.payload.len() > MAX_EVENT_BYTES {
            return Err(EditError::TooLarge(draft.payload.len()));
        }
        restate(&mut draft, &edited);
        Ok(draft)
    }
}

fn check_size(bytes: usize) -> Result<(), CliError> {
    if bytes <= MAX_EDIT_BYTES {
        return Ok(());
    }
    let what = format!("an edit of {bytes} bytes is over the limit of {MAX_EDIT_BYTES}");
    Err(CliError::new("edit-too-large", Exit::InvalidInput, what))
}

/// What an edit sees of a message.
pub fn input(subject: &str, draft: &Draft) -> Value {
    if let Ok(value) = serde_json::from_slice(&draft.payload) {
        return value;
    }
    match draft.decode_on(subject) {
        Ok(decoded) => decoded.event.to_json(),
        Err(_) => Value::String(String::from_utf8_lossy(&draft.payload).into_owned()),
    }
}

/// Brings the envelope in line with an edited payload. Whoever edits says something new: the type is that of the
/// subject it goes to, and the run is the one the payload names.
fn restate(draft: &mut Draft, edited: &Value) {
    let media_type = draft.headers.get(header::CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    let is_envelope = media_type.starts_with("application/cloudevents+json");
    if !is_envelope && !media_type.is_empty() {
        set(&mut draft.headers, header::CONTENT_TYPE, Encoding::Json.content_type());
    }
    if let Some(record) = Record::of_subject(&draft.subject) {
        set(&mut draft.headers, "ce-type", record.ce_type());
        set(&mut draft.headers, "ce-dataschema", record.ce_dataschema());
    }
    if let Some(run) =
        edited.get("run_id").and_then(Value::as_str).filter(|run| schemas::RunId::parse(run).is_ok())
    {
        name_run(&mut draft.headers, run);
    }
}

/// The headers that name the run follow the payload.
pub(crate) fn name_run(headers: &mut Headers, run: &str) {
    set(headers, header::RUN_ID, run);
    set(headers, "ce-subject", run);
}

/// Changes a header that is there.
pub(crate) fn set(headers: &mut Headers, name: &str, value: &str) {
    let mut is_kept = true;
    headers.0.retain_mut(|(key, old)| {
        if !key.eq_ignore_ascii_case(name) {
            return true;
        }
        value.clone_into(old);
        std::mem::replace(&mut is_kept, false)
    });
}

#[cfg(test)]
mod tests;
