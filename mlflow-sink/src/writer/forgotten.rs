//! Runs that are RUNNING in MLflow and that nobody knows any more: the run registry has dropped them, or never had them,
//! and the stream has none of their events. Nothing will ever end them, so the sweep does.
//!
//! Invariants:
//! - only runs this broker's sinks made (their births say so) are closed: others are those of another pipeline;
//! - never while an event may be under way to us, and only after the whole stream was read without a word of the run;
//! - the stream is read seldom, and only when there is such a run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use schemas::cloudevents::header;
use schemas::subject::STREAM;
use schemas::{Failure, FailureClass, RunId, Stage};
use service_kit::births::{Birth, run_key};
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::history::{History, Kept};

use super::outcome::stopped_by_us;
use super::sweep::{left_out, position};
use super::{Trouble, Writer};
use crate::client::FoundRun;
use crate::projection::left::Over;
use crate::projection::{Closing, RunStatus, Writes, millis, parent};

/// Time between two readings of the stream.
const READ_EVERY: Duration = Duration::from_secs(6 * 3600);
/// What is said of such a run.
const WORDS: &str = "nothing is known of this run any more: neither the run registry nor the stream has it";

impl Writer {
    /// Closes those of these runs, which the registry does not know, that the stream does not know either.
    pub(super) async fn close_forgotten(&self, broker: &Broker, runs: Vec<FoundRun>) -> Result<(), Trouble> {
        let is_early = {
            let read_at = self.stream_read_at.lock().await;
            read_at.is_some_and(|read_at: Instant| read_at.elapsed() < READ_EVERY)
        };
        let mut unheard = Unheard::default();
        if !is_early {
            for found in runs {
                if let Some(run) = self.made_here(&found).await? {
                    unheard.runs.insert(run, found);
                }
            }
        }
        let reach = position(broker).await?;
        unheard.runs.retain(|run, _| reach.is_done_with(run));
        if unheard.runs.is_empty() {
            return Ok(());
        }
        unheard.listen(broker).await.map_err(|error| Trouble::Stopped(stopped_by_us(&error)))?;
        *self.stream_read_at.lock().await = Some(Instant::now());
        for run in unheard.runs.keys().cloned().collect::<Vec<_>>() {
            let _alone = self.sweeping.write().await;
            // What came since.
            unheard.listen(broker).await.map_err(|error| Trouble::Stopped(stopped_by_us(&error)))?;
            let is_unknown =
                self.registry.get(&run).await?.is_none() && position(broker).await?.is_done_with(&run);
            if let Some(found) = unheard.runs.get(&run).filter(|_| is_unknown) {
                left_out(self.close_unknown(&run, found).await, found)?;
            }
        }
        Ok(())
    }

    /// The run of an MLflow run, when its birth says that it is the one this broker's sinks use.
    async fn made_here(&self, found: &FoundRun) -> Result<Option<RunId>, Trouble> {
        let Some(run) = found.tags.get(parent::RUN_TAG).and_then(|run| RunId::parse(run).ok()) else {
            return Ok(None);
        };
        let birth = self.births.get(&run_key(&self.server().await?, &run)).await?.0;
        let is_ours = matches!(birth, Some(Birth::Made { id, .. }) if id == found.run_id);
        Ok(is_ours.then_some(run))
    }

    async fn close_unknown(&self, run: &RunId, found: &FoundRun) -> Result<(), Trouble> {
        tracing::warn!(%run, mlflow_run = found.run_id, "a run nobody knows any more was still RUNNING in MLflow and is closed");
        let mut writes = Writes::default();
        parent::failed(&mut writes, &Failure::new(FailureClass::Unknown, Stage::Execute, WORDS));
        self.client.write(&found.run_id, writes).await?;
        // No event says when it ended; what is known is when that was found out.
        let over =
            Over { attempt: None, status: RunStatus::Failed, end_time: millis(clock::now()), reason: None };
        let closing = Closing { status: over.status, end_time: over.end_time, name: None };
        self.client.close(&found.run_id, &closing).await?;
        self.close_leftovers(run, (&found.run_id, &found.experiment_id), &over).await
    }
}

/// Runs of which the stream has said nothing so far.
#[derive(Debug, Default)]
struct Unheard {
    runs: BTreeMap<RunId, FoundRun>,
    /// Everything up to this sequence was read.
    read: u64,
}

impl Unheard {
    /// Reads on to the present, as long as there is a run to be heard of.
    async fn listen(&mut self, broker: &Broker) -> Result<(), CliError> {
        let mut events = History::to_the_present(broker, STREAM, &[], self.read + 1).await?;
        while !self.runs.is_empty()
            && let Some(kept) = events.next().await?
        {
            self.read = kept.sequence;
            if let Some(run) = run_of(&kept) {
                self.runs.remove(&run);
            }
        }
        Ok(())
    }
}

/// The run of an event, by its header, else by what it says.
fn run_of(kept: &Kept) -> Option<RunId> {
    match kept.headers.get(header::RUN_ID) {
        Some(run) => RunId::parse(run).ok(),
        None => kept.decode().ok()?.event.run_id().cloned(),
    }
}
