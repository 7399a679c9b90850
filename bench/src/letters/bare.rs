//! A bare client that reads all dead letters on one connection and does nothing with them: what the broker and the client
//! library take by themselves. It reads them whole, which takes the broker less than their headers alone where they are small.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use futures_util::StreamExt as _;
use schemas::subject::DLQ_STREAM;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use tokio::time::{Instant, timeout};

use crate::faults;
use crate::stand::Stand;

/// Messages on their way at once.
const BATCH: usize = 500;
/// No reading may take longer.
const LIMIT: Duration = Duration::from_secs(120);

/// From the connecting to the last of so many letters.
pub(super) async fn all(stand: &Stand, letters: u32) -> Result<Duration, CliError> {
    let began = Instant::now();
    timeout(LIMIT, read(stand, letters))
        .await
        .map_err(|_| faults::silent("the last dead letter", LIMIT))?
        .map_err(|error| {
            CliError::new("letters-unread", Exit::Unreachable, "the dead letters cannot be read")
                .because(error)
        })?;
    Ok(began.elapsed())
}

async fn read(stand: &Stand, letters: u32) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let client = async_nats::connect(stand.url()).await?;
    let jetstream = async_nats::jetstream::new(client);
    let config = pull::Config {
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::None,
        memory_storage: true,
        ..pull::Config::default()
    };
    let consumer: PullConsumer = jetstream.create_consumer_on_stream(config, DLQ_STREAM).await?;
    let mut messages = consumer.stream().max_messages_per_batch(BATCH).messages().await?;
    for _ in 0..letters {
        messages.next().await.ok_or("the stream of dead letters has fewer")??;
    }
    jetstream.delete_consumer_from_stream(&consumer.cached_info().name, DLQ_STREAM).await?;
    Ok(())
}
