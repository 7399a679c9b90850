//! Open while MLflow can be used: what the client's breaker says, told to the loop and to the readiness page, and the
//! probes that bring it back.
//!
//! While it is shut nothing is pulled and nothing is written, so an outage costs one probe now and then instead of a
//! storm of failing writes, and no event is blamed for it. A good probe lets one batch through; the sink is ready again
//! when that is written, or when there is none to write.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use service_kit::health::ComponentHandle;
use service_kit::metrics::Counter;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::client::Client;
use crate::client::breaker::{Breaker, Phase};
use crate::writer::Stopped;

/// Open or shut, for everything that writes.
#[derive(Debug)]
pub struct Gate {
    client: Arc<Client>,
    breaker: watch::Sender<Breaker>,
    health: ComponentHandle,
    outages: Counter,
    keeper: Mutex<Option<AbortHandle>>,
}

impl Gate {
    /// A gate that is shut until MLflow answers for the first time.
    ///
    /// # Panics
    /// When the client is not a guarded one.
    pub fn new(client: Arc<Client>, health: ComponentHandle, outages: Counter) -> Arc<Self> {
        let breaker = client.breaker().expect("the sink's client is guarded").clone();
        Arc::new(Self { client, breaker, health, outages, keeper: Mutex::default() })
    }

    /// True while MLflow can be used, be it for one batch only.
    pub fn is_open(&self) -> bool {
        self.phase() != Phase::Shut
    }

    /// Batches that may run at once, where `most` do when all is well.
    pub fn width(&self, most: usize) -> usize {
        match self.phase() {
            Phase::Shut => 0,
            Phase::HalfOpen => 1,
            Phase::Open => most,
        }
    }

    /// Tells of every opening and shutting.
    pub fn watch(&self) -> watch::Receiver<Breaker> {
        self.breaker.subscribe()
    }

    /// What a batch takes along, for [`Gate::written`].
    pub fn pass(&self) -> u64 {
        self.breaker.borrow().pass()
    }

    /// A batch that began with this pass is written.
    pub fn written(&self, pass: u64) {
        self.breaker.send_if_modified(|breaker| {
            let before = breaker.phase();
            breaker.batch_written(pass);
            breaker.phase() != before
        });
    }

    /// True while one batch is to show whether MLflow takes anything.
    pub fn is_half_open(&self) -> bool {
        self.phase() == Phase::HalfOpen
    }

    /// A batch was not written; `is_known`: its run has failed again and again.
    pub fn failed(&self, stopped: &Stopped, is_known: bool) {
        tracing::debug!(reason = stopped.reason, scope = ?stopped.scope, "a batch waits");
        self.breaker.send_modify(|breaker| {
            breaker.batch_failed(&stopped.reason, stopped.scope, is_known, Instant::now(), luck());
        });
    }

    /// There is nothing to write: a server that answers is all that can be asked for, until there is.
    pub fn has_nothing_to_write(&self) {
        if self.phase() == Phase::HalfOpen {
            self.health.ready();
        }
    }

    /// Begins to probe, whenever there is a reason to.
    pub fn begin(self: &Arc<Self>) {
        let keeper = tokio::spawn(Arc::clone(self).keep()).abort_handle();
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
    }

    /// Ends the probing.
    pub fn stop(&self) {
        if let Some(task) = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }

    fn phase(&self) -> Phase {
        self.breaker.borrow().phase()
    }

    async fn keep(self: Arc<Self>) {
        let mut changes = self.breaker.subscribe();
        let mut was_open = false;
        loop {
            let now = changes.borrow_and_update().clone();
            self.say(&now, was_open);
            was_open = match now.phase() {
                Phase::Open => true,
                Phase::Shut => false,
                Phase::HalfOpen => was_open,
            };
            let is_due = tokio::select! {
                () = tokio::time::sleep_until(now.not_before().into()), if now.phase() == Phase::Shut => true,
                () = self.client.suspicion(), if now.phase() != Phase::Shut => true,
                _ = changes.changed() => false,
            };
            if is_due && let Err(error) = self.client.probe().await {
                tracing::debug!(%error, "MLflow does not answer a probe");
            }
        }
    }

    fn say(&self, now: &Breaker, was_open: bool) {
        match now.phase() {
            Phase::Open => self.health.ready(),
            Phase::HalfOpen => {
                self.health
                    .not_ready(format!("it answers again, one batch is tried; before: {}", now.reason()));
            }
            Phase::Shut => {
                self.health.not_ready(now.reason());
                if was_open {
                    self.outages.inc();
                    let (url, reason) = (self.client.url(), now.reason());
                    tracing::warn!(url, reason, "MLflow cannot be used; waiting for it");
                }
            }
        }
    }
}

/// A number from 0 to 1 that differs between processes and calls; spreading pauses needs no better one.
#[expect(clippy::cast_precision_loss, reason = "a few digits are plenty")]
pub fn luck() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}
