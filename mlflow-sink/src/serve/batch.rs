//! One batch of one run: written, then settled.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use schemas::{Failure, FailureClass, RunId, Stage};
use service_kit::delivery::Delivery;

use super::Sink;
use super::intake::Held;
use crate::fence::Fence;
use crate::projection::Seen;
use crate::writer::Fate;

/// What became of a batch.
pub(super) struct Batch {
    pub(super) run: RunId,
    pub(super) end: End,
}

/// How a batch ended.
pub(super) enum End {
    /// These sequences are not in hand any more.
    Settled(Vec<u64>),
    /// MLflow cannot be used, in these words: these have to be written again.
    Stopped(Vec<Held>, String),
    /// The lease was lost: whoever has it now writes these.
    Lost(Vec<Held>),
    /// A fault of ours: these have to be written again, which concerns this run alone.
    Fault(Vec<Held>),
}

/// Writes a batch and settles its deliveries; `is_stuck`: its run has failed again and again.
pub(super) async fn write(
    sink: Arc<Sink>,
    fence: Fence,
    run: RunId,
    held: Vec<Held>,
    is_stuck: bool,
) -> Batch {
    let (began, pass) = (Instant::now(), sink.gate.pass());
    // What can be read once can be read again.
    let (held, seen): (Vec<Held>, Vec<Seen>) =
        held.into_iter().filter_map(|held| held.seen().ok().map(|seen| (held, seen))).unzip();
    // The events outlive a panic: they stay in hand, in their order, and are tried again.
    let written = fence.during(AssertUnwindSafe(sink.writer.write(&run, &seen)).catch_unwind()).await;
    let Some(written) = written else { return Batch { run, end: End::Lost(held) } };
    let end = match written {
        Ok(Ok(fates)) => {
            sink.gate.written(pass);
            sink.numbers.batch_seconds.observe(began.elapsed().as_secs_f64());
            tracing::debug!(%run, events = seen.len(), ms = began.elapsed().as_millis(), "batch written");
            let settled = held.iter().map(|held| held.delivery.sequence()).collect();
            let each =
                held.into_iter().zip(fates).map(|(held, fate)| settle(&sink, &run, held.delivery, fate));
            join_all(each).await;
            End::Settled(settled)
        }
        Ok(Err(stopped)) => {
            sink.gate.failed(&stopped, is_stuck);
            sink.numbers.events.inc_by("postponed", seen.len() as u64);
            End::Stopped(held, stopped.reason)
        }
        Err(_) => {
            tracing::error!(%run, events = seen.len(), "a batch ended in a fault of ours and is tried again");
            sink.numbers.events.inc_by("postponed", seen.len() as u64);
            End::Fault(held)
        }
    };
    Batch { run, end }
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
