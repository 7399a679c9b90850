//! A worker and everything its runs share.

use std::sync::Arc;

use schemas::lifecycle::RunState;
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::config::Gates;
use service_kit::publish::Publisher;
use service_kit::registry::{Held, Registry, RegistryError, RunRecord};

use crate::artifacts::Artifacts;
use crate::gauges::Gauges;
use crate::plan::Allowed;
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
    /// Where trials are trained.
    pub slots: Arc<Slots>,
    /// Where their files go.
    pub artifacts: Artifacts,
    /// Directories for trials to work in.
    pub workdirs: Arc<Workdirs>,
    /// Code requests may name.
    pub allowed: Allowed,
    /// Gates that must be open.
    pub gates: Gates,
    /// What is counted.
    pub gauges: Gauges,
}

impl Worker {
    /// Writes the end of an attempt into the registry, unless another attempt owns the run. A registry that does not
    /// answer is not waited for: the stream has the end, and the next claim finds it there.
    pub(crate) async fn record_end(
        &self,
        held: &Held,
        state: RunState,
        fill: impl Fn(RunRecord) -> RunRecord,
    ) {
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
                (Some(fill(ended)), ())
            }
            Some(_) | None => (None, ()),
        };
        match self.registry.change_from(&held.record.run_id, Some(held.clone()), change).await {
            Ok(_) => {}
            Err(error @ (RegistryError::Stale(_) | RegistryError::Unavailable(_))) => {
                tracing::warn!(run = %held.record.run_id, %error, "the end of the run is on the stream but not in the registry");
            }
        }
    }
}
