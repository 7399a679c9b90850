//! What is RUNNING in MLflow although it is over: found now and then, and closed.
//!
//! The end of a run can be missing from the stream: its worker wrote the run registry and was gone before it could say
//! so, or the event was refused. Then nothing would ever end the run in MLflow. The registry knows better.
//!
//! What not even the registry knows is [`super::forgotten`]'s.
//!
//! Invariants:
//! - one run that cannot be closed keeps no other from being closed;
//! - a run of which events may still be under way to us is left alone: they say more than the registry does;
//! - batches do not write while a run is closed here, so that a run that is begun again meanwhile stays begun.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use schemas::RunId;
use schemas::lifecycle::RunState;
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::registry::RunRecord;
use tokio::sync::watch;

use super::outcome::stopped_by_us;
use super::{Stopped, Trouble, Writer};
use crate::client::content::Standing;
use crate::client::error::{ClientError, Scope};
use crate::client::pages::Page;
use crate::client::{FoundRun, PAGE_EXPERIMENTS};
use crate::fence::Terms;
use crate::projection::left::Over;
use crate::projection::{Closing, RunStatus, Writes, millis, parent, trial};
use crate::unsettled::{self, Reach};

/// Time between two sweeps.
const PERIOD: Duration = Duration::from_secs(300);

/// Time before one that could not be finished is tried again.
const SOON: Duration = Duration::from_secs(20);

/// Most runs of a kind that are looked at in one sweep.
const MAX_SWEPT: usize = 20_000;

/// Whether the registry could say how a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Swept {
    Known,
    Unknown,
}

/// Sweeps at the start and every [`PERIOD`], while it is said that it may: MLflow can be used, and it is ours to write.
/// When the lease ends, so does a sweep, wherever it is.
pub(crate) async fn sweep_now_and_then(
    writer: Arc<Writer>,
    broker: Broker,
    mut may_sweep: watch::Receiver<bool>,
    lease: Terms,
) {
    loop {
        if may_sweep.wait_for(|may_sweep| *may_sweep).await.is_err() {
            // Whoever says it is gone, and with it the sink: whoever awaits us ends with it.
            return std::future::pending().await;
        }
        let swept = match lease.fence() {
            Some(fence) => fence.during(writer.sweep(&broker)).await,
            None => None,
        };
        let mut pause = PERIOD;
        if let Some(Err(trouble)) = &swept {
            tracing::info!(?trouble, "what is over and still RUNNING in MLflow is looked for later");
            pause = SOON;
        } else if swept.is_none() {
            pause = SOON;
        }
        tokio::time::sleep(pause).await;
    }
}

impl Writer {
    /// Sweeps once, now.
    pub(crate) async fn sweep_once(&self, broker: &Broker) -> Result<(), super::Stopped> {
        match self.sweep(broker).await {
            Ok(()) => Ok(()),
            Err(Trouble::Stopped(stopped)) => Err(stopped),
            Err(Trouble::Vanished(words) | Trouble::Raced(words) | Trouble::Refused(words)) => {
                tracing::warn!(words, "MLflow did not let a sweep finish");
                Ok(())
            }
        }
    }

    /// Closes the runs that are over by the run registry, and the trials whose run is over in MLflow.
    async fn sweep(&self, broker: &Broker) -> Result<(), Trouble> {
        self.server().await?;
        self.ledger.drop_old(clock::now())?;
        let experiments = self.client.experiments().await?;
        let mut unknown = Vec::new();
        for some in experiments.chunks(PAGE_EXPERIMENTS as usize) {
            for found in self.all_running(some, parent::KIND).await? {
                if left_out(self.sweep_run(broker, &found).await, &found)? == Some(Swept::Unknown) {
                    unknown.push(found);
                }
            }
            let trials = self.all_running(some, trial::KIND).await?;
            let mut parents = BTreeSet::new();
            for found in &trials {
                let parent = found.tags.get(trial::PARENT_TAG);
                if let Some(parent) = parent.filter(|parent| parents.insert((*parent).clone())) {
                    left_out(self.sweep_trials(broker, parent, found).await, found)?;
                }
            }
        }
        self.close_forgotten(broker, unknown).await?;
        Ok(self.ledger.flush().await?)
    }

