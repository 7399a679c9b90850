//! Open while MLflow can be used. Whoever meets an outage shuts it; a probe of the server opens it again.
//!
//! While it is shut nothing is pulled and nothing is written, so an outage costs one probe now and then instead of a
//! storm of failing writes, and no event is blamed for it.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use service_kit::health::ComponentHandle;
use service_kit::metrics::Counter;
use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;

use crate::client::Client;
use crate::lanes::pause;
use crate::writer::Stopped;

/// Open or shut, for everything that writes.
#[derive(Debug)]
pub struct Gate {
    client: Arc<Client>,
    is_open: watch::Sender<bool>,
    health: ComponentHandle,
    outages: Counter,
    prober: Mutex<Option<AbortHandle>>,
}

impl Gate {
    /// A gate that is shut until MLflow answers for the first time.
    pub fn new(client: Arc<Client>, health: ComponentHandle, outages: Counter) -> Arc<Self> {
        Arc::new(Self {
            client,
            is_open: watch::Sender::new(false),
            health,
            outages,
            prober: Mutex::default(),
        })
    }

    /// True while MLflow can be used.
    pub fn is_open(&self) -> bool {
        *self.is_open.borrow()
    }

    /// Tells of every opening and shutting.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.is_open.subscribe()
    }

    /// Shuts the gate and begins to probe, at the earliest after the pause that was asked for.
    pub async fn shut(self: &Arc<Self>, stopped: &Stopped) {
        let mut prober = self.prober.lock().await;
        if prober.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        self.is_open.send_replace(false);
        self.outages.inc();
        tracing::warn!(
            url = self.client.url(),
            reason = stopped.reason,
            "MLflow cannot be used; waiting for it"
        );
        self.health.not_ready(&stopped.reason);
        *prober = Some(tokio::spawn(Arc::clone(self).probe(stopped.pause)).abort_handle());
    }

    /// Waits for the first answer.
    pub async fn begin(self: &Arc<Self>) {
        let mut prober = self.prober.lock().await;
        *prober = Some(tokio::spawn(Arc::clone(self).probe(Duration::ZERO)).abort_handle());
    }

    /// Ends the probing.
    pub async fn stop(&self) {
        if let Some(task) = self.prober.lock().await.take() {
            task.abort();
        }
    }

    async fn probe(self: Arc<Self>, first: Duration) {
        tokio::time::sleep(first).await;
        let mut failures = 0;
        while let Err(error) = self.client.probe().await {
            self.health.not_ready(&error);
            tracing::debug!(%error, failures, "MLflow is not back yet");
            tokio::time::sleep(pause(failures, luck())).await;
            failures += 1;
        }
        self.health.ready();
        self.is_open.send_replace(true);
    }
}

/// A number from 0 to 1 that differs between processes and calls; spreading pauses needs no better one.
#[expect(clippy::cast_precision_loss, reason = "a few digits are plenty")]
pub fn luck() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}
