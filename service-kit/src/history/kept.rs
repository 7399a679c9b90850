//! One message of a stream, and the event in it.

use std::sync::Arc;

use bytes::Bytes;
use schemas::cloudevents::Headers;
use schemas::codec::{DecodeError, Decoded, Foreign};
use schemas::{RunId, Timestamp};

use super::{broken, letters, raw};
use crate::broker::Broker;
use crate::error::CliError;
use crate::schema_registry;

/// A message of a stream.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its sequence.
    pub sequence: u64,
    /// Subject it came on.
    pub subject: String,
    /// When the stream took it in.
    pub time: Timestamp,
    /// Its headers.
    pub headers: Headers,
    /// Its payload.
    pub payload: Bytes,
    /// The schema it was written with, where this build was not made with it.
    pub schema: Option<Arc<Foreign>>,
}

impl Kept {
    /// Reads the event.
    ///
    /// # Errors
    /// Why it is none.
    pub fn decode(&self) -> Result<Decoded, DecodeError> {
        schemas::codec::decode_with(&self.subject, &self.headers, &self.payload, self.schema.as_deref())
    }

    /// The run a request is for that names none, on the stream it is kept in.
    pub fn derived_run_id(&self, stream: &str) -> RunId {
        RunId::derive(stream, self.sequence, u64::try_from(self.time.millis()).unwrap_or(0))
    }
}

/// The message at a sequence of a stream; `None` when it is gone. What is no header in its header block is left out.
pub async fn at(broker: &Broker, stream: &str, sequence: u64) -> Result<Option<Kept>, CliError> {
    let Some(raw) = raw(broker, stream, sequence).await? else { return Ok(None) };
    let kept = Kept {
        headers: raw.headers(),
        sequence: raw.sequence,
        subject: raw.subject,
        time: raw.time,
        payload: raw.payload,
        schema: None,
    };
    let kept = letters::opened(stream, kept);
    let schema = schema_of(broker, &kept).await?;
    Ok(Some(Kept { schema, ..kept }))
}

pub(super) async fn schema_of(broker: &Broker, kept: &Kept) -> Result<Option<Arc<Foreign>>, CliError> {
    schema_registry::resolve(broker, &kept.headers, &kept.payload).await.map_err(|error| broken(&error))
}
