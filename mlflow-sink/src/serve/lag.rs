//! How far MLflow is behind the stream, asked of the broker now and then: how many events it lacks, and since when the
//! oldest of them is there.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use schemas::Timestamp;
use schemas::subject::STREAM;
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::health::{Health, NumberHandle};
use service_kit::metrics::Gauge;
use service_kit::topology::SINK_CONSUMER;
use tokio::time::{MissedTickBehavior, interval};

use crate::numbers::Numbers;

/// Pause between two questions.
const PERIOD: Duration = Duration::from_secs(5);

/// Where it is said: the numbers of the health page.
#[derive(Debug)]
pub(crate) struct Page {
    events: NumberHandle,
    oldest: NumberHandle,
}

impl Page {
    /// On this page.
    pub(crate) fn of(health: &Health) -> Self {
        Self { events: health.number("lag_events"), oldest: health.number("oldest_event_seconds") }
    }
}

/// Events that are not acked yet: those on the way and those that were not handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lag {
    events: i64,
    /// How long the oldest of them is in the stream.
    oldest_seconds: i64,
    /// As many are unsettled as the consumer may have: the broker hands out no others.
    is_full: bool,
}

/// Says it until it is dropped.
pub(super) async fn tell(broker: Broker, numbers: Numbers, page: Page) {
    let mut due = interval(PERIOD);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let say = |gauge: &Gauge, page: &NumberHandle, value: i64| {
        gauge.set(value);
        page.set(value);
    };
    let mut was_full = false;
    loop {
        due.tick().await;
        match lag(&broker).await {
            Ok(lag) => {
                if lag.is_full && !was_full {
                    tracing::warn!(
                        events = lag.events,
                        "the broker hands out no further events: the consumer {SINK_CONSUMER} has as many unsettled as it may. \
                         `mlflow-sink check` names the runs that are stuck: remove what keeps them, or raise max_ack_pending"
                    );
                }
                was_full = lag.is_full;
                say(&numbers.lag, &page.events, lag.events);
                say(&numbers.oldest_event_seconds, &page.oldest, lag.oldest_seconds);
            }
            Err(error) => tracing::debug!(%error, "the broker does not say how many events wait"),
        }
    }
}

async fn lag(broker: &Broker) -> Result<Lag, async_nats::Error> {
    let consumer: PullConsumer = broker.jetstream.get_consumer_from_stream(SINK_CONSUMER, STREAM).await?;
    let info = consumer.cached_info();
    let events = info.num_pending.saturating_add(info.num_ack_pending as u64);
    if events == 0 {
        return Ok(Lag { events: 0, oldest_seconds: 0, is_full: false });
    }
    let stream = broker.jetstream.get_stream_no_info(STREAM).await?;
    let next = info.ack_floor.stream_sequence + 1;
    let oldest = first_of(&stream, &info.config.filter_subjects, next).await?;
    Ok(Lag {
        events: i64::try_from(events).unwrap_or(i64::MAX),
        oldest_seconds: oldest.map_or(0, |since| age(since, clock::now())),
        is_full: is_full(info.num_ack_pending, info.config.max_ack_pending),
    })
}

/// When the first event of these subjects was stored, from a sequence on.
async fn first_of(
    stream: &Stream<()>,
    subjects: &[String],
    from: u64,
) -> Result<Option<Timestamp>, async_nats::Error> {
    let mut first: Option<(u64, Timestamp)> = None;
    for subject in subjects {
        match stream.get_first_raw_message_by_subject(subject, from).await {
            Ok(found) if first.is_none_or(|(sequence, _)| found.sequence < sequence) => {
                first = Some((found.sequence, found.time.into()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(first.map(|(_, time)| time))
}

/// A consumer without a bound is never full.
fn is_full(unsettled: usize, bound: i64) -> bool {
    usize::try_from(bound).is_ok_and(|bound| bound > 0 && unsettled >= bound)
}

/// Whole seconds; none before it, when the clocks of two machines differ.
fn age(since: Timestamp, now: Timestamp) -> i64 {
    (now.millis() - since.millis()).max(0) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_full_with_as_many_as_it_may_have_and_never_without_a_bound() {
        assert!(is_full(400, 400) && is_full(401, 400) && !is_full(399, 400));
        assert!(!is_full(400, -1) && !is_full(400, 0));
    }

    #[test]
    fn an_event_is_so_many_seconds_old_and_never_younger_than_now() {
        let at = Timestamp::from_micros;
        assert_eq!((age(at(1_000_000), at(3_999_000)), age(at(5_000_000), at(3_000_000))), (2, 0));
    }
}
