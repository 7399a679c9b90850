//! Reading a stream by its headers in stretches of its sequences, one after the other, each to its end and hardly further:
//! for several that read one stream at once.
//!
//! [`Scan`](super::Scan) lets the broker send on while it is read; of what comes behind the end of a stretch every message
//! would be taken apart for nothing. So a stretch has a consumer of its own, and as many messages are asked for as it holds.
//! Small ones come with their payloads, because that is less work for the broker; from the first lot on that does not come as
//! it was asked for, because it is too large or for any other reason, they come without.
//!
//! Invariant: no message of a stretch is left out. One that is lost on its way shows by the consumer's own count, and one that
//! a replica does not have yet by what the stream says when the consumer is at its end; the rest of the stretch is asked
//! for anew. For how long that is tried, until the next message comes, the silence limit says.

use std::fmt::Display;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;

use super::{Depth, Extent, Glance, SILENCE_LIMIT, broken, next_on, silent};
use crate::broker::Broker;
use crate::error::CliError;

/// When nothing has come for so long what was asked for is taken for lost, as it is with a connection.
const LOST_AFTER: Duration = Duration::from_secs(8);
/// Bytes of messages with their payloads that may come for one question.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// Pause after the broker has refused something it will grant again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// When the broker forgets a consumer nobody asks any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30);

