//! One batch of one run: written, then settled.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use schemas::{Failure, FailureClass, RunId, Stage};
use service_kit::delivery::Delivery;

use super::Sink;
use crate::projection::Seen;
use crate::writer::{Fate, Stopped};

/// An event in hand.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) seen: Seen,
    pub(crate) delivery: Delivery,
}

/// What became of a batch.
pub(super) struct Batch {
    pub(super) run: RunId,
    /// Sequences that are not in hand any more.
    pub(super) settled: Vec<u64>,
    /// What has to be written again.
    pub(super) postponed: Vec<Held>,
    /// Why it has to be.
    pub(super) stopped: Option<Stopped>,
}

/// Writes a batch and settles its deliveries.
pub(super) async fn write(sink: Arc<Sink>, run: RunId, held: Vec<Held>) -> Batch {
    let (began, pass) = (Instant::now(), sink.gate.pass());
    let (seen, deliveries): (Vec<Seen>, Vec<Delivery>) =
        held.into_iter().map(|held| (held.seen, held.delivery)).unzip();
    let written = sink.writer.write(&run, &seen).await;
    match written {
        Ok(fates) => {
            sink.gate.written(pass);
            sink.numbers.batch_seconds.observe(began.elapsed().as_secs_f64());
            tracing::debug!(%run, events = seen.len(), ms = began.elapsed().as_millis(), "batch written");
            let settled = deliveries.iter().map(Delivery::sequence).collect();
            join_all(
                deliveries.into_iter().zip(fates).map(|(delivery, fate)| settle(&sink, &run, delivery, fate)),
            )
            .await;
            Batch { run, settled, postponed: Vec::new(), stopped: None }
        }
        Err(stopped) => {
            sink.gate.failed(&stopped);
            sink.numbers.events.inc_by("postponed", seen.len() as u64);
            let postponed =
                seen.into_iter().zip(deliveries).map(|(seen, delivery)| Held { seen, delivery }).collect();
            Batch { run, settled: Vec::new(), postponed, stopped: Some(stopped) }
        }
    }
}

/// An ack that is not confirmed is no harm: the event comes again and is found written.
async fn settle(sink: &Sink, run: &RunId, delivery: Delivery, fate: Fate) {
    let sequence = delivery.sequence();
    let settled = match fate {
        Fate::Written => {
            sink.numbers.events.inc("written");
            delivery.ack().await
        }
        Fate::Refused(words) => {
            sink.numbers.events.inc("refused");
            tracing::warn!(%run, sequence, words, "MLflow refused an event; it becomes a dead letter");
            let failure = Failure::new(FailureClass::SinkRefused, Stage::Sink, words);
            delivery.reject(&sink.broker, &failure).await
        }
    };
    if let Err(error) = settled {
        tracing::warn!(%run, sequence, %error, "delivery not settled; it comes again");
    }
}
