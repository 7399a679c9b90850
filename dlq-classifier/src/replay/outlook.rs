//! What the broker knows about the runs of the messages a dry run looks at: the registry, and the trials that are on
//! the stream. Read once for all of them; nothing is written.

use std::collections::{BTreeMap, BTreeSet};

use schemas::subject::STREAM;
use schemas::{Event, Record, RunId, Timestamp};
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::history::History;
use service_kit::registry::{Registry, RunRecord};

use super::prepare::Prepared;
use super::{Effect, Outcome, ReplayResult, World, effect};
use crate::edit::Draft;
use crate::entry::Entry;

pub(super) struct Outlook {
    records: BTreeMap<RunId, RunRecord>,
    /// Run and trial id of the trials on the stream, of the runs we look at.
    trials: BTreeSet<(RunId, String)>,
}

impl Outlook {
    pub(super) async fn read(broker: &Broker, ready: &[(Entry, Prepared)]) -> Result<Self, CliError> {
        let events: Vec<Event> = ready.iter().filter_map(|(_, prepared)| event(&prepared.draft)).collect();
        let runs: BTreeSet<RunId> = events.iter().filter_map(|event| event.run_id().cloned()).collect();
        let mut outlook = Self { records: BTreeMap::new(), trials: BTreeSet::new() };
        if !runs.is_empty() {
            outlook.read_registry(broker, &runs).await?;
        }
        let with_trials: BTreeSet<RunId> = events
            .iter()
            .filter_map(|event| match event {
                Event::TrialReported(trial) => Some(trial.run_id.clone()),
                Event::RunRequested(_)
                | Event::RunCancelRequested(_)
                | Event::RunStarted(_)
                | Event::RunCompleted(_)
                | Event::RunFailed(_)
                | Event::RunCancelled(_)
                | Event::RunInterrupted(_)
                | Event::MlRunStarted(_)
                | Event::MlRunFinalized(_)
                | Event::MetricReported(_)
                | Event::RunException(_) => None,
            })
            .collect();
        if !with_trials.is_empty() {
            outlook.read_trials(broker, &with_trials).await?;
        }
        Ok(outlook)
    }

    async fn read_registry(&mut self, broker: &Broker, runs: &BTreeSet<RunId>) -> Result<(), CliError> {
        let registry = Registry::open(broker).await?;
        for run in runs {
            let held = registry.get(run).await.map_err(|error| {
                CliError::new("registry-unreadable", Exit::Unreachable, "the run registry cannot be read")
                    .because(error)
            })?;
            self.records.extend(held.map(|held| (run.clone(), held.record)));
        }
        Ok(())
    }

    async fn read_trials(&mut self, broker: &Broker, runs: &BTreeSet<RunId>) -> Result<(), CliError> {
        let first = |run| self.records.get(run).map_or(1, |record: &RunRecord| record.first_sequence);
        let from = runs.iter().map(first).min().unwrap_or(1);
        let subject = Record::TrialReported.subject();
        let mut history = History::to_the_present(broker, STREAM, &[subject], from).await?;
        while let Some(kept) = history.next().await? {
            let Ok(decoded) = kept.decode() else { continue };
            if let Event::TrialReported(trial) = decoded.event
                && runs.contains(&trial.run_id)
            {
                self.trials.insert((trial.run_id, trial.trial_id.to_string()));
            }
        }
        Ok(())
    }

    pub(super) fn predict(&self, entry: &Entry, prepared: &Prepared, now: Timestamp) -> ReplayResult {
        let Some(event) = event(&prepared.draft) else {
            return ReplayResult {
                effect: Some("new"),
                ..ReplayResult::new(entry, Outcome::WouldReplay, Some("goes to a subject that is not ours"))
            };
        };
        let is_trial_known = match (&event, event.run_id()) {
            (Event::TrialReported(trial), Some(run)) => {
                self.trials.contains(&(run.clone(), trial.trial_id.to_string()))
            }
            (_, Some(_) | None) => false,
        };
        let world = World { record: event.run_id().and_then(|run| self.records.get(run)), is_trial_known };
        let (name, reason) = match effect(&event, prepared.class, world, now) {
            Effect::New(reason) => ("new", reason),
            Effect::None(reason) => ("none", reason),
            Effect::Unsafe(reason) => ("unsafe", reason),
        };
        ReplayResult { effect: Some(name), ..ReplayResult::new(entry, Outcome::WouldReplay, Some(&reason)) }
    }
}

fn event(draft: &Draft) -> Option<Event> {
    draft.decode().ok().map(|decoded| decoded.event)
}