    /// The first so many that are RUNNING, with nothing but the tags that are looked at here.
    async fn all_running(&self, experiments: &[String], kind: &str) -> Result<Vec<FoundRun>, Trouble> {
        let (mut all, mut page) = (Vec::new(), Page::first());
        loop {
            let (found, next) = self.client.running(experiments, (parent::KIND_TAG, kind), page).await?;
            all.extend(found.into_iter().map(|mut found| {
                found.metrics.clear();
                found.tags.retain(|tag, _| [parent::RUN_TAG, trial::PARENT_TAG].contains(&tag.as_str()));
                found
            }));
            match next {
                Some(next) if all.len() < MAX_SWEPT => page = next,
                Some(_) | None => return Ok(all),
            }
        }
    }

    async fn sweep_run(&self, broker: &Broker, found: &FoundRun) -> Result<Swept, Trouble> {
        let Some(run) = run_of(found) else { return Ok(Swept::Known) };
        let _alone = self.sweeping.write().await;
        let position = position(broker).await?;
        let Some(record) = self.registry.get(&run).await?.map(|held| held.record) else {
            return Ok(Swept::Unknown);
        };
        let Some((writes, over)) = over(&record).filter(|_| position.is_behind(&record)) else {
            return Ok(Swept::Known);
        };
        tracing::warn!(%run, state = record.state.as_str(), "a run that is over was still RUNNING in MLflow and is closed");
        self.client.write(&found.run_id, writes).await?;
        let closing = Closing { status: over.status, end_time: over.end_time, name: None };
        self.client.close(&found.run_id, &closing).await?;
        self.close_leftovers(&run, (&found.run_id, &found.experiment_id), &over).await?;
        Ok(Swept::Known)
    }

    /// Closes the trials of a parent that is over; `found` is one of them.
    async fn sweep_trials(&self, broker: &Broker, parent: &str, found: &FoundRun) -> Result<(), Trouble> {
        let Some(run) = run_of(found) else { return Ok(()) };
        let _alone = self.sweeping.write().await;
        let position = position(broker).await?;
        // A run the registry does not know may be that of another broker, whose sink is writing it.
        let Some(record) = self.registry.get(&run).await?.map(|held| held.record) else { return Ok(()) };
        let Some((_, by_registry)) = over(&record).filter(|_| position.is_behind(&record)) else {
            return Ok(());
        };
        let over = match self.client.standing(parent).await {
            Ok(standing) if !standing.is_deleted => as_it_stands(&standing),
            // Nothing ends a parent that is gone or deleted: how its run ended only the registry knows.
            Ok(_) | Err(ClientError::Missing { .. }) => Some(by_registry),
            Err(error) => return Err(error.into()),
        };
        let Some(over) = over else { return Ok(()) };
        self.close_leftovers(&run, (parent, &found.experiment_id), &over).await
    }
}

/// What came of one run; `None` when it was left out, because it alone cannot be closed: the others are.
pub(super) fn left_out<T>(swept: Result<T, Trouble>, found: &FoundRun) -> Result<Option<T>, Trouble> {
    let words = match swept {
        Ok(swept) => return Ok(Some(swept)),
        Err(Trouble::Stopped(Stopped { reason, scope: Scope::Lane, .. })) => reason,
        Err(stopped @ Trouble::Stopped(_)) => return Err(stopped),
        Err(Trouble::Vanished(words) | Trouble::Raced(words) | Trouble::Refused(words)) => words,
    };
    let run = found.tags.get(parent::RUN_TAG);
    tracing::warn!(run, mlflow_run = found.run_id, words, "MLflow did not let a run be closed that is over");
    Ok(None)
}

