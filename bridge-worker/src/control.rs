//! What others tell the runs of this worker: cancel requests, and claims by other attempts.
//!
//! Cancel requests are taken from the stream by any worker and written into the registry; every worker watches the
//! registry and passes on what concerns its own runs. So a cancel reaches a run wherever it is, queued ones included.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use schemas::{Event, RunId};
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::delivery::Delivery;
use service_kit::intake::Intake;
use service_kit::registry::{self, Registry, RunRecord, record};
use service_kit::topology::{CANCEL_CONSUMER, RUNS_BUCKET};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Pause before the registry is watched again after the watch was lost.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);

/// What one run is told.
#[derive(Debug, Clone)]
pub struct Signals {
    cancel: watch::Receiver<Option<String>>,
}

impl Signals {
    /// Resolves with the reason when somebody asked for the end of the run.
    pub async fn cancelled(&mut self) -> Option<String> {
        let reason = self.cancel.wait_for(Option::is_some).await.map(|reason| reason.clone());
        match reason {
            Ok(reason) => reason.filter(|reason| !reason.is_empty()),
            Err(_) => std::future::pending().await,
        }
    }
}

#[derive(Debug)]
struct Watched {
    attempt: u32,
    cancel: watch::Sender<Option<String>>,
    silenced: CancellationToken,
}

/// The runs of this worker that may be told something.
#[derive(Debug, Clone, Default)]
pub struct Switchboard(Arc<Mutex<HashMap<RunId, Watched>>>);

/// Takes the run off the switchboard when dropped.
#[derive(Debug)]
pub struct Connection {
    board: Switchboard,
    run: RunId,
    attempt: u32,
}

impl Switchboard {
    /// Connects a run that was just claimed.
    pub fn connect(&self, record: &RunRecord, silenced: CancellationToken) -> (Signals, Connection) {
        let (cancel, receiver) = watch::channel(record.cancel_requested.clone());
        let watched = Watched { attempt: record.attempt, cancel, silenced };
        self.runs().insert(record.run_id.clone(), watched);
        let connection =
            Connection { board: self.clone(), run: record.run_id.clone(), attempt: record.attempt };
        (Signals { cancel: receiver }, connection)
    }

    fn pass_on(&self, record: &RunRecord) {
        let runs = self.runs();
        let Some(watched) = runs.get(&record.run_id) else { return };
        if record.attempt > watched.attempt {
            tracing::warn!(run = %record.run_id, attempt = watched.attempt, "another attempt owns the run");
            watched.silenced.cancel();
        } else if let Some(reason) = &record.cancel_requested {
            watched.cancel.send_if_modified(|known| {
                let is_new = known.is_none();
                *known = Some(reason.clone());
                is_new
            });
        }
    }

    fn runs(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, Watched>> {
        self.0.lock().expect("nobody panics while holding the switchboard")
    }

    /// Watches the registry for ever.
    pub async fn watch(self, broker: Broker) {
        loop {
            if let Err(error) = self.watch_once(&broker).await {
                tracing::warn!(error, "the run registry cannot be watched, trying again");
            }
            tokio::time::sleep(REOPEN_PAUSE).await;
        }
    }

    async fn watch_once(&self, broker: &Broker) -> Result<(), String> {
        let bucket = broker.jetstream.get_key_value(RUNS_BUCKET).await.map_err(|error| error.to_string())?;
        // With history: what changed while nobody watched is told now.
        let mut entries = bucket.watch_with_history(">").await.map_err(|error| error.to_string())?;
        while let Some(entry) = entries.next().await {
            let entry = entry.map_err(|error| error.to_string())?;
            let concerns_us = self.runs().keys().any(|run| run.as_str() == entry.key);
            if let Some(held) = concerns_us.then(|| registry::read(&entry)).flatten() {
                self.pass_on(&held.record);
            }
        }
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut runs = self.board.runs();
        if runs.get(&self.run).is_some_and(|watched| watched.attempt == self.attempt) {
            runs.remove(&self.run);
        }
    }
}

/// Takes cancel requests and writes them into the registry, for ever.
pub async fn take_cancel_requests(broker: Broker, registry: Registry) {
    let mut intake = Intake::new(&broker, CANCEL_CONSUMER, 16);
    loop {
        let delivery = intake.next().await;
        if let Err(error) = take_one(&registry, delivery).await {
            tracing::warn!(error, "cancel request not settled; it comes again");
        }
    }
}

async fn take_one(registry: &Registry, delivery: Delivery) -> Result<(), String> {
    let request = match delivery.decode() {
        Ok(decoded) => decoded.event,
        // The classifier reads every event and dead-letters what cannot be read.
        Err(_) => return delivery.ack().await.map_err(|error| error.to_string()),
    };
    let Event::RunCancelRequested(request) = request else {
        return delivery.ack().await.map_err(|error| error.to_string());
    };
    let reason = request.reason.unwrap_or_default();
    let now = clock::now();
    let change =
        |known: Option<&RunRecord>| (record::request_cancel(known, &request.run_id, &reason, now), ());
    match registry.change(&request.run_id, change).await {
        Ok(_) => {
            tracing::info!(run = %request.run_id, "cancel requested");
            delivery.ack().await.map_err(|error| error.to_string())
        }
        Err(error) => {
            tracing::warn!(run = %request.run_id, %error, "cancel request not written, trying again");
            delivery.retry(Duration::from_secs(1)).await.map_err(|error| error.to_string())
        }
    }
}
