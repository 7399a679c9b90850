//! What others tell a run: that it should end, and that another attempt owns it.
//!
//! Cancel requests are taken from the stream by any worker and written into the registry; whoever has a run in hand
//! watches its registry key. So a cancel reaches a run wherever it is, queued ones included.

use std::time::Duration;

use futures_util::StreamExt as _;
use schemas::{Event, RunId};
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::delivery::Delivery;
use service_kit::intake::Intake;
use service_kit::registry::{self, Registry, RunRecord, record};
use service_kit::topology::CANCEL_CONSUMER;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a run is in hand before its key is watched. Most that is asked of a run comes later than that, nothing is
/// missed by it (a watch begins with the present value), and a run of milliseconds costs no watch at all.
const WATCH_DELAY: Duration = Duration::from_millis(200);
/// Pause before a key is watched again after the watch was lost.
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

/// A run whose registry key is watched, until this is dropped.
#[derive(Debug)]
pub struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Connects a run that was just claimed: `silenced` is cancelled when another attempt owns it.
pub fn connect(
    registry: &Registry,
    record: &RunRecord,
    silenced: CancellationToken,
) -> (Signals, Connection) {
    let (cancel, receiver) = watch::channel(None);
    let watcher = Watcher {
        registry: registry.clone(),
        run: record.run_id.clone(),
        attempt: record.attempt,
        cancel,
        silenced,
    };
    (Signals { cancel: receiver }, Connection(tokio::spawn(watcher.watch())))
}

struct Watcher {
    registry: Registry,
    run: RunId,
    attempt: u32,
    cancel: watch::Sender<Option<String>>,
    silenced: CancellationToken,
}

impl Watcher {
    async fn watch(self) {
        tokio::time::sleep(WATCH_DELAY).await;
        loop {
            if let Err(error) = self.watch_once().await {
                tracing::warn!(run = %self.run, error, "the registry key of the run cannot be watched, trying again");
            }
            tokio::time::sleep(REOPEN_PAUSE).await;
        }
    }

    async fn watch_once(&self) -> Result<(), String> {
        let mut entries = self.registry.watch(&self.run).await.map_err(|error| error.to_string())?;
        while let Some(entry) = entries.next().await {
            let entry = entry.map_err(|error| error.to_string())?;
            if let Some(held) = registry::read(&entry) {
                self.pass_on(&held.record);
            }
        }
        Ok(())
    }

    fn pass_on(&self, record: &RunRecord) {
        if record.attempt > self.attempt {
            tracing::warn!(run = %record.run_id, attempt = self.attempt, "another attempt owns the run");
            self.silenced.cancel();
        } else if let Some(reason) = &record.cancel_requested {
            self.cancel.send_if_modified(|known| {
                let is_new = known.is_none();
                *known = Some(reason.clone());
                is_new
            });
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
