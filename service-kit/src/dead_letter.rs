//! Giving a message up: the original bytes and headers, with the verdict, into the dead-letter stream.

use std::time::Duration;

use bytes::Bytes;
use schemas::Failure;
use schemas::cloudevents::Headers;
use schemas::dead_letter::{Place, Verdict};

use crate::broker::Broker;
use crate::clock;
use crate::publish::{self, Outgoing, PublishFailure, Published};

/// A dead letter is repeated this long while the broker does not confirm; then the delivery is left to come again.
const PATIENCE: Duration = Duration::from_secs(20);

/// Publishes the dead letter of a message and waits for the confirmation. A second one of the same cause is a
/// duplicate to the broker.
pub async fn publish(
    broker: &Broker,
    place: &Place,
    failure: &Failure,
    headers: &Headers,
    payload: Bytes,
) -> Result<Published, PublishFailure> {
    let verdict = Verdict::new(place, failure, clock::now(), headers);
    let message = Outgoing {
        subject: verdict.kept_on(),
        headers: publish::to_header_map(&verdict.headers(headers, &place.message_id())),
        payload,
    };
    publish::send(broker, &message, PATIENCE).await
}