/// Messages that are asked for at once: so many may stand in memory with all their headers before the first is looked at.
fn most(depth: Depth) -> u64 {
    match depth {
        Depth::Whole => 500,
        // However large their headers are.
        Depth::Headers => 200,
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Stretches of a stream, read one after the other.
pub struct Stretches {
    broker: Broker,
    stream: String,
    extent: Extent,
    /// How messages are asked for, from the first refusal on by their headers.
    depth: Depth,
    /// The next sequence of the stretch, and its last; none is left when the first is behind the last.
    next: u64,
    until: u64,
    consumer: Option<PullConsumer>,
    /// Messages it has handed over.
    counted: u64,
    pull: Option<pull::Batch>,
    /// Something of what was asked for last has come.
    has_come: bool,
    /// The consumer says that there is no more.
    seems_over: bool,
}

impl Stretches {
    /// Begins with one stretch of a stream, first and last sequence.
    pub async fn open(
        broker: &Broker,
        stream: &str,
        extent: Extent,
        (next, until): (u64, u64),
    ) -> Result<Self, CliError> {
        let mut stretches = Self {
            broker: broker.clone(),
            stream: stream.to_owned(),
            extent,
            depth: extent.depth(),
            next,
            until,
            consumer: None,
            counted: 0,
            pull: None,
            has_come: false,
            seems_over: false,
        };
        stretches.ask().await.map_err(|error| broken(&*error))?;
        Ok(stretches)
    }

    /// Goes on with another.
    pub fn turn_to(&mut self, (next, until): (u64, u64)) {
        self.end();
        (self.next, self.until) = (next, until);
    }

    /// The next message of the stretch; `None` at its end.
    pub async fn next(&mut self) -> Result<Option<Glance>, CliError> {
        // One for all tries: a message that breaks every one of them is not tried for ever.
        let mut deadline = None;
        while self.next <= self.until {
            // Nearly every message is there already when it is asked for, and needs no timer.
            let pull = self.pull.as_mut().filter(|_| !self.seems_over);
            let message = match pull.and_then(|pull| pull.next().now_or_never()) {
                Some(Some(Ok(message))) => message,
                Some(Some(Err(error))) => {
                    self.refused(&*error).await;
                    continue;
                }
                Some(None) | None => {
                    let deadline = *deadline.get_or_insert_with(|| Instant::now() + SILENCE_LIMIT);
                    let awaited = tokio::time::timeout_at(deadline, self.awaited());
                    let Some(message) = awaited.await.map_err(|_| silent())? else {
                        (self.next, self.until) = (1, 0);
                        break;
                    };
                    message
                }
            };
            if let Some(glance) = self.take(message) {
                return Ok(Some(glance));
            }
        }
        self.end();
        Ok(None)
    }

    /// Takes a message, unless it is behind the stretch or another was lost before it.
    fn take(&mut self, message: jetstream::Message) -> Option<Glance> {
        let Ok(facts) = message.info() else {
            self.give_up();
            return None;
        };
        let (sequence, time, is_last) = (facts.stream_sequence, facts.published.into(), facts.pending == 0);
        self.counted += 1;
        self.has_come = true;
        if facts.consumer_sequence != self.counted {
            tracing::debug!(sequence, "messages were lost on their way; they are asked for again");
            self.give_up();
            return None;
        }
        self.next = sequence.saturating_add(1);
        self.seems_over = is_last;
        let is_meant = sequence <= self.until;
        is_meant.then_some(Glance { message, sequence, time, depth: self.depth })
    }

    /// The next message when it is there, whatever that takes; `None` when the stream has no more.
    async fn awaited(&mut self) -> Option<jetstream::Message> {
        loop {
            if self.seems_over {
                if matches!(self.has_more().await, Ok(false)) {
                    return None;
                }
                self.give_up();
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            if self.pull.is_none()
                && let Err(error) = self.ask().await
            {
                tracing::debug!(%error, "the rest of a stretch cannot be asked for");
                self.give_up();
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
            let Some(pull) = self.pull.as_mut() else { continue };
            match tokio::time::timeout(LOST_AFTER, pull.next()).await {
                Ok(Some(Ok(message))) => return Some(message),
                // All that was asked for has come, unless nothing has.
                Ok(None) if self.has_come => self.pull = None,
                Ok(None) => self.refused(&"nothing has come").await,
                Ok(Some(Err(error))) => self.refused(&*error).await,
                // Also what is left of a lot that ends at the last of its bytes: the broker ends it without a word.
                Err(_) => self.refused(&"nothing comes any more").await,
            }
        }
    }

    /// What was asked for does not come: it is asked for anew, without payloads at once, and then after a pause.
    async fn refused(&mut self, why: &(dyn Display + Send + Sync)) {
        tracing::debug!(stream = self.stream, next = self.next, depth = ?self.depth, %why, "a lot has not come; it is asked for anew");
        self.give_up();
        if self.depth == Depth::Whole {
            self.depth = Depth::Headers;
        } else {
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// True if the stream has more of the stretch. Its leader knows; the consumer may be at a replica that does not yet.
    async fn has_more(&self) -> Result<bool, CliError> {
        let next = next_on(&self.broker, &self.stream, "", self.next).await?;
        Ok(next.is_some_and(|next| next <= self.until))
    }

    /// Asks for what the stretch still holds; for nothing where the consumer says that there is none.
    async fn ask(&mut self) -> Result<(), Failure> {
        let left = self.until.saturating_sub(self.next).saturating_add(1);
        let mut wanted = self.extent.expected(left).min(most(self.depth));
        if self.consumer.is_none() {
            let stream = self.broker.jetstream.get_stream_no_info(&self.stream).await?;
            let consumer = stream.create_consumer(self.config()).await?;
            let pending = consumer.cached_info().num_pending;
            if pending == 0 {
                self.seems_over = true;
                return Ok(());
            }
            wanted = wanted.min(pending);
            self.counted = 0;
            self.consumer = Some(consumer);
        }
        if let Some(consumer) = &self.consumer {
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
            self.has_come = false;
            let fetch = consumer.fetch().max_messages(wanted);
            let fetch = match self.depth {
                Depth::Whole => fetch.max_bytes(MOST_BYTES),
                Depth::Headers => fetch,
            };
            self.pull = Some(fetch.messages().await?);
        }
        Ok(())
    }

    fn config(&self) -> pull::Config {
        pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.next.max(1) },
            ack_policy: AckPolicy::None,
            max_deliver: 1,
            headers_only: self.depth == Depth::Headers,
            inactive_threshold: FORGOTTEN_AFTER,
            num_replicas: 1,
            memory_storage: true,
            ..pull::Config::default()
        }
    }

    fn give_up(&mut self) {
        self.pull = None;
        self.consumer = None;
        self.seems_over = false;
    }

    /// The broker need not keep the consumer. Nobody waits for that: it forgets one by itself as well.
    fn end(&mut self) {
        self.pull = None;
        self.seems_over = false;
        let Some(consumer) = self.consumer.take() else { return };
        let (jetstream, stream) = (self.broker.jetstream.clone(), self.stream.clone());
        tokio::spawn(async move {
            let name = &consumer.cached_info().name;
            jetstream.delete_consumer_from_stream(name, stream).await.map(drop)
        });
    }
}
