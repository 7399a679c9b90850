//! What a delivery is to the sink.

use schemas::{RunId, Timestamp};
use service_kit::delivery::Delivery;

use super::batch::Held;
use crate::projection::Seen;

/// A delivery, sorted.
pub(super) enum Taken {
    /// An event of a run that belongs into MLflow.
    Event(RunId, Box<Held>),
    /// Nothing for MLflow, or nothing anybody can read; the latter is the classifier's to report.
    NotOurs(Box<Delivery>),
}

pub(super) fn sort(delivery: Delivery) -> Taken {
    let event = match delivery.decode() {
        Ok(decoded) => decoded.event,
        Err(error) => {
            tracing::debug!(sequence = delivery.sequence(), %error, "left to the classifier");
            return Taken::NotOurs(Box::new(delivery));
        }
    };
    let schema = delivery.headers().get("ce-dataschema").map(str::to_owned);
    let seen = Seen { event, at: time_of(&delivery), schema, sequence: delivery.sequence() };
    match seen.run().cloned() {
        Some(run) => Taken::Event(run, Box::new(Held { seen, delivery })),
        None => Taken::NotOurs(Box::new(delivery)),
    }
}

/// When the publisher says it happened, which survives a replay; else when the stream took it in.
fn time_of(delivery: &Delivery) -> Timestamp {
    let said = delivery.headers().get("ce-time").and_then(|text| Timestamp::parse(text).ok());
    said.unwrap_or_else(|| delivery.published())
}
