//! What no advisory announced: a limit that was lowered under the count of deliveries, advisories that were lost or
//! purged. Now and then the consumers of the event stream, a stranger's as well as ours, are compared with what they
//! were before and with the stream, and what they will never settle is dead-lettered in their names.
//!
//! What was found out is decided in [`standing`], and in [`single`] where each message is handed over once; which messages
//! that means is looked up in [`stranded`] and [`effects`]. A consumer is remembered as dealt with after the letters of all
//! that was found are confirmed, so a sweep that dies in the middle is done again, and its letters are duplicates.

mod account;
mod effects;
mod single;
mod standing;
mod stranded;

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Info};
use futures_util::TryStreamExt as _;
use schemas::Timestamp;
use schemas::subject::STREAM;
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::shutdown::Shutdown;
use service_kit::topology::DLQ_BUCKET;
use tokio::time::MissedTickBehavior;

use super::Measures;
use super::lost::{self, Lost};
use super::notes::{self, Notes};
use super::told::Told;
use standing::{Call, Memory, Reading};
use stranded::{Doubt, Stranded};

/// Consumers looked at in one sweep.
const MAX_CONSUMERS: usize = 1000;

pub(super) async fn run(broker: Broker, measures: Measures, every: Duration, shutdown: Shutdown) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.drain() => return,
        }
        let swept = tokio::select! {
            swept = sweep(&broker, &measures, every) => swept,
            () = shutdown.drain() => return,
        };
        if let Err(error) = swept {
            tracing::debug!(error, "consumers cannot be compared with the stream now");
        }
    }
}

async fn sweep(broker: &Broker, measures: &Measures, every: Duration) -> Result<(), String> {
    let notes = Notes::open(broker, DLQ_BUCKET).await?;
    let stream = broker.jetstream.get_stream_no_info(STREAM).await.map_err(|error| error.to_string())?;
    let mut consumers = stream.consumers();
    for _ in 0..MAX_CONSUMERS {
        let Some(info) = consumers.try_next().await.map_err(|error| error.to_string())? else { break };
        let is_durable = info.config.durable_name.is_some();
        if is_durable && info.config.ack_policy != AckPolicy::None {
            // One that fails keeps nobody from the others.
            if let Err(error) = look_at(broker, measures, &notes, &info, every).await {
                tracing::warn!(consumer = info.name, error, "what a consumer lost cannot be found out yet");
            }
        }
    }
    Ok(())
}

async fn look_at(
    broker: &Broker,
    measures: &Measures,
    notes: &Notes,
    info: &Info,
    every: Duration,
) -> Result<(), String> {
    let key = notes::key("sweep", &info.name);
    let note = notes.read::<Memory>(&key).await?;
    let now = clock::now();
    let reading = reading(info);
    let mut memory = Memory::after(note.said.as_ref(), &info.name, reading.clone(), now.micros());
    memory.acked = info.ack_floor.last_active.map(|at| Timestamp::from(at).micros()).or(memory.acked);
    let settled_after = i64::try_from(every.as_micros()).unwrap_or(i64::MAX) / 2;
    let found = match memory.call(now.micros(), settled_after) {
        Call::Nothing => None,
        Call::Stranded { from, to } => Some(stranded::find(broker, info, &memory, (from, to)).await?),
        Call::Passed { to } => Some(Stranded::surely(effects::missing(broker, &info.name, to).await?)),
    };
    if let Some(found) = found {
        bury(broker, measures, info, &found, now).await?;
        let letters = found.ran_out.iter().chain(&found.doubtful).copied();
        account::account(broker, info, &mut memory, letters, now).await?;
        memory.dealt_with = Some(reading);
    }
    if note.said.as_ref() != Some(&memory) {
        // Somebody else may have been faster; what is remembered then is theirs.
        notes.write(&key, &note, &memory).await?;
    }
    Ok(())
}

fn reading(info: &Info) -> Reading {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    Reading {
        created: Timestamp::from(info.created).micros(),
        max_deliver: info.config.max_deliver,
        floor: info.ack_floor.stream_sequence,
        delivered: info.delivered.stream_sequence,
        ack_pending: count(info.num_ack_pending),
        redelivered: count(info.num_redelivered),
    }
}

/// Writes the letters of all that was found. Done again from the first when it breaks off in the middle.
async fn bury(
    broker: &Broker,
    measures: &Measures,
    info: &Info,
    found: &Stranded,
    now: Timestamp,
) -> Result<(), String> {
    let deliveries = deliveries(info);
    // What it finds may have been found long ago, before the numbers changed.
    let mut told = Told::default();
    for sequence in &found.ran_out {
        let lost = Lost::exhausted(&info.name, *sequence, deliveries, now);
        lost::bury(broker, measures, &lost, Some(&mut told)).await?;
    }
    for sequence in &found.doubtful {
        let lost = match found.doubt {
            Doubt::OneOf { ran_out, of } => {
                Lost::one_of(&info.name, *sequence, deliveries, (ran_out, of), now)
            }
            Doubt::Forgotten => Lost::in_doubt(&info.name, *sequence, now),
        };
        lost::bury(broker, measures, &lost, Some(&mut told)).await?;
    }
    Ok(())
}

/// How often a message that ran out was delivered, as far as the limit tells.
fn deliveries(info: &Info) -> u64 {
    u64::try_from(info.config.max_deliver).unwrap_or(1).max(1)
}
