//! Whether a run that the registry gives to somebody is in anybody's hands.
//!
//! The broker finds dead workers by their leases, as long as it has the request and has counted its hand-overs. When the
//! request is gone (the stream was purged, or the request grew too old) or its consumer was made anew and counts from 1
//! again, nothing would ever bring the run back. The same holds for one that was reserved for a process of its own. So
//! before a request or a cancel is taken for one without effect, its run's owner is looked for: a worker that trains
//! writes to the registry every two seconds. No clock of another machine is believed. Should the owner come back after
//! all, the fence at the broker keeps its events out. And a replay of the very request a run was claimed with was asked
//! for by somebody who saw it die: there, too, whoever has the run is looked for.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::stream::RawMessageErrorKind;
use schemas::cloudevents::header;
use schemas::lifecycle::RunState;
use schemas::subject::STREAM;
use service_kit::broker::Broker;
use service_kit::registry::{Claim, Held, Registry};

/// Silence in the registry after which nobody is thought to have a run: several times what a worker leaves between two
/// writes, and less than half of the time in which the broker would find out by the lease.
const SILENCE: Duration = Duration::from_secs(12);

/// Whether the run in `held` has lost its owner, now that a claim was answered with `answer`. `is_replay` is said of a replay
/// of the request the run was claimed with.
///
/// # Errors
/// The broker does not answer.
pub(crate) async fn is_gone(
    broker: &Broker,
    registry: &Registry,
    held: &Held,
    answer: Claim,
    is_replay: bool,
) -> Result<bool, String> {
    let record = &held.record;
    let may_be = match answer {
        // The broker has just handed the same request over: nothing else has to bring the run back.
        Claim::Stale => true,
        Claim::Duplicate => is_replay || headers_of(broker, record.request_sequence).await?.is_none(),
        Claim::Granted { .. } | Claim::AlreadyOver | Claim::Cancelled { .. } => false,
    };
    if !may_be {
        return Ok(false);
    }
    if record.state == RunState::Interrupted {
        return Ok(true);
    }
    is_silent(registry, held).await
}

/// Whether a running run, which only its owner can end, has lost it, and no request brings it to another: its request is
/// gone, or was reserved for a process of its own, so that the broker hands it to nobody again.
///
/// # Errors
/// The broker does not answer.
pub(crate) async fn is_lost(broker: &Broker, registry: &Registry, held: &Held) -> Result<bool, String> {
    let headers = headers_of(broker, held.record.request_sequence).await?;
    let comes_again = headers.is_some_and(|headers| headers.get(header::RESERVED).is_none());
    if comes_again { Ok(false) } else { is_silent(registry, held).await }
}

async fn is_silent(registry: &Registry, held: &Held) -> Result<bool, String> {
    let record = &held.record;
    tracing::info!(run = %record.run_id, owner = record.worker_id, "looking for whoever has the run");
    registry.changes_within(held, SILENCE).await.map(|is_alive| !is_alive).map_err(|error| error.to_string())
}

/// The headers of a request; `None` when the stream has it no more.
async fn headers_of(broker: &Broker, sequence: u64) -> Result<Option<HeaderMap>, String> {
    let stream = broker.jetstream.get_stream_no_info(STREAM).await.map_err(|error| error.to_string())?;
    match stream.get_raw_message(sequence).await {
        Ok(message) => Ok(Some(message.headers)),
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}
