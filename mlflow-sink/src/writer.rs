//! The outside edge: writes the events of one run into MLflow, once.
//!
//! A batch is written as a whole or not at all as far as the broker is concerned: an outage in the middle leaves every
//! event unsettled, and the next try finds out what arrived. A refusal concerns one event; the others of its batch
//! are written.
//!
//! Order inside a batch: what the run itself says (its start, its end) is written where it stands among the events, so
//! that the end of one attempt comes before the start of the next. What the trials say between two of these is written
//! together, several trials at once, and then the curve of the best so far.

mod birth;
mod curve;
mod doubts;
mod leftovers;
mod model;
mod parent;
pub(crate) mod sweep;
mod trial;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use schemas::{Event, RunId, TrialId};
use service_kit::births::Births;
use service_kit::broker::Broker;
use service_kit::registry::{Registry, RegistryError};
use tokio::sync::RwLock;

use crate::client::error::{ClientError, Disposition, Scope};
use crate::client::{Client, MAX_CONNECTIONS};
use crate::ledger::record::Parent;
use crate::ledger::{Ledger, LedgerError};
use crate::projection::steps::Steps;
use crate::projection::{Point, Seen};

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// MLflow has it.
    Written,
    /// MLflow will never take it: its words.
    Refused(String),
}

/// Nothing can be written now; nobody's event is at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// Why.
    pub reason: String,
    /// Least time to leave the server alone.
    pub pause: Duration,
    /// Whom it concerns.
    pub scope: Scope,
}

/// Why a write did not happen.
#[derive(Debug)]
enum Trouble {
    Stopped(Stopped),
    /// What the ledger remembers is not there any more.
    Vanished(String),
    Refused(String),
}

/// Writes events into one MLflow.
#[derive(Debug)]
pub struct Writer {
    client: Arc<Client>,
    ledger: Ledger,
    registry: Registry,
    births: Births,
    /// Name of this sink.
    sink: String,
    /// Runs of which a second one may turn up.
    doubts: std::sync::Mutex<doubts::Doubts>,
    /// Which server it is, once it was asked.
    server: tokio::sync::Mutex<Option<String>>,
    /// Experiment of runs that name none.
    experiment: String,
    /// URL of the dashboard the notes lead to.
    dashboard: Option<String>,
    /// Where the files of models are fetched.
    models: Option<Broker>,
    /// Held by batches to read and by a sweep to write: a sweep closes a run while nothing else is written.
    sweeping: RwLock<()>,
}

impl Writer {
    /// A writer of everything that comes; runs that name no experiment go into `experiment`.
    /// `sink` is the name of this sink in the births it announces.
    pub fn new(
        client: Arc<Client>,
        ledger: Ledger,
        registry: Registry,
        births: Births,
        sink: String,
        experiment: String,
    ) -> Self {
        Self {
            client,
            ledger,
            registry,
            births,
            sink,
            server: tokio::sync::Mutex::default(),
            doubts: std::sync::Mutex::default(),
            experiment,
            dashboard: None,
            models: None,
            sweeping: RwLock::default(),
        }
    }

    /// The same, with notes that lead to a dashboard.
    #[must_use]
    pub fn with_dashboard(self, url: Option<String>) -> Self {
        Self { dashboard: url, ..self }
    }

    /// The same, with the files of models from the object store of a broker.
    #[must_use]
    pub fn with_models(self, broker: Broker) -> Self {
        Self { models: Some(broker), ..self }
    }

    /// Writes the events of one run, in order, and says of each what became of it.
    pub async fn write(&self, run: &RunId, events: &[Seen]) -> Result<Vec<Fate>, Stopped> {
        let _not_swept = self.sweeping.read().await;
        let words = match self.write_batch(run, events).await {
            Ok(fates) => return Ok(fates),
            Err(Trouble::Stopped(stopped)) => return Err(stopped),
            Err(Trouble::Refused(words)) => words,
            Err(Trouble::Vanished(words)) => {
                tracing::warn!(
                    %run, words,
                    "MLflow has no more what was written to it: it was wiped, or another server stands at this address. \
                     The run is looked up again, and created anew from the events that still come; to have those \
                     written that came before: `mlflow-sink check --repair`"
                );
                self.ledger.forget(run).map_err(stopped_by_disk)?;
                // It may be another server by now.
                *self.server.lock().await = None;
                match self.write_batch(run, events).await {
                    Ok(fates) => return Ok(fates),
                    Err(Trouble::Stopped(stopped)) => return Err(stopped),
                    Err(Trouble::Vanished(words) | Trouble::Refused(words)) => words,
                }
            }
        };
        Ok(events.iter().map(|_| Fate::Refused(words.clone())).collect())
    }

