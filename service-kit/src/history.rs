//! Reading a stream without consuming it: from a sequence on, to the present or for ever.

mod bucket;
mod extent;
mod letters;
mod scan;
mod stored;
mod stretches;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use bytes::Bytes;
use futures_util::StreamExt as _;
use schemas::cloudevents::Headers;
use schemas::codec::{DecodeError, Decoded, Foreign};
use schemas::subject::{EVENT_SUBJECTS, STREAM};
use schemas::{RunId, Timestamp};

use crate::broker::Broker;
use crate::error::CliError;
use crate::exit::Exit;
use crate::publish::from_header_map;
use crate::schema_registry;

pub use bucket::last_values;
pub use extent::Extent;
pub(crate) use scan::pairs;
pub use scan::{Depth, Glance, Scan};
pub use stored::{Raw, first_since, next_at, next_on, raw};
pub use stretches::Stretches;

/// A broker that holds messages and does not hand one over for this long is not well.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(20);

/// Missing schemas a reading remembers; beyond them it asks for each message.
const MAX_MISSING: usize = 64;

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

    /// What stream `stream` holds on `filters` (all when empty) from sequence `from` to the present.
    pub async fn to_the_present(
        broker: &Broker,
        stream: &str,
        filters: &[&str],
        from: u64,
    ) -> Result<Self, CliError> {
        let last = last_sequence(broker, stream, filters).await?;
        if last.is_none_or(|last| last < from) {
            return Ok(Self::new(broker, stream, None, None, true));
        }
        let messages =
            open(broker, stream, filters, DeliverPolicy::ByStartSequence { start_sequence: from.max(1) })
                .await?;
        Ok(Self::new(broker, stream, Some(messages), last, false))
    }

    /// What it holds that it took in at `time` or later.
    pub async fn since(
        broker: &Broker,
        stream: &str,
        filters: &[&str],
        time: Timestamp,
    ) -> Result<Self, CliError> {
        let last = last_sequence(broker, stream, filters).await?;
        let is_later = match last {
            // One that is gone meanwhile is older than what is left.
            Some(last) => at(broker, stream, last).await?.is_some_and(|kept| kept.time >= time),
            None => false,
        };
        if !is_later {
            return Ok(Self::new(broker, stream, None, None, true));
        }
        let from = DeliverPolicy::ByStartTime { start_time: time.into() };
        Ok(Self::new(broker, stream, Some(open(broker, stream, filters, from).await?), last, false))
    }

    /// The same, going on with what is yet to come.
    pub async fn following(
        broker: &Broker,
        stream: &str,
        filters: &[&str],
        from: u64,
    ) -> Result<Self, CliError> {
        let messages =
            open(broker, stream, filters, DeliverPolicy::ByStartSequence { start_sequence: from.max(1) })
                .await?;
        Ok(Self::new(broker, stream, Some(messages), None, false))
    }

    /// Only what is yet to come.
    pub async fn from_now(broker: &Broker, stream: &str, filters: &[&str]) -> Result<Self, CliError> {
        let messages = open(broker, stream, filters, DeliverPolicy::New).await?;
        Ok(Self::new(broker, stream, Some(messages), None, false))
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

async fn schema_of(broker: &Broker, kept: &Kept) -> Result<Option<Arc<Foreign>>, CliError> {
    schema_registry::resolve(broker, &kept.headers, &kept.payload).await.map_err(|error| broken(&error))
}

/// What a stream holds; `None` when that is nothing.
pub async fn extent(broker: &Broker, stream: &str) -> Result<Option<Extent>, CliError> {
    let handle = broker.jetstream.get_stream(stream).await.map_err(|error| broken(&error))?;
    let state = &handle.cached_info().state;
    let extent = Extent { first: state.first_sequence, last: state.last_sequence, messages: state.messages };
    Ok((extent.messages > 0 && extent.first <= extent.last).then_some(extent))
}

/// Sequence of the last message on `filters`; `None` when there is none.
async fn last_sequence(broker: &Broker, stream: &str, filters: &[&str]) -> Result<Option<u64>, CliError> {
    let handle = broker.jetstream.get_stream(stream).await.map_err(|error| broken(&error))?;
    if filters.is_empty() {
        let state = &handle.cached_info().state;
        return Ok((state.messages > 0).then_some(state.last_sequence));
    }
    let mut last = None;
    for filter in filters {
        match handle.get_last_raw_message_by_subject(filter).await {
            Ok(message) => last = last.max(Some(message.sequence)),
            Err(error)
                if error.kind() == async_nats::jetstream::stream::LastRawMessageErrorKind::NoMessageFound => {
            }
            Err(error) => return Err(broken(&error)),
        }
    }
    Ok(last)
}

async fn open(
    broker: &Broker,
    stream: &str,
    filters: &[&str],
    from: DeliverPolicy,
) -> Result<pull::Ordered, CliError> {
    // The fences on the event stream are no events, and nobody who reads it means them.
    let filters = if filters.is_empty() && stream == STREAM { &EVENT_SUBJECTS[..] } else { filters };
    let handle = broker.jetstream.get_stream_no_info(stream).await.map_err(|error| broken(&error))?;
    let config = pull::OrderedConfig {
        deliver_policy: from,
        filter_subjects: filters.iter().map(|filter| (*filter).to_owned()).collect(),
        ..pull::OrderedConfig::default()
    };
    let consumer = handle.create_consumer(config).await.map_err(|error| broken(&error))?;
    consumer.messages().await.map_err(|error| broken(&error))
}

fn silent() -> CliError {
    CliError::new("stream-silent", Exit::Unreachable, "the stream stopped in the middle of being read")
        .because(format!("nothing came for {} s", SILENCE_LIMIT.as_secs()))
        .help("is the broker up? `cerebros doctor` tells")
}

fn broken(error: &dyn std::error::Error) -> CliError {
    CliError::new("stream-unreadable", Exit::Unreachable, "the stream cannot be read")
        .because(error)
        .help("is the broker up, and were the streams created? `cerebros doctor` tells")
}
