//! What no advisory announced: a limit that was lowered under the count of deliveries, advisories that were lost or
//! purged. Now and then the consumers of the event stream, a stranger's as well as ours, are compared with what they
//! were before and with the stream, and what they will never settle is dead-lettered in their names.
//!
//! What was found out is decided in [`standing`], and in [`single`] where each message is handed over once. A consumer is remembered as dealt with after the letters of all that
//! was found are confirmed, so a sweep that dies in the middle is done again, and its letters are duplicates.

mod effects;
mod single;
mod standing;

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Info};
use futures_util::TryStreamExt as _;
use schemas::Timestamp;
use schemas::subject::STREAM;
use service_kit::broker::Broker;
use service_kit::shutdown::Shutdown;
use service_kit::topology::DLQ_BUCKET;
use service_kit::{clock, history};
use tokio::time::MissedTickBehavior;

use super::Measures;
use super::advisory;
use super::lost::{self, Lost};
use super::notes::{self, Notes};
use single::Known;
use standing::{Call, Extent, Memory, Reading};

/// Consumers looked at in one sweep.
const MAX_CONSUMERS: usize = 1000;
/// Stranded messages of one consumer dealt with in one sweep; more are found by the next.
const MAX_STRANDED: u64 = 1000;

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
    let lost = match memory.call(now.micros(), settled_after) {
        Call::Nothing => None,
        Call::Stranded { from, to } => Some(stranded(broker, info, &memory, (from, to), now).await?),
        Call::Passed { to } => Some(without_effect(broker, info, to, now).await?),
    };
    if let Some(lost) = lost {
        for lost in &lost {
            lost::bury(broker, measures, lost).await?;
        }
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

/// What ran out above the floor.
async fn stranded(
    broker: &Broker,
    info: &Info,
    memory: &Memory,
    range: (u64, u64),
    now: Timestamp,
) -> Result<Vec<Lost>, String> {
    // One more than twice as many as ran out tells all there is to tell, where they are counted.
    let enough = memory.reading.redelivered.saturating_mul(2).saturating_add(2);
    let enough = if single::is_single(info) { MAX_STRANDED } else { enough.min(MAX_STRANDED) };
    let mut found = taken_in(broker, info, range, enough).await?;
    let (before, first) = (found.len() as u64, found.first().copied());
    if memory.extent(before, 0) != Extent::All {
        // What the broker has said is a dead letter already, or becomes one.
        let announced = advisory::announced(broker, &info.name).await?;
        found.retain(|sequence| !announced.contains(sequence));
    }
    let announced = before - found.len() as u64;
    let deliveries = deliveries(info);
    let ran_out = |sequence: &u64| Lost::exhausted(&info.name, *sequence, deliveries, now);
    let of = found.len() as u64;
    match memory.extent(of, announced) {
        Extent::Nothing | Extent::First if single::is_single(info) && !effects::are_known(&info.name) => {
            let acked = single::last_ack(broker, info, memory.acked, range).await?;
            let lost = |sequence: &u64| match single::known(*sequence, first, acked) {
                Known::RanOut => Some(ran_out(sequence)),
                Known::Doubtful => Some(Lost::in_doubt(&info.name, *sequence, now)),
                Known::Nothing => None,
            };
            Ok(found.iter().filter_map(lost).collect())
        }
        Extent::All => Ok(found.iter().map(ran_out).collect()),
        Extent::Some { ran_out } => {
            let one_of = |sequence: &u64| Lost::one_of(&info.name, *sequence, deliveries, (ran_out, of), now);
            Ok(found.iter().map(one_of).collect())
        }
        Extent::Nothing => Ok(Vec::new()),
        // Of our own consumers more is known.
        Extent::First => {
            let mut lost: Vec<_> = found.iter().take(1).map(ran_out).collect();
            let more = without_effect(broker, info, range.1, now).await?;
            lost.extend(more.into_iter().filter(|lost| Some(&lost.sequence) != found.first()));
            Ok(lost)
        }
    }
}

/// The messages in a range that a consumer takes in, `enough` of them at most.
async fn taken_in(
    broker: &Broker,
    info: &Info,
    (from, to): (u64, u64),
    enough: u64,
) -> Result<Vec<u64>, String> {
    let one = std::slice::from_ref(&info.config.filter_subject);
    let filters = if info.config.filter_subjects.is_empty() { one } else { &info.config.filter_subjects };
    let (mut found, mut next) = (Vec::new(), from);
    while next <= to && (found.len() as u64) < enough {
        let mut nearest = None;
        for filter in filters {
            let at =
                history::next_on(broker, STREAM, filter, next).await.map_err(|error| error.to_string())?;
            nearest = [nearest, at].into_iter().flatten().min();
        }
        let Some(sequence) = nearest.filter(|sequence| *sequence <= to) else { break };
        found.push(sequence);
        next = sequence + 1;
    }
    Ok(found)
}

/// What our own consumers were handed and did not act on.
async fn without_effect(broker: &Broker, info: &Info, to: u64, now: Timestamp) -> Result<Vec<Lost>, String> {
    let missing = effects::missing(broker, &info.name, to).await?;
    let deliveries = deliveries(info);
    Ok(missing.into_iter().map(|sequence| Lost::exhausted(&info.name, sequence, deliveries, now)).collect())
}

/// How often a message that ran out was delivered, as far as the limit tells.
fn deliveries(info: &Info) -> u64 {
    u64::try_from(info.config.max_deliver).unwrap_or(1).max(1)
}
