//! What a delivery is to the sink.

use schemas::cloudevents::header;
use schemas::codec::DecodeError;
use schemas::{Record, RunId, Timestamp};
use service_kit::delivery::Delivery;

use crate::lanes::Load;
use crate::projection::Seen;

/// Room for what an event has besides its payload: subject, the usual headers, our own bookkeeping.
const OVERHEAD_BYTES: usize = 1024;
/// What a trial's report costs MLflow, in values: calls of its own. With it a batch of reports takes some seconds.
const REPORT_WEIGHT: usize = 4;

/// An event in hand, as the broker handed it over: it is decoded when it is written, not while it waits.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) delivery: Delivery,
    bytes: usize,
}

/// A delivery, sorted.
pub(super) enum Taken {
    /// An event of a run that belongs into MLflow.
    Event(RunId, Box<Held>),
    /// Nothing for MLflow.
    NotOurs(Box<Delivery>),
    /// Nothing this sink can read.
    Unread(Box<Delivery>, DecodeError),
}

pub(super) fn sort(delivery: Delivery) -> Taken {
    // Anybody may publish, with as many headers as fit into a message.
    let bytes = delivery.payload().len() + delivery.headers_bytes().max(OVERHEAD_BYTES);
    let held = Held { delivery, bytes };
    match held.seen().map(|seen| seen.run().cloned()) {
        Ok(Some(run)) => Taken::Event(run, Box::new(held)),
        Ok(None) => Taken::NotOurs(Box::new(held.delivery)),
        Err(error) => Taken::Unread(Box::new(held.delivery), error),
    }
}

impl Held {
    /// The event and when it happened.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) fn seen(&self) -> Result<Seen, DecodeError> {
        Ok(Seen {
            event: self.delivery.decode()?.event,
            at: time_of(&self.delivery),
            schema: self.delivery.headers().get("ce-dataschema").map(str::to_owned),
            attempt: self.delivery.headers().get(header::ATTEMPT).and_then(|attempt| attempt.parse().ok()),
            sequence: self.delivery.sequence(),
        })
    }
}

impl Load for Held {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn sequence(&self) -> u64 {
        self.delivery.sequence()
    }

    fn weight(&self) -> usize {
        if self.delivery.subject() == Record::MetricReported.subject() { 1 } else { REPORT_WEIGHT }
    }
}

/// When the publisher says it happened, which survives a replay; else when the stream took it in.
fn time_of(delivery: &Delivery) -> Timestamp {
    let said = delivery.headers().get("ce-time").and_then(|text| Timestamp::parse(text).ok());
    said.unwrap_or_else(|| delivery.published())
}
