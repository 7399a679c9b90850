//! Reading a stream without consuming it: from a sequence on, to the present or for ever.

mod bucket;
mod error;
mod extent;
mod kept;
mod letters;
mod reach;
mod scan;
mod start;
mod stored;
mod stretches;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use futures_util::StreamExt as _;
use schemas::codec::Foreign;

use crate::broker::Broker;
use crate::error::CliError;
use crate::publish::from_header_map;
use error::{broken, silent};
use kept::schema_of;
use reach::last_sequence;

pub use bucket::last_values;
pub use extent::Extent;
pub use kept::{Kept, at};
pub use reach::extent;
pub(crate) use scan::pairs;
pub use scan::{Depth, Glance, Scan};
pub use stored::{Raw, first_since, next_at, next_on, raw};
pub use stretches::Stretches;

/// A broker that holds messages and does not hand one over for this long is not well.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(20);

/// Missing schemas a reading remembers; beyond them it asks for each message.
const MAX_MISSING: usize = 64;

/// Messages of a stream in order.
pub struct History {
    broker: Broker,
    stream: String,
    /// Kept across a cancelled `next`: a message that was taken is returned.
    taken: Option<Kept>,
    messages: Option<pull::Ordered>,
    /// Last sequence to return; `None` goes on for ever.
    until: Option<u64>,
    /// Schemas the registry did not have. A reading that ends asks once for each: a queue full of events nobody can read
    /// is listed without a request for each of them.
    missing: Vec<Arc<Foreign>>,
    is_over: bool,
    /// Nothing was left behind the message that was taken last.
    is_caught_up: bool,
}

impl History {
    fn new(
        broker: &Broker,
        stream: &str,
        messages: Option<pull::Ordered>,
        until: Option<u64>,
        is_over: bool,
    ) -> Self {
        Self {
            broker: broker.clone(),
            stream: stream.to_owned(),
            taken: None,
            messages,
            until,
            missing: Vec::new(),
            is_over,
            is_caught_up: false,
        }
    }

    /// The next message; `None` when the present is reached. Cancel safe.
    pub async fn next(&mut self) -> Result<Option<Kept>, CliError> {
        if self.taken.is_none() {
            self.taken = self.take().await?;
        }
        let Some(taken) = &self.taken else { return Ok(None) };
        let schema = match self.known_missing(taken) {
            Some(missing) => Some(missing),
            None => schema_of(&self.broker, taken).await?,
        };
        if let Some(schema) = schema.as_ref().filter(|schema| self.until.is_some() && schema.is_missing()) {
            self.remember_missing(schema);
        }
        Ok(self.taken.take().map(|taken| Kept { schema, ..taken }))
    }

    /// True if the broker had nothing behind the last message when it handed it over.
    fn is_caught_up(&self) -> bool {
        self.is_caught_up
    }

    fn known_missing(&self, kept: &Kept) -> Option<Arc<Foreign>> {
        if self.missing.is_empty() {
            return None;
        }
        let fingerprint = schemas::codec::foreign_fingerprint(&kept.headers, &kept.payload)?;
        self.missing.iter().find(|schema| schema.fingerprint == fingerprint).cloned()
    }

    fn remember_missing(&mut self, schema: &Arc<Foreign>) {
        if self.missing.len() < MAX_MISSING && !self.missing.contains(schema) {
            self.missing.push(Arc::clone(schema));
        }
    }

    async fn take(&mut self) -> Result<Option<Kept>, CliError> {
        if self.is_over {
            return Ok(None);
        }
        let Some(messages) = self.messages.as_mut() else { return Ok(None) };
        let next = messages.next();
        let next = match self.until {
            Some(_) => tokio::time::timeout(SILENCE_LIMIT, next).await.map_err(|_| silent())?,
            None => next.await,
        };
        let message = match next {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(broken(&error)),
            None => return Ok(None),
        };
        let Ok(facts) = message.info() else { return Ok(None) };
        let kept = Kept {
            sequence: facts.stream_sequence,
            subject: message.subject.to_string(),
            time: facts.published.into(),
            headers: from_header_map(message.headers.as_ref()),
            payload: message.payload.clone(),
            schema: None,
        };
        self.is_caught_up = facts.pending == 0;
        self.is_over = self.until.is_some_and(|until| kept.sequence >= until || self.is_caught_up);
        Ok(Some(letters::opened(&self.stream, kept)))
    }
}
