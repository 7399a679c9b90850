//! The events of the stream through the writer once more, without the consumer: in order for each run, several runs at
//! once.
//!
//! Invariants:
//! - only behind the fence of the lease: once that has ended nothing is written, not even what was begun;
//! - an outage pauses, as long as nothing is answered; a run that MLflow does not take although it takes others is given up after
//!   a while, and said;
//! - bounded as the service is: so many events and bytes in hand, whatever the stream holds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use schemas::cloudevents::header;
use schemas::subject::STREAM;
use schemas::{RunId, Timestamp};
use serde::Serialize;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::history::{History, Kept};
use service_kit::output::{self, Row};
use service_kit::topology::{MAX_MESSAGE_BYTES, SINK_SUBJECTS};
use tokio::task::JoinSet;

use crate::client::error::Scope;
use crate::fence::Fence;
use crate::gate::luck;
use crate::lanes::{Lanes, Load, pause};
use crate::progress::Progress;
use crate::projection::Seen;
use crate::serve::leader::lease_lost;
use crate::target::stopped;
use crate::writer::{Fate, Stopped, Writer};

/// Runs written at once.
const MAX_BATCHES: usize = 4;
/// Room for what an event has besides its payload.
const OVERHEAD_BYTES: usize = 1024;
/// Least room to read on: a message of the largest size must fit.
const LEAST_ROOM: usize = 2 * MAX_MESSAGE_BYTES as usize;
/// Tries of a batch MLflow takes badly while it takes others.
const MAX_TRIES: u32 = 12;

/// The event of a message and when it happened; `None` when it cannot be read.
pub(crate) fn seen(kept: &Kept) -> Option<Seen> {
    let decoded = kept.decode().ok()?;
    let said = kept.headers.get("ce-time").and_then(|text| Timestamp::parse(text).ok());
    Some(Seen {
        event: decoded.event,
        at: said.unwrap_or(kept.time),
        schema: kept.headers.get("ce-dataschema").map(str::to_owned),
        attempt: kept.headers.get(header::ATTEMPT).and_then(|attempt| attempt.parse().ok()),
        sequence: kept.sequence,
    })
}

/// An event MLflow did not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Refusal {
    pub(crate) run: RunId,
    /// Its sequence in the stream.
    pub(crate) sequence: u64,
    /// MLflow's words.
    pub(crate) reason: String,
}

impl Row for Refusal {
    fn headings() -> &'static [&'static str] {
        &["run", "sequence", "reason"]
    }

    fn cells(&self) -> Vec<String> {
        vec![self.run.to_string(), self.sequence.to_string(), self.reason.clone()]
    }
}

/// What a replay came to.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) events: u64,
    pub(crate) runs: BTreeSet<RunId>,
    pub(crate) refusals: Vec<Refusal>,
}

struct Item {
    seen: Seen,
    bytes: usize,
}

impl Load for Item {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn sequence(&self) -> u64 {
        self.seen.sequence
    }
}

