//! Progress of a run into the registry, for displays: the latest state, at most a few times a second.

use std::sync::Arc;
use std::time::Duration;

use schemas::{Real, TrialId};
use search::Generation;
use service_kit::registry::{Registry, RegistryError, RunRecord};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::vitals::Vitals;

/// Least time between two writes.
const PERIOD: Duration = Duration::from_millis(250);

/// Where a run stands, as far as displays show it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Progress {
    /// Trials that ended.
    pub(crate) completed: u32,
    /// How many of them failed.
    pub(crate) failed: u32,
    /// Number and objective of the best.
    pub(crate) best: Option<(u64, f64)>,
}

/// The time is written this often even when nothing happens: should the worker be lost, what was used is known.
const LONGEST_SILENCE: Duration = Duration::from_secs(2);
/// Generations told in the terminal event; more are thinned out, so that the event stays within its limit.
const MAX_GENERATIONS: usize = 1000;

/// The course of a search as its terminal event tells it.
pub(crate) fn told(generations: Vec<Generation>) -> serde_json::Value {
    let step = generations.len().div_ceil(MAX_GENERATIONS).max(1);
    let last = generations.len().saturating_sub(1);
    let told = generations.into_iter().enumerate().filter(|(index, _)| index % step == 0 || *index == last);
    let told: Vec<_> = told.map(|(_, generation)| generation).collect();
    serde_json::to_value(told).expect("generations are plain data")
}

/// What is written besides what the supervisor knows.
pub(super) struct Clock {
    /// The children of the run.
    pub(super) vitals: Arc<Vitals>,
    /// When this attempt began.
    pub(super) began: Instant,
    /// What earlier ones have used.
    pub(super) spent: Duration,
}

impl Clock {
    fn active(&self) -> Duration {
        self.spent + self.began.elapsed()
    }

    /// Trials that are in a slot.
    fn training(&self) -> u32 {
        u32::try_from(self.vitals.count()).unwrap_or(u32::MAX)
    }
}

#[derive(Debug, Default, PartialEq)]
struct Written {
    progress: Progress,
    training: u32,
}

/// Writes the progress of one attempt in the background.
pub(crate) struct Reporter {
    latest: watch::Sender<Progress>,
    task: JoinHandle<()>,
}

impl Reporter {
    /// Begins; `silenced` is cancelled when the registry says that another attempt owns the run.
    pub(super) fn start(
        registry: Registry,
        record: RunRecord,
        silenced: CancellationToken,
        clock: Clock,
    ) -> Self {
        let (latest, updates) = watch::channel(Progress::default());
        Self { latest, task: tokio::spawn(write(registry, record, updates, silenced, clock)) }
    }

    /// Notes where the run stands.
    pub(crate) fn tell(&self, progress: Progress) {
        self.latest.send_if_modified(|latest| {
            let is_new = *latest != progress;
            *latest = progress;
            is_new
        });
    }

    /// Stops; the end of the run is written by whoever announces it.
    pub(super) async fn finish(self) {
        drop(self.latest);
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn write(
    registry: Registry,
    record: RunRecord,
    updates: watch::Receiver<Progress>,
    silenced: CancellationToken,
    clock: Clock,
) {
    let (mut written, mut at) = (Written::default(), Instant::now());
    loop {
        // A run that is over at once needs no progress.
        tokio::time::sleep(PERIOD).await;
        let now = Written { progress: updates.borrow().clone(), training: clock.training() };
        if now == written && at.elapsed() < LONGEST_SILENCE {
            continue;
        }
        let active = clock.active();
        let apply = |known: Option<&RunRecord>| match known {
            Some(known) if known.attempt == record.attempt => (Some(applied(known, &now, active)), true),
            Some(_) | None => (None, false),
        };
        match registry.change(&record.run_id, apply).await {
            Ok((_, true)) => (written, at) = (now, Instant::now()),
            Ok((_, false)) => return silenced.cancel(),
            Err(error @ (RegistryError::Stale(_) | RegistryError::Unavailable(_))) => {
                tracing::debug!(run = %record.run_id, %error, "progress not written");
            }
        }
    }
}

fn applied(known: &RunRecord, written: &Written, active: Duration) -> RunRecord {
    let progress = &written.progress;
    RunRecord {
        completed_trials: progress.completed,
        failed_trials: progress.failed,
        running_trials: written.training,
        active_ms: u64::try_from(active.as_millis()).unwrap_or(u64::MAX),
        best_metric: progress.best.map(|(_, objective)| Real(objective)),
        best_trial_id: progress.best.map(|(number, _)| TrialId::numbered(&known.run_id, number).to_string()),
        ..known.clone()
    }
}
