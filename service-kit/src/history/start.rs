//! Where a reading of a stream begins, and whether it ends at the present.

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use schemas::Timestamp;
use schemas::subject::{EVENT_SUBJECTS, STREAM};

use super::{History, at, broken, last_sequence};
use crate::broker::Broker;
use crate::error::CliError;

impl History {
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
