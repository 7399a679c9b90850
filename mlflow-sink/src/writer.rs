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
pub mod experiment;
mod forgotten;
mod leftovers;
mod link;
mod logged_model;
mod model;
mod originals;
mod parent;
pub(crate) mod sweep;
mod trial;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use schemas::{Event, RunId, TrialId};
use service_kit::births::Births;
use service_kit::broker::Broker;
use service_kit::mlflow::page::Pages;
use service_kit::registry::{Registry, RegistryError};
use tokio::sync::RwLock;

use crate::client::error::{ClientError, Disposition, Scope};
use crate::client::{Client, MAX_CONNECTIONS};
use crate::ledger::record::{Child, Parent};
use crate::ledger::{Ledger, LedgerError};
use crate::projection::steps::Steps;
use crate::projection::{Point, Seen};
use experiment::Filing;

/// Times something is written over which others race with us.
const MAX_TRIES: u32 = 3;

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
    /// Somebody else wrote the same at the same moment.
    Raced(String),
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
    /// Where runs are filed that name no experiment.
    filing: Filing,
    /// URL of the dashboard the notes lead to.
    dashboard: Option<String>,
    /// Where people look at MLflow.
    pages: Option<Pages>,
    /// Where the files of models are fetched.
    models: Option<Broker>,
    /// When the stream was read last for runs nobody knows.
    stream_read_at: tokio::sync::Mutex<Option<Instant>>,
    /// Held by batches to read and by a sweep to write: a sweep closes a run while nothing else is written.
    sweeping: RwLock<()>,
}

impl Writer {
    /// A writer of everything that comes; runs that name no experiment are filed where `filing` says.
    /// `sink` is the name of this sink in the births it announces.
    pub fn new(
        client: Arc<Client>,
        ledger: Ledger,
        registry: Registry,
        births: Births,
        sink: String,
        filing: impl Into<Filing>,
    ) -> Self {
        Self {
            client,
            ledger,
            registry,
            births,
            sink,
            server: tokio::sync::Mutex::default(),
            doubts: std::sync::Mutex::default(),
            filing: filing.into(),
            dashboard: None,
            pages: None,
            models: None,
            stream_read_at: tokio::sync::Mutex::default(),
            sweeping: RwLock::default(),
        }
    }

    /// The same, with notes that lead to a dashboard.
    #[must_use]
    pub fn with_dashboard(self, url: Option<String>) -> Self {
        Self { dashboard: url, ..self }
    }