    async fn write_batch(&self, run: &RunId, events: &[Seen]) -> Result<Vec<Fate>, Trouble> {
        let Some(first) = events.first() else { return Ok(Vec::new()) };
        let mut parent = self.parent(run, first, events).await?;
        self.open(run, &mut parent, events).await?;
        let mut fates = Vec::with_capacity(events.len());
        for part in in_order(events) {
            match part {
                Part::Trials(events) => fates.extend(self.write_part(run, &mut parent, events).await?),
                Part::Run(seen) => fates.push(self.write_word(run, &mut parent, seen).await?),
            }
        }
        self.sweep_at_the_end(run, events).await?;
        parent.is_open = false;
        self.link(run, &mut parent).await;
        self.ledger.put_parent(run, &parent)?;
        self.ledger.flush().await?;
        Ok(fates)
    }

    /// Writes what the run itself says.
    async fn write_word(&self, run: &RunId, parent: &mut Parent, seen: &Seen) -> Result<Fate, Trouble> {
        settled(match &seen.event {
            Event::MlRunStarted(started) => self.write_start(parent, started, seen).await,
            Event::RunCompleted(_)
            | Event::RunFailed(_)
            | Event::RunCancelled(_)
            | Event::MlRunFinalized(_)
            | Event::RunRequested(_)
            | Event::RunCancelRequested(_)
            | Event::RunStarted(_)
            | Event::RunInterrupted(_)
            | Event::TrialReported(_)
            | Event::MetricReported(_)
            | Event::RunException(_) => self.write_end(run, parent, seen).await,
        })
    }

    /// Writes what trials say, and what it does to the curve.
    async fn write_part(
        &self,
        run: &RunId,
        parent: &mut Parent,
        events: &[Seen],
    ) -> Result<Vec<Fate>, Trouble> {
        let missed = settled(self.draw_missed(parent, events).await)?;
        let mut fates = vec![Fate::Written; events.len()];
        for (index, fate) in self.write_trials(run, parent, events).await? {
            fates[index] = fate;
        }
        let drawn = match missed {
            Fate::Written => settled(self.draw_curve(parent, events.iter().zip(&fates)).await)?,
            refused @ Fate::Refused(_) => refused,
        };
        if let Fate::Refused(words) = drawn {
            // The trials themselves are written: none of them is to blame.
            tracing::warn!(%run, words, "MLflow refused the curve of the best so far");
        }
        Ok(fates)
    }

    /// Marks what is about to be written, so that a crash in the middle is noticed.
    async fn open(&self, run: &RunId, parent: &mut Parent, events: &[Seen]) -> Result<(), Trouble> {
        self.ledger.put_parent(run, &Parent { is_open: true, ..parent.clone() })?;
        for trial in by_trial(events).keys() {
            if let Some(mut child) = self.ledger.child(run, trial)? {
                child.is_open = true;
                self.ledger.put_child(run, trial, &child)?;
            }
        }
        self.ledger.flush().await?;
        Ok(())
    }

    /// Writes the trials of a batch, as many at once as MLflow serves.
    async fn write_trials(
        &self,
        run: &RunId,
        parent: &Parent,
        events: &[Seen],
    ) -> Result<Vec<(usize, Fate)>, Trouble> {
        let mut trials = Vec::new();
        for (trial, events) in by_trial(events) {
            trials.push(self.write_trial(run, parent, trial, events));
        }
        // After an outage nothing more is begun, but what is under way is awaited: a dropped request may still arrive.
        let (mut waiting, mut going, mut outcomes) =
            (trials.into_iter(), FuturesUnordered::new(), Vec::new());
        let mut is_stopped = false;
        loop {
            if !is_stopped {
                going.extend(waiting.by_ref().take(MAX_CONNECTIONS - going.len()));
            }
            let Some(outcome) = going.next().await else { break };
            is_stopped |= matches!(outcome, Err(Trouble::Stopped(_)));
            outcomes.push(outcome);
        }
        let mut fates = Vec::with_capacity(events.len());
        for outcome in outcomes {
            fates.extend(outcome?);
        }
        Ok(fates)
    }

