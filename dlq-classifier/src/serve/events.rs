//! The events themselves.

use schemas::codec::DecodeError;
use service_kit::broker::Broker;
use service_kit::delivery::Delivery;
use service_kit::intake::Intake;
use service_kit::shutdown::Shutdown;
use service_kit::topology::CLASSIFIER_CONSUMER;

use super::Measures;

/// Messages on their way to us at once. From 500 up, fetching costs nothing next to decoding; more would only be handed
/// out again after a crash.
const BATCH: usize = 500;

pub(super) async fn run(broker: Broker, measures: Measures, shutdown: Shutdown) {
    let mut intake = Intake::new(&broker, CLASSIFIER_CONSUMER, BATCH);
    loop {
        let delivery = tokio::select! {
            biased;
            () = shutdown.drain() => return,
            delivery = intake.next() => delivery,
        };
        classify(&broker, &measures, delivery).await;
    }
}

async fn classify(broker: &Broker, measures: &Measures, delivery: Delivery) {
    match delivery.decode() {
        Ok(decoded) => {
            measures.valid(decoded.unknown_fields.len());
            delivery.ack_unconfirmed().await;
        }
        Err(error) => reject(broker, measures, delivery, &error).await,
    }
}

async fn reject(broker: &Broker, measures: &Measures, delivery: Delivery, error: &DecodeError) {
    let failure = error.to_failure();
    let (sequence, subject) = (delivery.sequence(), delivery.subject().to_owned());
    match delivery.reject(broker, &failure).await {
        Ok(()) => {
            measures.died(failure.class);
            tracing::info!(
                sequence,
                subject,
                class = failure.class.as_str(),
                "message {sequence} dead-lettered"
            );
        }
        // It comes again when its lease runs out; nothing is lost, and the message id tells a twin.
        Err(error) => tracing::error!(sequence, subject, %error, "message {sequence} not dead-lettered yet"),
    }
}
