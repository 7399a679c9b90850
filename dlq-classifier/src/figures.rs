//! The queue in figures, for whoever looks after it: read by headers, none of it kept.

use std::time::Duration;

use async_nats::jetstream::stream::DiscardPolicy;
use schemas::Timestamp;
use schemas::subject::DLQ_STREAM;
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::exit::Exit;

use crate::entry::{Entry, State};
use crate::queue::Queue;

/// An open entry that has less than this to live is near its end.
pub const NEAR_END: Duration = Duration::from_secs(3 * 24 * 3600);
/// How full a queue may be, in hundredths of its limit, before it is told.
const FULL: u64 = 90;

/// The queue in figures.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// Entries there are.
    pub all: usize,
    /// Entries nobody has dealt with.
    pub open: usize,
    /// Open entries the stream will drop by age within [`NEAR_END`].
    pub near_end: usize,
    /// Nothing but the age of a letter makes the stream drop it.
    pub is_safe: bool,
    /// Letters are gone that were not old enough for it.
    pub has_dropped: bool,
    /// Hundredths of its limit the stream takes up.
    pub full: u64,
}

impl Figures {
    /// Reads the queue of a broker.
    ///
    /// # Errors
    /// When the broker does not answer or has no queue.
    pub async fn read(broker: &Broker) -> Result<Self, CliError> {
        let stream = broker.jetstream.get_stream(DLQ_STREAM).await.map_err(|error| {
            CliError::new("queue-missing", Exit::Unreachable, "the dead-letter stream cannot be looked at")
                .because(error)
        })?;
        let info = stream.cached_info();
        let (config, now) = (&info.config, clock::now());
        let used = info.state.bytes.saturating_mul(100);
        let oldest = Timestamp::from(info.state.first_timestamp);
        let is_young = info.state.messages > 0 && since(oldest, now) < config.max_age * 9 / 10;
        let is_safe = config.discard == DiscardPolicy::New || config.max_bytes <= 0;
        let mut figures = Self {
            is_safe,
            has_dropped: !is_safe && info.state.first_sequence > 1 && is_young,
            full: u64::try_from(config.max_bytes).ok().and_then(|limit| used.checked_div(limit)).unwrap_or(0),
            ..Self::default()
        };
        let max_age = config.max_age;
        Queue::on(broker)
            .each(|entry| {
                figures.take(&entry, now, max_age);
                Ok(())
            })
            .await?;
        Ok(figures)
    }

    /// Takes the next entry; the stream drops it at `max_age`, if that is not zero.
    fn take(&mut self, entry: &Entry, now: Timestamp, max_age: Duration) {
        self.all += 1;
        if entry.state == State::Open {
            self.open += 1;
            let is_old = max_age > Duration::ZERO && since(entry.seen, now) + NEAR_END > max_age;
            self.near_end += usize::from(is_old);
        }
    }

    /// True if the stream has hardly room for another letter.
    pub fn is_nearly_full(&self) -> bool {
        self.full >= FULL
    }
}

fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(now.micros() - then.micros()).unwrap_or(0))
}
