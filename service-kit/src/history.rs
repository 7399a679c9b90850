//! Reading a stream without consuming it: from a sequence on, to the present or for ever.

mod bucket;
mod letters;
mod scan;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use schemas::cloudevents::Headers;
use schemas::codec::{DecodeError, Decoded, Foreign};
use schemas::subject::{EVENT_SUBJECTS, STREAM};
use schemas::{RunId, Timestamp};
use serde::Deserialize;

use crate::broker::Broker;
use crate::error::CliError;
use crate::exit::Exit;
use crate::publish::from_header_map;
use crate::schema_registry;

pub use bucket::last_values;
pub(crate) use scan::pairs;
pub use scan::{Depth, Glance, Scan};

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

/// A message as the stream keeps it, whatever its headers are.
#[derive(Debug, Clone)]
pub struct Raw {
    /// Subject; what is not UTF-8 in it is replaced.
    pub subject: String,
    /// Its sequence.
    pub sequence: u64,
    /// When the stream took it in.
    pub time: Timestamp,
    /// Its header block, `NATS/1.0` and all; empty when there is none.
    pub header_block: Vec<u8>,
    /// Its payload.
    pub payload: Bytes,
}

impl Raw {
    /// Its headers. What is no header in its header block is left out.
    pub fn headers(&self) -> Headers {
        headers_of(&self.header_block)
    }
}

/// The message at a sequence of a stream; `None` when it is gone. Read through the broker's JSON API, which hands out
/// headers in base64, so that headers which break the protocol break nothing here.
pub async fn raw(broker: &Broker, stream: &str, sequence: u64) -> Result<Option<Raw>, CliError> {
    get(broker, stream, &serde_json::json!({ "seq": sequence })).await
}

/// The first message at a sequence or behind it on a subject, which may have wildcards; `None` when there is none.
pub async fn next_at(
    broker: &Broker,
    stream: &str,
    sequence: u64,
    filter: &str,
) -> Result<Option<Raw>, CliError> {
    get(broker, stream, &serde_json::json!({ "seq": sequence, "next_by_subj": filter })).await
}

/// The first of the sequences `first` to `last` of a stream that came in at a time or later; the one behind them when
/// none did.
pub async fn first_since(
    broker: &Broker,
    stream: &str,
    (first, last): (u64, u64),
    time: Timestamp,
) -> Result<u64, CliError> {
    let (mut low, mut high) = (first, last + 1);
    while low < high {
        let middle = u64::midpoint(low, high);
        match next_at(broker, stream, middle, ">").await? {
            Some(message) if message.time < time => low = message.sequence + 1,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

async fn get(broker: &Broker, stream: &str, request: &serde_json::Value) -> Result<Option<Raw>, CliError> {
    let Some(message) = asked(broker, stream, request).await? else { return Ok(None) };
    let decode = |text: &str| BASE64_STANDARD.decode(text).map_err(|error| broken(&error));
    Ok(Some(Raw {
        subject: message.subject,
        sequence: message.seq,
        time: message.time,
        header_block: decode(&message.hdrs)?,
        payload: decode(&message.data)?.into(),
    }))
}

/// The message the broker finds for a request to its JSON API.
async fn asked(
    broker: &Broker,
    stream: &str,
    request: &serde_json::Value,
) -> Result<Option<Message>, CliError> {
    let subject = format!("STREAM.MSG.GET.{stream}");
    let answer: Response<Answer> =
        broker.jetstream.request(subject, request).await.map_err(|error| broken(&error))?;
    match answer {
        Response::Ok(answer) => Ok(Some(answer.message)),
        Response::Err { error } if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => Ok(None),
        Response::Err { error } => Err(broken(&error)),
    }
}

/// Sequence of the first message from `from` on that came on a subject `filter` takes (all when it is empty); `None`
/// when there is none.
pub async fn next_on(
    broker: &Broker,
    stream: &str,
    filter: &str,
    from: u64,
) -> Result<Option<u64>, CliError> {
    let filter = if filter.is_empty() { ">" } else { filter };
    let request = serde_json::json!({ "seq": from, "next_by_subj": filter });
    Ok(asked(broker, stream, &request).await?.map(|message| message.seq))
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

/// The headers in a block, all values of each, in the order every reader gives them.
fn headers_of(block: &[u8]) -> Headers {
    let text = String::from_utf8_lossy(block);
    let mut headers = Headers::default();
    for line in text.lines().skip(1) {
        match (line.starts_with(char::is_whitespace), headers.0.last_mut(), line.split_once(':')) {
            (true, Some((_, value)), _) => value.push_str(line.trim_end()),
            (false, _, Some((name, value))) => headers.push(name, value.trim()),
            (true, None, _) | (false, _, None) => {}
        }
    }
    headers.0.sort();
    headers
}

#[derive(Deserialize)]
struct Answer {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    time: Timestamp,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_block_is_read_whole_and_what_is_no_header_is_left_out() {
        let block = b"NATS/1.0\r\nB: 2\r\nA: one\r\nnonsense\r\nA: two\r\n more\r\n\r\n";
        let expected = [("A", "one"), ("A", "two more"), ("B", "2")];
        assert_eq!(headers_of(block).0, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(headers_of(b"").0.is_empty());
    }
}
