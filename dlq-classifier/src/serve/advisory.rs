//! Deliveries that came to nothing: they ran out (the consumer died on its last one, or never settled), or the consumer
//! terminated them. The broker says so in an advisory, which is only a pointer; the message is dead-lettered by its
//! sequence ([`lost`]).
//!
//! Whoever of us terminates a message has published its dead letter before, which has the same message id: the one
//! written here is a duplicate then. Of a stranger's termination it is the only one.

use std::collections::HashSet;

use schemas::Timestamp;
use schemas::subject::{ADVISORY_STREAM, STREAM};
use serde::Deserialize;
use service_kit::broker::Broker;
use service_kit::delivery::Delivery;
use service_kit::error::CliError;
use service_kit::history::History;
use service_kit::intake::Intake;
use service_kit::shutdown::Shutdown;
use service_kit::topology::ADVISORY_CONSUMER;

use super::Measures;
use super::lost::{self, Lost};
use super::told::{self, Told};

/// Advisories on their way to us at once. They are rare.
const BATCH: usize = 50;
/// Pause before an advisory that could not be dealt with comes again.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(5);

/// How the type of an advisory ends that says that a message was terminated.
const TERMINATED: &str = ".terminated";

/// What the broker says when deliveries ran out or were terminated.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Advisory {
    #[serde(rename = "type")]
    kind: String,
    timestamp: Timestamp,
    stream: String,
    consumer: String,
    stream_seq: u64,
    deliveries: u64,
    reason: Option<String>,
}

pub(super) async fn run(broker: Broker, measures: Measures, shutdown: Shutdown) {
    let mut intake = Intake::of_stream(&broker, ADVISORY_STREAM, ADVISORY_CONSUMER, BATCH);
    // Held while what comes is old.
    let mut told = None;
    loop {
        let delivery = tokio::select! {
            biased;
            () = shutdown.drain() => return,
            delivery = intake.next() => delivery,
        };
        let settled = match serde_json::from_slice(delivery.payload()) {
            Ok(advisory) => match follow(&broker, &measures, &advisory, &mut told).await {
                Ok(()) => delivery.ack().await,
                Err(error) => put_off(delivery, &error).await,
            },
            Err(error) => {
                tracing::warn!(%error, "an advisory of the broker cannot be read");
                delivery.ack().await
            }
        };
        if let Err(error) = settled {
            tracing::warn!(%error, "an advisory was not settled; it comes again");
        }
    }
}

async fn put_off(delivery: Delivery, error: &str) -> Result<(), service_kit::delivery::SettleError> {
    tracing::warn!(error, "an advisory cannot be followed yet");
    delivery.retry(RETRY_AFTER).await
}

/// Dead-letters the message an advisory points at.
async fn follow(
    broker: &Broker,
    measures: &Measures,
    advisory: &Advisory,
    told: &mut Option<Told>,
) -> Result<(), String> {
    if advisory.stream != STREAM {
        return Ok(());
    }
    if told::is_old(advisory.timestamp) {
        told.get_or_insert_default();
    } else {
        *told = None;
    }
    lost::bury(broker, measures, &advisory.lost(), told.as_mut()).await
}

/// The messages of which the broker has said that a consumer ran out of deliveries for them, as far as that is kept.
pub(super) async fn announced(broker: &Broker, consumer: &str) -> Result<HashSet<u64>, String> {
    let subject = format!("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{STREAM}.{consumer}");
    let words = |error: CliError| error.what;
    let mut history =
        History::to_the_present(broker, ADVISORY_STREAM, &[subject.as_str()], 1).await.map_err(words)?;
    let mut announced = HashSet::new();
    while let Some(kept) = history.next().await.map_err(words)? {
        let read = serde_json::from_slice::<Advisory>(&kept.payload);
        announced.extend(read.ok().map(|advisory| advisory.stream_seq));
    }
    Ok(announced)
}

impl Advisory {
    fn lost(&self) -> Lost {
        let (consumer, sequence, noticed) = (&self.consumer, self.stream_seq, self.timestamp);
        if self.kind.ends_with(TERMINATED) {
            Lost::terminated(consumer, sequence, self.deliveries, self.reason.as_deref(), noticed)
        } else {
            Lost::exhausted(consumer, sequence, self.deliveries, noticed)
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::FailureClass;

    use super::*;

    #[test]
    fn an_advisory_of_the_broker_is_understood() {
        let text = |kind: &str, more: &str| {
            format!(
                r#"{{"type":"io.nats.jetstream.advisory.v1.{kind}","id":"x","timestamp":"2026-01-01T00:00:00.123456789Z",
                "stream":"CEREBROS","consumer":"bridge-worker","consumer_seq":9,"stream_seq":7,"deliveries":3{more}}}"#
            )
        };
        let lost = |text: String| serde_json::from_str::<Advisory>(&text).unwrap().lost();
        let exhausted = lost(text("max_deliver", r#","domain":"d""#));
        assert_eq!((exhausted.sequence, exhausted.deliveries), (7, 3));
        assert_eq!(
            (exhausted.failure.class, exhausted.consumer.as_str()),
            (FailureClass::WorkerLost, "bridge-worker")
        );
        let terminated = lost(text("terminated", r#","reason":"no such\nmodel""#));
        assert_eq!(terminated.failure.class, FailureClass::Unknown);
        assert_eq!(terminated.failure.message, "no such model");
        assert!(lost(text("terminated", "")).failure.message.contains("no reason"));
    }
}
