//! How far MLflow is behind the stream, asked of the broker now and then.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use schemas::subject::STREAM;
use service_kit::broker::Broker;
use service_kit::health::NumberHandle;
use service_kit::metrics::Gauge;
use service_kit::topology::SINK_CONSUMER;
use tokio::time::{MissedTickBehavior, interval};

/// Pause between two questions.
const PERIOD: Duration = Duration::from_secs(5);

/// Says, until it is dropped, how many events are not acked yet: those on the way and those that were not handed out.
pub(super) async fn tell(broker: Broker, gauge: Gauge, page: NumberHandle) {
    let mut due = interval(PERIOD);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        match lag(&broker).await {
            Ok(events) => {
                gauge.set(events);
                page.set(events);
            }
            Err(error) => tracing::debug!(%error, "the broker does not say how many events wait"),
        }
    }
}

async fn lag(broker: &Broker) -> Result<i64, async_nats::Error> {
    let consumer: PullConsumer = broker.jetstream.get_consumer_from_stream(SINK_CONSUMER, STREAM).await?;
    let info = consumer.cached_info();
    let events = info.num_pending.saturating_add(info.num_ack_pending as u64);
    Ok(i64::try_from(events).unwrap_or(i64::MAX))
}
