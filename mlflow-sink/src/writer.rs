//! The outside edge: writes the events of one run into MLflow, once.
//!
//! A batch is written as a whole or not at all as far as the broker is concerned: an outage in the middle leaves every
//! event unsettled, and the next try finds out what arrived. A refusal concerns one event; the others of its batch
//! are written.
//!
mod batch;
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
mod outcome;
mod parent;
pub(crate) mod sweep;
mod trial;
mod values;

use std::sync::Arc;
use std::time::Instant;

use schemas::RunId;
use service_kit::births::Births;
use service_kit::broker::Broker;
use service_kit::mlflow::page::Pages;
use service_kit::registry::Registry;
use tokio::sync::RwLock;

use crate::client::Client;
use crate::ledger::Ledger;
use crate::projection::Seen;
use experiment::Filing;
pub use outcome::{Fate, Stopped};
use outcome::{MAX_TRIES, Trouble, again, raced, settled, stopped_by_disk};

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

    /// True when MLflow answers what costs it nothing.
    pub(crate) async fn is_answered(&self) -> bool {
        self.client.probe().await.is_ok()
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
                     The run is looked up again, and created anew from the events that still come; to have those \
                     written that came before: `mlflow-sink check --repair`"
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
}