    /// Tells the run registry which MLflow run it is. Not knowing it hurts nobody, so a failure is tried again with the
    /// next batch and never stops one.
    async fn link(&self, run: &RunId, parent: &mut Parent) {
        if parent.is_linked {
            return;
        }
        let id = parent.mlflow_id.clone();
        let changed = self.registry.change(run, |record| {
            let next = record.filter(|record| record.mlflow_run_id.as_ref() != Some(&id)).cloned();
            (
                next.map(|record| service_kit::registry::RunRecord {
                    mlflow_run_id: Some(id.clone()),
                    ..record
                }),
                (),
            )
        });
        match changed.await {
            Ok(_) => parent.is_linked = true,
            Err(error) => tracing::warn!(%run, %error, "the run registry does not know the MLflow run yet"),
        }
    }

    /// Makes sure that it is known what a metric has, asking the server where the ledger does not know.
    async fn know(
        &self,
        mlflow_id: &str,
        steps: &mut Steps,
        key: &str,
        ended_at: Option<i64>,
    ) -> Result<(), Trouble> {
        if !steps.must_be_asked(key) {
            return Ok(());
        }
        let history = self.client.history(mlflow_id, key).await?;
        steps.learn(key, history.into_iter().map(|point| point.into_point(key)), ended_at);
        Ok(())
    }

    /// The final values that are not written yet, each behind the last value of its metric.
    async fn finals(
        &self,
        mlflow_id: &str,
        steps: &mut Steps,
        finals: BTreeMap<String, f64>,
        at: i64,
    ) -> Result<Vec<Point>, Trouble> {
        let mut points = Vec::new();
        for (key, value) in finals {
            self.know(mlflow_id, steps, &key, Some(at)).await?;
            points.extend(steps.finish(key, value, at));
        }
        Ok(points)
    }
}

/// Events in the order they are written in.
#[derive(Debug)]
enum Part<'a> {
    /// What trials say, with nothing of the run between them.
    Trials(&'a [Seen]),
    /// What the run itself says.
    Run(&'a Seen),
}

fn in_order(events: &[Seen]) -> impl Iterator<Item = Part<'_>> {
    events.chunk_by(|one, next| [one, next].iter().all(|seen| trial_of(&seen.event).is_some())).map(|part| {
        match part {
            [seen] if trial_of(&seen.event).is_none() => Part::Run(seen),
            trials => Part::Trials(trials),
        }
    })
}

/// The events of each trial with their places in the batch, in order.
fn by_trial(events: &[Seen]) -> BTreeMap<&TrialId, Vec<(usize, &Seen)>> {
    let mut trials: BTreeMap<&TrialId, Vec<(usize, &Seen)>> = BTreeMap::new();
    for (index, seen) in events.iter().enumerate() {
        if let Some(trial) = trial_of(&seen.event) {
            trials.entry(trial).or_default().push((index, seen));
        }
    }
    trials
}

fn trial_of(event: &Event) -> Option<&TrialId> {
    match event {
        Event::TrialReported(event) => Some(&event.trial_id),
        Event::MetricReported(event) => Some(&event.trial_id),
        Event::RunRequested(_)
        | Event::RunCancelRequested(_)
        | Event::RunStarted(_)
        | Event::RunCompleted(_)
        | Event::RunFailed(_)
        | Event::RunCancelled(_)
        | Event::RunInterrupted(_)
        | Event::MlRunStarted(_)
        | Event::MlRunFinalized(_)
        | Event::RunException(_) => None,
    }
}

/// A refusal is the end of one event; anything else is the batch's.
fn settled(written: Result<(), Trouble>) -> Result<Fate, Trouble> {
    match written {
        Ok(()) => Ok(Fate::Written),
        Err(Trouble::Refused(words)) => Ok(Fate::Refused(words)),
        Err(other) => Err(other),
    }
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        match error.disposition() {
            Disposition::Wait(pause, scope) => {
                Self::Stopped(Stopped { reason: error.to_string(), pause, scope })
            }
            Disposition::LookUp => Self::Vanished(error.to_string()),
            Disposition::Refuse => Self::Refused(error.to_string()),
        }
    }
}

impl From<LedgerError> for Trouble {
    fn from(error: LedgerError) -> Self {
        Self::Stopped(stopped_by_disk(error))
    }
}

impl From<RegistryError> for Trouble {
    fn from(error: RegistryError) -> Self {
        Self::Stopped(Stopped { reason: error.to_string(), pause: Duration::ZERO, scope: Scope::Lane })
    }
}

fn stopped_by_disk(error: LedgerError) -> Stopped {
    Stopped { reason: error.to_string(), pause: Duration::from_secs(1), scope: Scope::Lane }
}
