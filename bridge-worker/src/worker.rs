//! A worker and everything its runs share.

use std::sync::Arc;

use schemas::lifecycle::RunState;
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::config::Gates;
use service_kit::publish::Publisher;
use service_kit::registry::{Held, Registry, RegistryError, RunRecord};
use tokio_util::sync::CancellationToken;

use crate::artifacts::Artifacts;
use crate::cache::ResultCache;
use crate::datasets::Datasets;
use crate::fault::Faults;
use crate::fitness::Fitness;
use crate::gauges::Gauges;
use crate::in_hand::InHand;
use crate::invoker::Invoker;
use crate::plan::Allowed;
use crate::retry::RetryPolicy;
use crate::slots::Slots;
use crate::workdir::Workdirs;

/// A worker and everything its runs share.
pub struct Worker {
    /// Who we are in events.
    pub id: Arc<str>,
    /// The broker.
    pub broker: Broker,
    /// Publishes our events.
    pub publisher: Publisher,
    /// The run registry.
    pub registry: Registry,
    /// How Python is called.
    pub invoker: Arc<Invoker>,
    /// Where trials are trained.
    pub slots: Arc<Slots>,
    /// Where their files go.
    pub artifacts: Artifacts,
    /// Where data sets are found.
    pub datasets: Datasets,
    /// What equal trials came to.
    pub cache: Option<Arc<ResultCache>>,
    /// Directories for trials to work in.
    pub workdirs: Arc<Workdirs>,
    /// Which requests are in hand, for whoever is started after us.
    pub in_hand: Arc<InHand>,
    /// How often what was not a trial's own fault is tried again.
    pub retries: RetryPolicy,
    /// Code requests may name.
    pub allowed: Allowed,
    /// Whether trials can be trained here.
    pub fitness: Arc<Fitness>,
    /// Cancelled when the worker has no more time to wait for a broker that does not answer.
    pub last_word: CancellationToken,
    /// Gates that must be open.
    pub gates: Gates,
    /// What is counted.
    pub gauges: Gauges,
    /// Faults a test wants; none in service.
    pub faults: Faults,
}

impl Worker {
    /// Lets go of everything when no run is in hand any more: the children end, and what was said and kept has arrived.
    pub(crate) async fn close(&self) {
        self.slots.close().await;
        self.broker.flush().await;
        self.close_cache().await;
    }

    /// Has the results on the disk; what was trained is worth that also when the broker is gone.
    pub(crate) async fn close_cache(&self) {
        if let Some(cache) = &self.cache {
            cache.close().await;
        }
    }

    /// Writes the end of an attempt into the registry. False when another attempt owns the run.
    ///
    /// # Errors
    /// The registry does not answer. The stream has the end; the next attempt finds it there.
    pub(crate) async fn record_end(
        &self,
        held: &Held,
        state: RunState,
        fill: impl Fn(RunRecord) -> RunRecord,
    ) -> Result<bool, RegistryError> {
        let change = |known: Option<&RunRecord>| match known {
            Some(known) if known.attempt == held.record.attempt => {
                let ended = RunRecord {
                    state,
                    ended_at: state.is_final().then(clock::now),
                    running_trials: 0,
                    failures: known.failures + u32::from(state == RunState::Failed),
                    interruptions: known.interruptions + u32::from(state == RunState::Interrupted),
                    ..known.clone()
                };
                (Some(fill(ended)), true)
            }
            Some(_) | None => (None, false),
        };
        match self.registry.change_from(&held.record.run_id, Some(held.clone()), change).await {
            Ok((_, is_ours)) => Ok(is_ours),
            Err(error @ RegistryError::Stale(_)) => {
                tracing::warn!(run = %held.record.run_id, %error, "the end of the run is not ours to write");
                Ok(false)
            }
            Err(error @ RegistryError::Unavailable(_)) => Err(error),
        }
    }
}