    /// The same, telling the run registry on which page of MLflow a run is.
    #[must_use]
    pub fn with_pages(self, pages: Pages) -> Self {
        Self { pages: Some(pages), ..self }
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
            Err(Trouble::Raced(words)) => return Err(raced(words)),
            Err(Trouble::Refused(words)) => words,
            Err(Trouble::Vanished(words)) => {
                tracing::warn!(
                    %run, words,
                    "MLflow has no more what was written to it: it was wiped, or another server stands at this address. \
                     The run is looked up again, and created anew from the events that still come; to have \
                     those written that came before, stop the sink, delete its ledger (`mlflow-sink` in the data \
                     directory) and the consumer `mlflow-sink` of the stream CEREBROS, and start it again"
                );
                self.ledger.forget(run).map_err(stopped_by_disk)?;
                // It may be another server by now.
                *self.server.lock().await = None;
                match self.write_batch(run, events).await {
                    Ok(fates) => return Ok(fates),
                    Err(Trouble::Stopped(stopped)) => return Err(stopped),
                    Err(Trouble::Raced(words)) => return Err(raced(words)),
                    Err(Trouble::Vanished(words) | Trouble::Refused(words)) => words,
                }
            }
        };
        Ok(events.iter().map(|_| Fate::Refused(words.clone())).collect())
    }

    async fn write_batch(&self, run: &RunId, events: &[Seen]) -> Result<Vec<Fate>, Trouble> {
        let Some(first) = events.first() else { return Ok(Vec::new()) };
        self.server().await?;
        let mut parent = self.parent(run, first, events).await?;
        self.open(run, &parent).await?;
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

    /// Writes what the run itself says. Whoever races with others is refused after the last try.
    async fn write_word(&self, run: &RunId, parent: &mut Parent, seen: &Seen) -> Result<Fate, Trouble> {
        let mut tries_left = MAX_TRIES;
        loop {
            tries_left -= 1;
            let written = match &seen.event {
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
            };
            match again(written, tries_left) {
                Some(written) => return settled(written),
                None => parent.steps.forget(),
            }
        }
    }

    /// Writes what trials say, and what it does to the curve.
    async fn write_part(
        &self,
        run: &RunId,
        parent: &mut Parent,
        events: &[Seen],
    ) -> Result<Vec<Fate>, Trouble> {
        let mut fates = vec![Fate::Written; events.len()];
        for (index, fate) in self.write_trials(run, parent, events).await? {
            fates[index] = fate;
        }
        let mut tries_left = MAX_TRIES;
        let drawn = loop {
            tries_left -= 1;
            let drawn = self.draw_curve(parent, events.iter().zip(&fates)).await;
            match again(drawn, tries_left) {
                Some(drawn) => break drawn,
                None => parent.steps.forget(),
            }
        };
        if let Fate::Refused(words) = settled(drawn)? {
            // The trials themselves are written: none of them is to blame.
            tracing::warn!(%run, words, "MLflow refused the curve of the best so far");
        }
        Ok(fates)
    }

    /// Marks a run as about to be written, so that a crash in the middle is noticed.
    async fn open(&self, run: &RunId, parent: &Parent) -> Result<(), Trouble> {
        self.ledger.put_parent(run, &Parent { is_open: true, ..parent.clone() })?;
        self.ledger.flush().await?;
        Ok(())
    }

    /// The same for the trials the ledger knows; gives them as they were before, with all that is known of their metrics.
    async fn open_trials<'a>(
        &self,
        run: &RunId,
        trials: impl Iterator<Item = &'a TrialId>,
    ) -> Result<BTreeMap<&'a TrialId, Child>, Trouble> {
        let mut known = BTreeMap::new();
        for trial in trials {
            if let Some(child) = self.ledger.child(run, trial)? {
                self.ledger.put_child(run, trial, &Child { is_open: true, ..child.clone() })?;
                known.insert(trial, child);
            }
        }
        if !known.is_empty() {
            self.ledger.flush().await?;
        }
        Ok(known)
    }

    /// Writes the trials of a batch, as many at once as MLflow serves.
    async fn write_trials(
        &self,
        run: &RunId,
        parent: &Parent,
        events: &[Seen],
    ) -> Result<Vec<(usize, Fate)>, Trouble> {
        let by_trial = by_trial(events);
        let mut remembered = self.open_trials(run, by_trial.keys().copied()).await?;
        let mut trials = Vec::new();
        for (trial, events) in by_trial {
            trials.push(self.write_trial(run, parent, trial, remembered.remove(trial), events));
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

/// What came of a write, unless somebody else was faster and it is to be tried again. The last time that is a refusal.
fn again<T>(written: Result<T, Trouble>, tries_left: u32) -> Option<Result<T, Trouble>> {
    match written {
        Err(Trouble::Raced(words)) if tries_left > 0 => {
            tracing::info!(words, tries_left, "somebody else was faster; what is there now is looked up");
            None
        }
        Err(Trouble::Raced(words)) => Some(Err(Trouble::Refused(words))),
        other => Some(other),
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
            Disposition::Again => Self::Raced(error.to_string()),
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

/// A race over what no single event is: the batch is tried again.
fn raced(reason: String) -> Stopped {
    Stopped { reason, pause: Duration::ZERO, scope: Scope::Lane }
}

fn stopped_by_disk(error: LedgerError) -> Stopped {
    Stopped { reason: error.to_string(), pause: Duration::from_secs(1), scope: Scope::Lane }
}
