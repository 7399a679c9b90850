//! Which requests had no effect though they were handed out: the run registry tells.

use schemas::cloudevents::header;
use schemas::subject::STREAM;
use schemas::{Event, Record, RunId};
use service_kit::broker::Broker;
use service_kit::history::{History, Kept};
use service_kit::registry::{Registry, RunRecord};
use service_kit::topology::{CANCEL_CONSUMER, WORKER_CONSUMER};

/// True for a consumer whose effects the registry knows.
pub(super) fn are_known(consumer: &str) -> bool {
    taken_by(consumer).is_some()
}

fn taken_by(consumer: &str) -> Option<Record> {
    match consumer {
        WORKER_CONSUMER => Some(Record::RunRequested),
        CANCEL_CONSUMER => Some(Record::RunCancelRequested),
        _ => None,
    }
}

/// The messages up to `to` that had no effect, where a consumer is one of ours whose effects the registry knows. Asked
/// only while nobody has any of them in hand.
pub(super) async fn missing(broker: &Broker, consumer: &str, to: u64) -> Result<Vec<u64>, String> {
    let Some(record) = taken_by(consumer) else { return Ok(Vec::new()) };
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let registry = Registry::open(broker).await.map_err(|error| words(&error.what))?;
    let history = History::to_the_present(broker, STREAM, &[record.subject()], 1).await;
    let mut history = history.map_err(|error| words(&error.what))?;
    let mut missing = Vec::new();
    while let Some(kept) = history.next().await.map_err(|error| words(&error.what))? {
        if kept.sequence > to {
            break;
        }
        // What cannot be read is a dead letter already, whoever read it.
        let Ok(decoded) = kept.decode() else { continue };
        let run = decoded.event.run_id().cloned().unwrap_or_else(|| derived(&kept));
        let known = registry.get(&run).await.map_err(|error| words(&error))?;
        if !had_effect(&decoded.event, &kept, known.as_ref().map(|held| &held.record)) {
            missing.push(kept.sequence);
        }
    }
    Ok(missing)
}

fn derived(kept: &Kept) -> RunId {
    RunId::derive(STREAM, kept.sequence, u64::try_from(kept.time.millis()).unwrap_or(0))
}

/// Whether the registry shows that somebody has acted on a request that nobody has in hand. A run that was begun by this
/// very request and is not over was left by whoever had it.
fn had_effect(event: &Event, kept: &Kept, known: Option<&RunRecord>) -> bool {
    if matches!(event, Event::RunCancelRequested(_)) {
        return known.is_some_and(|known| known.cancel_requested.is_some() || known.state.is_final());
    }
    if kept.headers.get(header::RESERVED).is_some() {
        return true;
    }
    known.is_some_and(|known| {
        let is_served_by_another = known.request_sequence > 0 && known.request_sequence != kept.sequence;
        is_served_by_another || known.state.is_final()
    })
}
