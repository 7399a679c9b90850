//! What a service says about itself over HTTP: alive, ready, and its numbers.
//!
//! `/livez` answers 200 while the process can answer at all and depends on nothing else. `/readyz` answers 200 when
//! every component is ready and nobody asked the service to stop, else 503 with the reasons. `/health` says both as
//! JSON, `/metrics` is for Prometheus.
//!
//! Invariant: nothing listens beyond loopback unless that address was asked for.
//!
//! Deliberately not here: deciding what ready means. Components say so themselves.

mod probe;
mod server;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;

pub use probe::probe;
pub use server::{serve, serve_from};

use crate::error::CliError;
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;
use crate::telemetry::bounded;

/// The flag of every service.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct HealthArgs {
    /// Address of /livez, /readyz, /health and /metrics [default: the first free port on loopback from the usual one]
    #[arg(long = "http", value_name = "ADDR")]
    pub http: Option<SocketAddr>,
}

impl HealthArgs {
    /// Serves at the address that was asked for, which must be free, or else from `default_port` upwards on loopback.
    ///
    /// # Errors
    /// See [`serve`].
    pub async fn serve(
        &self,
        default_port: u16,
        health: Health,
        metrics: Metrics,
        shutdown: Shutdown,
    ) -> Result<SocketAddr, CliError> {
        match self.http {
            Some(asked) => serve(asked, health, metrics, shutdown).await,
            None => {
                let default = SocketAddr::from((Ipv4Addr::LOCALHOST, default_port));
                serve_from(default, health, metrics, shutdown).await
            }
        }
    }
}

/// The state of one service, shared by its components.
#[derive(Debug, Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    service: String,
    started: Instant,
    /// `Some(reason)` while a component is not ready.
    components: Mutex<BTreeMap<String, Option<String>>>,
    numbers: Mutex<BTreeMap<&'static str, i64>>,
}

impl Health {
    /// A service without components: alive, not ready.
    pub fn new(service: impl Into<String>) -> Self {
        let inner = Inner {
            service: service.into(),
            started: Instant::now(),
            components: Mutex::default(),
            numbers: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Adds a component, not ready until it says so.
    pub fn component(&self, name: impl Into<String>) -> ComponentHandle {
        let handle = ComponentHandle { health: self.clone(), name: name.into() };
        handle.not_ready("starting");
        handle
    }

    /// Adds a number to `/health`, as soon as it is known. It decides nothing.
    pub fn number(&self, name: &'static str) -> NumberHandle {
        NumberHandle { health: self.clone(), name }
    }

    /// Everything `/health` says.
    pub fn report(&self, is_draining: bool) -> Report {
        let components: Vec<_> = self
            .components()
            .iter()
            .map(|(name, reason)| Component {
                name: name.clone(),
                ready: reason.is_none(),
                reason: reason.clone(),
            })
            .collect();
        let is_ready = !components.is_empty() && components.iter().all(|component| component.ready);
        let status = match (is_draining, is_ready) {
            (true, _) => Status::Draining,
            (false, true) => Status::Ready,
            (false, false) => Status::NotReady,
        };
        Report {
            service: self.inner.service.clone(),
            version: env!("CARGO_PKG_VERSION"),
            live: true,
            ready: status == Status::Ready,
            status,
            uptime_seconds: self.inner.started.elapsed().as_secs(),
            components,
            numbers: self.numbers().clone(),
        }
    }

    fn numbers(&self) -> MutexGuard<'_, BTreeMap<&'static str, i64>> {
        self.inner.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn components(&self) -> MutexGuard<'_, BTreeMap<String, Option<String>>> {
        self.inner.components.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Through which one component says how it is.
#[derive(Debug, Clone)]
pub struct ComponentHandle {
    health: Health,
    name: String,
}

impl ComponentHandle {
    /// The component works.
    pub fn ready(&self) {
        self.set(None);
    }

    /// The component does not work, because of `reason`.
    pub fn not_ready(&self, reason: impl std::fmt::Display) {
        self.set(Some(bounded(&reason.to_string())));
    }

    /// Logs a change, and only a change.
    fn set(&self, reason: Option<String>) {
        let previous = self.health.components().insert(self.name.clone(), reason.clone());
        if previous.as_ref() == Some(&reason) {
            return;
        }
        match (reason, previous) {
            (None, _) => tracing::info!(component = self.name, "component is ready"),
            (Some(reason), Some(_)) => {
                tracing::warn!(component = self.name, reason, "component is not ready")
            }
            (Some(_), None) => {}
        }
    }
}

/// Through which a service says a number.
#[derive(Debug, Clone)]
pub struct NumberHandle {
    health: Health,
    name: &'static str,
}

impl NumberHandle {
    /// The number now.
    pub fn set(&self, number: i64) {
        self.health.numbers().insert(self.name, number);
    }
}

/// What `/health` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The service's name.
    pub service: String,
    /// The service's version.
    pub version: &'static str,
    /// All in one word.
    pub status: Status,
    /// The process answers.
    pub live: bool,
    /// Every component is ready and nobody asked the service to stop.
    pub ready: bool,
    /// Since the service started.
    pub uptime_seconds: u64,
    /// In the order of their names.
    pub components: Vec<Component>,
    /// What the service says about its work, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub numbers: BTreeMap<&'static str, i64>,
}

/// A service in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Takes work.
    Ready,
    /// Waits for something.
    NotReady,
    /// Was asked to stop.
    Draining,
}

/// One component in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Does it work?
    pub ready: bool,
    /// Why not.
    pub reason: Option<String>,
}
