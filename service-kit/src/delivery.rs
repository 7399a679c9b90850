//! One hand-over of a message by the broker, and the duty that comes with it.
//!
//! A delivery is consumed by [`Delivery::ack`], [`Delivery::retry`] or [`Delivery::reject`]. One that is dropped is
//! redelivered when its lease runs out, and the drop is logged.

mod lazy;
mod lease;
mod settle;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use bytes::Bytes;
use schemas::cloudevents::Headers;
use schemas::codec::{DecodeError, Decoded, Foreign, Glance};
use schemas::dead_letter::Place;
use schemas::{RunId, Timestamp};

pub use lease::Lease;
pub use settle::{SettleError, give_back};

use crate::broker::Broker;
use crate::schema_registry::{self, Unavailable};
use lazy::{Standing, Unsorted};

/// One hand-over of a message by the broker.
#[must_use = "a delivery has to be settled: ack, retry or reject"]
#[derive(Debug)]
pub struct Delivery {
    message: jetstream::Message,
    headers: Unsorted,
    place: Standing,
    schema: Option<Arc<Foreign>>,
    ack_wait: Duration,
    is_settled: bool,
}

impl Delivery {
    /// Takes a message of a consumer; `None` for one that carries no delivery facts (never sent by a broker).
    /// `ack_wait` is how long the consumer waits before it hands a message over again.
    pub(crate) fn new(mut message: jetstream::Message, ack_wait: Duration) -> Option<Self> {
        let place = Standing::of(&message)?;
        let headers = Unsorted::new(message.message.headers.take());
        Some(Self { message, headers, place, schema: None, ack_wait, is_settled: false })
    }

    /// Where the message stands.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Subject it came on.
    pub fn subject(&self) -> &str {
        &self.message.subject
    }

    /// Its sequence in the stream.
    pub fn sequence(&self) -> u64 {
        self.place.stream_sequence()
    }

    /// When the stream took it in.
    pub fn published(&self) -> Timestamp {
        self.place.published()
    }

    /// Its headers.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Memory its headers take up, about.
    pub fn headers_bytes(&self) -> usize {
        self.headers.bytes()
    }

    /// Its payload.
    pub fn payload(&self) -> &Bytes {
        &self.message.payload
    }

    /// Looks up the schema it was written with, where this build was not made with it.
    pub(crate) async fn find_schema(&mut self, broker: &Broker) -> Result<(), Unavailable> {
        self.schema = schema_registry::resolve(broker, &self.headers, &self.message.payload).await?;
        Ok(())
    }

    /// Reads the event.
    pub fn decode(&self) -> Result<Decoded, DecodeError> {
        let schema = self.schema.as_deref();
        // Nearly every message is valid, and told so without a copy of its headers. Of one that is not the reason must
        // not depend on the order in which the client holds them.
        schemas::codec::decode_with(self.subject(), &self.headers, self.payload(), schema).or_else(|_| {
            let sorted: &Headers = &self.headers;
            schemas::codec::decode_with(self.subject(), sorted, self.payload(), schema)
        })
    }

    /// Looks at the event without reading it; see [`schemas::codec::glance`].
    pub fn glance(&self) -> Option<Glance<'_>> {
        schemas::codec::glance(self.subject(), &self.headers, self.payload())
    }

    /// The run id a request without one gets: the same for every reader of this message.
    pub fn derived_run_id(&self) -> RunId {
        self.place.derived_run()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.is_settled {
            tracing::warn!(
                sequence = self.place.sequence,
                consumer = self.place.consumer,
                "delivery was not settled; the broker hands it over again"
            );
        }
    }
}
