//! Deliveries that ran out: the consumer died on its last delivery, or never settled. The broker says so in an
//! advisory, which is only a pointer; the message is fetched by its sequence and dead-lettered as `worker_lost`.
//!
//! Terminated messages are not looked at: whoever terminates one has published its dead letter before. A dead letter of
//! the same consumer for the same message has the same message id, so one cause makes one entry.

use schemas::dead_letter::Place;
use schemas::subject::{ADVISORY_STREAM, STREAM};
use schemas::{Failure, FailureClass, Stage};
use serde::Deserialize;
use service_kit::broker::Broker;
use service_kit::delivery::Delivery;
use service_kit::intake::Intake;
use service_kit::shutdown::Shutdown;
use service_kit::topology::ADVISORY_CONSUMER;
use service_kit::{dead_letter, history};

use super::Measures;

/// Advisories on their way to us at once. They are rare.
const BATCH: usize = 50;
/// Pause before an advisory that could not be dealt with comes again.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(5);

/// What the broker says when deliveries ran out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct MaxDeliveries {
    stream: String,
    consumer: String,
    stream_seq: u64,
    deliveries: u64,
}

pub(super) async fn run(broker: Broker, measures: Measures, shutdown: Shutdown) {
    let mut intake = Intake::of_stream(&broker, ADVISORY_STREAM, ADVISORY_CONSUMER, BATCH);
    loop {
        let delivery = tokio::select! {
            biased;
            () = shutdown.drain() => return,
            delivery = intake.next() => delivery,
        };
        let settled = match serde_json::from_slice(delivery.payload()) {
            Ok(advisory) => match follow(&broker, &measures, &advisory).await {
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
async fn follow(broker: &Broker, measures: &Measures, advisory: &MaxDeliveries) -> Result<(), String> {
    if advisory.stream != STREAM {
        return Ok(());
    }
    let (sequence, consumer) = (advisory.stream_seq, advisory.consumer.as_str());
    let kept = history::at(broker, STREAM, sequence).await.map_err(|error| error.to_string())?;
    let Some(kept) = kept else {
        measures.gone();
        tracing::warn!(
            sequence,
            consumer,
            "message {sequence} ran out of deliveries and is gone from the stream"
        );
        return Ok(());
    };
    let deliveries = advisory.deliveries;
    let failure = Failure::new(
        FailureClass::WorkerLost,
        Stage::Execute,
        format!("consumer {consumer} was handed the message {deliveries} times and never settled it"),
    );
    let place = Place {
        stream: advisory.stream.clone(),
        sequence,
        consumer: advisory.consumer.clone(),
        subject: kept.subject.clone(),
        deliveries,
        first_seen: kept.time,
    };
    let published = dead_letter::publish(broker, &place, &failure, &kept.headers, kept.payload).await;
    let published = published.map_err(|error| error.to_string())?;
    if !published.is_duplicate {
        measures.given_up(failure.class);
        tracing::info!(
            sequence,
            consumer,
            deliveries,
            "message {sequence} ran out of deliveries, dead-lettered"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advisory_of_the_broker_is_understood() {
        let text = r#"{"type":"io.nats.jetstream.advisory.v1.max_deliver","id":"x","timestamp":"2026-01-01T00:00:00Z",
            "stream":"CEREBROS","consumer":"bridge-worker","stream_seq":7,"deliveries":3,"domain":"d"}"#;
        let read: MaxDeliveries = serde_json::from_str(text).unwrap();
        assert_eq!((read.stream_seq, read.deliveries, read.consumer.as_str()), (7, 3, "bridge-worker"));
    }
}
