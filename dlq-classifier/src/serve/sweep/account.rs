//! Accounts for what a consumer gave up once everything that was found of it is a dead letter. What the broker counts
//! beyond the letters and its own advisories is a loss nobody can name: it is written down for the audit.

use std::collections::HashSet;

use async_nats::jetstream::consumer::Info;
use schemas::dead_letter::Verdict;
use schemas::subject::{ADVISORY_STREAM, DLQ_STREAM, STREAM};
use schemas::{FailureClass, Timestamp};
use serde::Deserialize;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::history::{Depth, Scan};

use super::standing::Memory;

/// `found`: what has just been dead-lettered.
pub(super) async fn account(
    broker: &Broker,
    info: &Info,
    memory: &mut Memory,
    found: impl Iterator<Item = u64>,
    now: Timestamp,
) -> Result<(), String> {
    let since = memory.reading.created;
    let (redelivered, through) = (memory.reading.redelivered, memory.reading.delivered);
    if memory.given_up.is_behind(redelivered) {
        let above = memory.given_up.through;
        let mut named: HashSet<u64> = found.filter(|sequence| *sequence > above).collect();
        announced(broker, info, above, &mut named).await.map_err(|error| error.what)?;
        if redelivered - memory.given_up.accounted > named.len() as u64 {
            lettered(broker, info, above, &mut named).await.map_err(|error| error.what)?;
        }
        let losses = memory.given_up.losses.clone();
        memory.given_up.account(redelivered, through, (named.len() as u64, since), now);
        if memory.given_up.losses != losses {
            let consumer = info.name.as_str();
            tracing::warn!(
                consumer,
                above,
                through,
                "messages ran out of deliveries, and nobody can tell which"
            );
        }
    } else {
        memory.given_up.account(redelivered, through, (0, since), now);
    }
    Ok(())
}

/// What the broker has said of this consumer, and not of an earlier one of its name.
async fn announced(
    broker: &Broker,
    info: &Info,
    above: u64,
    named: &mut HashSet<u64>,
) -> Result<(), CliError> {
    #[derive(Deserialize)]
    struct Said {
        stream_seq: u64,
    }
    let filter = format!("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{STREAM}.{}", info.name);
    let mut scan = Scan::open(broker, ADVISORY_STREAM, &[filter], (1, u64::MAX), Depth::Whole).await?;
    while let Some(message) = scan.next().await? {
        let Ok(said) = serde_json::from_slice::<Said>(message.payload()) else { continue };
        if said.stream_seq > above && message.time >= info.created.into() {
            named.insert(said.stream_seq);
        }
    }
    Ok(())
}

/// The letters of what it gave up.
async fn lettered(
    broker: &Broker,
    info: &Info,
    above: u64,
    named: &mut HashSet<u64>,
) -> Result<(), CliError> {
    let mut scan = Scan::open(broker, DLQ_STREAM, &[], (1, u64::MAX), Depth::Headers).await?;
    while let Some(letter) = scan.next().await? {
        let Some(verdict) = Verdict::find(letter.headers()) else { continue };
        let is_meant = verdict.stream == STREAM && verdict.consumer == info.name && verdict.sequence > above;
        let is_given_up = verdict.cause.unwrap_or(verdict.class) == FailureClass::WorkerLost;
        if is_meant && is_given_up && verdict.seen >= info.created.into() {
            named.insert(verdict.sequence);
        }
    }
    Ok(())
}