/// Writes what the stream holds from sequence `from` on, of these runs, or of all. Itself behind the same fence.
pub(crate) async fn replay(
    broker: &Broker,
    writer: &Arc<Writer>,
    fence: &Fence,
    from: u64,
    only: Option<&BTreeSet<RunId>>,
    progress: &Progress,
) -> Result<Told, CliError> {
    let mut history = History::to_the_present(broker, STREAM, &SINK_SUBJECTS, from).await?;
    let (mut lanes, mut running, mut told) = (Lanes::<Item>::default(), JoinSet::new(), Told::default());
    let mut is_read = false;
    loop {
        while running.len() < MAX_BATCHES
            && let Some((run, items)) = lanes.take(Instant::now())
        {
            // Its own tasks go on by themselves, whatever holds up the one that waits for them.
            let (fence, work) = (fence.clone(), write(Arc::clone(writer), run, items));
            running.spawn(async move { fence.during(work).await });
        }
        let (messages, bytes) = lanes.room();
        let may_read = !is_read && messages > 0 && bytes >= LEAST_ROOM;
        if !may_read && running.is_empty() {
            return Ok(told);
        }
        tokio::select! {
            Some(done) = running.join_next() => {
                let written = done.map_err(|error| CliError::internal(error.to_string()))?;
                let (run, count, refusals) = written.ok_or_else(lease_lost)?;
                lanes.settle(&run);
                told.events += count;
                told.refusals.extend(refusals);
                progress.say(|| format!("{} events of {} runs written", told.events, told.runs.len()));
            }
            kept = history.next(), if may_read => match kept? {
                None => is_read = true,
                Some(kept) => {
                    let Some(seen) = seen(&kept) else { continue };
                    let Some(run) = seen.run().cloned() else { continue };
                    if only.is_none_or(|only| only.contains(&run)) {
                        let bytes = kept.payload.len() + OVERHEAD_BYTES;
                        // Nothing is ever put back here, so that no lane is full.
                        if lanes.push(&run, Item { seen, bytes }, Instant::now()).is_err() {
                            return Err(CliError::internal("an event found no room in its lane"));
                        }
                        told.runs.insert(run);
                    }
                }
            },
        }
    }
}

async fn write(writer: Arc<Writer>, run: RunId, items: Vec<Item>) -> (RunId, u64, Vec<Refusal>) {
    let seen: Vec<Seen> = items.into_iter().map(|item| item.seen).collect();
    let refused =
        |place: usize, reason: String| Refusal { run: run.clone(), sequence: seen[place].sequence, reason };
    let mut patience = Patience::default();
    let fates = loop {
        match writer.write(&run, &seen).await {
            Ok(fates) => break fates,
            Err(stopped) => {
                if let Err(stopped) = patience.wait(stopped, &writer).await {
                    break vec![Fate::Refused(stopped.reason); seen.len()];
                }
            }
        }
    };
    let refusals = fates.into_iter().enumerate().filter_map(|(place, fate)| match fate {
        Fate::Written => None,
        Fate::Refused(reason) => Some(refused(place, reason)),
    });
    let refusals = refusals.collect();
    let count = seen.len() as u64;
    (run, count, refusals)
}

/// Waits between tries: out an outage, however long it takes; not for ever for what alone does not succeed.
#[derive(Debug, Default)]
struct Patience {
    tries: u32,
    tries_of_its_own: u32,
}

impl Patience {
    async fn wait(&mut self, stopped: Stopped, writer: &Writer) -> Result<(), Stopped> {
        if self.tries == 0 && stopped.scope == Scope::All {
            output::note(format!("waiting for MLflow: {}", stopped.reason));
        }
        self.tries += 1;
        tokio::time::sleep(stopped.pause.max(pause(self.tries, luck()))).await;
        // What looks like an outage and is none: MLflow answers, and does not do this.
        let is_its_own = stopped.scope != Scope::All || writer.is_answered().await;
        if self.is_exhausted(is_its_own) {
            let reason = format!("given up after {MAX_TRIES} tries: {}", stopped.reason);
            return Err(Stopped { reason, ..stopped });
        }
        Ok(())
    }

    /// True after the last try of what alone does not succeed.
    fn is_exhausted(&mut self, is_its_own: bool) -> bool {
        self.tries_of_its_own += u32::from(is_its_own);
        self.tries_of_its_own >= MAX_TRIES
    }
}

/// Closes what is RUNNING although it is over, as the service does now and then.
pub(crate) async fn sweep(writer: &Writer, broker: &Broker) -> Result<(), CliError> {
    let mut patience = Patience::default();
    while let Err(reason) = writer.sweep_once(broker).await {
        patience.wait(reason, writer).await.map_err(|reason| stopped(&reason))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_waited_out_and_what_alone_does_not_succeed_is_given_up() {
        let mut patience = Patience::default();
        for _ in 0..10 * MAX_TRIES {
            assert!(!patience.is_exhausted(false));
        }
        let tries = (1..).find(|_| patience.is_exhausted(true));
        assert_eq!(tries, Some(MAX_TRIES));
    }
}
