//! Where a consumer goes on that is deleted to be made anew, kept in the broker until that is done.
//!
//! Between the two there is no consumer, and whoever makes sure of the topology makes one that begins with the first event
//! of the stream. What was settled before would come again, all of it.

use async_nats::jetstream::kv;

use crate::broker::Broker;
use crate::topology::MLFLOW_BUCKET;

/// The floor of one consumer.
pub(super) struct Floor {
    bucket: kv::Store,
    key: String,
}

impl Floor {
    pub(super) async fn of(broker: &Broker, consumer: &str) -> Result<Self, String> {
        let bucket =
            broker.jetstream.get_key_value(MLFLOW_BUCKET).await.map_err(|error| error.to_string())?;
        Ok(Self { bucket, key: format!("floors.{consumer}") })
    }

    /// The one somebody left who did not come to an end; none beyond the last event, which is that of another stream.
    pub(super) async fn left(&self, last: u64) -> Result<Option<u64>, String> {
        let said = self.bucket.get(&self.key).await.map_err(|error| error.to_string())?;
        let said = said.and_then(|said| std::str::from_utf8(&said).ok()?.parse().ok());
        Ok(said.filter(|floor| *floor <= last))
    }

    /// Everything up to here is settled, and the consumer is about to be deleted.
    pub(super) async fn keep(&self, floor: u64) -> Result<(), String> {
        self.bucket
            .put(&self.key, floor.to_string().into())
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// The consumer is there again: who deletes it from now on wants everything again.
    pub(super) async fn drop(&self) -> Result<(), String> {
        self.bucket.delete(&self.key).await.map_err(|error| error.to_string())
    }
}