/// How a run ended that is over in MLflow.
fn as_it_stands(standing: &Standing) -> Option<Over> {
    let status = match standing.status.as_str() {
        "FINISHED" => RunStatus::Finished,
        "KILLED" => RunStatus::Killed,
        "FAILED" => RunStatus::Failed,
        _ => return None,
    };
    Some(Over {
        attempt: standing.tags.get(parent::ATTEMPT_TAG).and_then(|attempt| attempt.parse().ok()),
        status,
        end_time: standing.end_time.unwrap_or(0),
        reason: standing.tags.get(parent::REASON_TAG).cloned(),
    })
}

fn run_of(found: &FoundRun) -> Option<RunId> {
    RunId::parse(found.tags.get(parent::RUN_TAG)?).ok()
}

pub(super) async fn position(broker: &Broker) -> Result<Reach, Trouble> {
    unsettled::reach(broker).await.map_err(|reason| Trouble::Stopped(stopped_by_us(&reason)))
}

/// What the registry says of the end of a run; `None` while it goes on.
pub(crate) fn over(record: &RunRecord) -> Option<(Writes, Over)> {
    let status = match record.state {
        RunState::Completed => RunStatus::Finished,
        RunState::Failed => RunStatus::Failed,
        RunState::Cancelled => RunStatus::Killed,
        RunState::Requested | RunState::Running | RunState::Interrupted => return None,
    };
    let mut writes = Writes::default();
    writes.tag(parent::STATE_TAG, record.state.as_str());
    writes.tag(parent::ATTEMPT_TAG, record.attempt.to_string());
    writes.tag("cerebros.completed_trials", record.completed_trials.to_string());
    if let Some(failure) = &record.failure {
        parent::failed(&mut writes, failure);
    }
    let reason = record.cancel_requested.clone().filter(|_| status == RunStatus::Killed);
    writes.tag_some(parent::REASON_TAG, reason.as_ref());
    let ended_by = record.ended_by.as_ref().filter(|_| status == RunStatus::Finished);
    writes.tag_some("cerebros.ended_by", ended_by);
    let end = record.ended_at.or(record.started_at).unwrap_or(record.requested_at);
    Some((writes, Over { attempt: Some(record.attempt), status, end_time: millis(end), reason }))
}

#[cfg(test)]
mod tests {
    use schemas::{Failure, FailureClass, Stage, Timestamp};
    use serde_json::json;

    use super::*;

    fn record(state: &str) -> RunRecord {
        serde_json::from_value(json!({
            "run_id": "r", "state": state, "attempt": 2, "dataset_id": "d", "objective": "o", "budget": {}, "spec": {},
            "request_sequence": 1, "first_sequence": 1, "last_sequence": 9, "worker_id": null,
            "requested_at": Timestamp::from_micros(1_000), "ended_at": Timestamp::from_micros(5_000_000),
        }))
        .unwrap()
    }

    #[test]
    fn the_registry_decides_how_a_run_that_never_said_its_end_has_ended() {
        let mut failed = record("failed");
        failed.failure = Some(Failure::new(FailureClass::Oom, Stage::Execute, "no memory left"));
        let (writes, told) = over(&failed).unwrap();
        assert_eq!((told.status, told.end_time, told.attempt), (RunStatus::Failed, 5_000, Some(2)));
        assert_eq!(writes.tags["cerebros.failure.class"], "oom");
        let mut cancelled = record("cancelled");
        cancelled.cancel_requested = Some("enough".into());
        let (writes, told) = over(&cancelled).unwrap();
        assert_eq!((told.status, writes.tags["cerebros.reason"].as_str()), (RunStatus::Killed, "enough"));
        assert_eq!(over(&record("completed")).unwrap().1.status, RunStatus::Finished);
        for goes_on in ["requested", "running", "interrupted"] {
            assert_eq!(over(&record(goes_on)), None);
        }
    }
}
