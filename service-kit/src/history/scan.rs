//! Reading a stream for what stands beside its payloads: sequences, subjects, headers as the client holds them.
//!
//! For whoever reads a hundred thousand messages to count or to list them: the broker leaves the payloads out, and
//! nothing is copied, sorted or looked up before somebody asks for it. Nothing is consumed.

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::{self};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use schemas::Timestamp;

use super::{SILENCE_LIMIT, broken, last_sequence, silent};
use crate::broker::Broker;
use crate::error::CliError;

/// Header in which the broker says how large a payload is that it leaves out.
const PAYLOAD_SIZE: &str = "Nats-Msg-Size";

/// What of each message is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Everything but its payload.
    Headers,
    /// All of it.
    Whole,
}

/// Messages of a stream in order, up to the last there was at the start.
pub struct Scan {
    messages: Option<pull::Ordered>,
    until: u64,
    depth: Depth,
}

/// One message of a [`Scan`].
#[derive(Debug)]
pub struct Glance {
    pub(super) message: jetstream::Message,
    /// Its sequence.
    pub sequence: u64,
    /// When the stream took it in.
    pub time: Timestamp,
    /// What was asked for of it.
    pub(super) depth: Depth,
}

impl Scan {
    /// What a stream holds on `filters` (all when empty) from sequence `from` to the present, or to `until` where that
    /// comes first.
    pub async fn open(
        broker: &Broker,
        stream: &str,
        filters: &[String],
        (from, until): (u64, u64),
        depth: Depth,
    ) -> Result<Self, CliError> {
        let names: Vec<&str> = filters.iter().map(String::as_str).collect();
        let last = last_sequence(broker, stream, &names).await?.unwrap_or(0).min(until);
        if last < from.max(1) {
            return Ok(Self { messages: None, until: 0, depth });
        }
        let handle = broker.jetstream.get_stream_no_info(stream).await.map_err(|error| broken(&error))?;
        let config = pull::OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from.max(1) },
            filter_subjects: filters.to_vec(),
            headers_only: depth == Depth::Headers,
            ..pull::OrderedConfig::default()
        };
        let consumer = handle.create_consumer(config).await.map_err(|error| broken(&error))?;
        let messages = consumer.messages().await.map_err(|error| broken(&error))?;
        Ok(Self { messages: Some(messages), until: last, depth })
    }

    /// The next message; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Glance>, CliError> {
        let Some(messages) = self.messages.as_mut() else { return Ok(None) };
        // Nearly every message is there already when it is asked for, and needs no timer.
        let next = match messages.next().now_or_never() {
            Some(next) => next,
            None => tokio::time::timeout(SILENCE_LIMIT, messages.next()).await.map_err(|_| silent())?,
        };
        let message = match next {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(broken(&error)),
            None => return Ok(None),
        };
        let Ok(facts) = message.info() else { return Ok(None) };
        let (sequence, time, is_last) = (facts.stream_sequence, facts.published.into(), facts.pending == 0);
        if sequence >= self.until || is_last {
            self.messages = None;
        }
        let depth = self.depth;
        Ok((sequence <= self.until).then_some(Glance { message, sequence, time, depth }))
    }
}

impl Glance {
    /// Subject it came on.
    pub fn subject(&self) -> &str {
        &self.message.subject
    }

    /// Its headers, in no order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(self.message.headers.as_ref())
    }

    /// Its payload; empty when it was left out.
    pub fn payload(&self) -> &Bytes {
        &self.message.payload
    }

    /// Size of its payload, also where that was left out: see [`Glance::bytes_said`].
    pub fn bytes(&self, said: Option<usize>) -> usize {
        match self.depth {
            Depth::Headers => said.unwrap_or(self.payload().len()),
            // A header of this name can only be a stranger's.
            Depth::Whole => self.payload().len(),
        }
    }

    /// Size of a payload the broker has left out, from the one header that says so; `None` for every other. The last one counts:
    /// the broker writes its own behind a stranger's.
    pub fn bytes_said(name: &str, value: &str) -> Option<usize> {
        if name == PAYLOAD_SIZE { value.parse().ok() } else { None }
    }
}

/// The headers of the client as pairs, in no order.
pub(crate) fn pairs(map: Option<&HeaderMap>) -> impl Iterator<Item = (&str, &str)> {
    map.into_iter().flat_map(HeaderMap::iter).flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        values.iter().map(move |value| (name, value.as_str()))
    })
}
