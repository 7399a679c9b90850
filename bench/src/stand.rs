//! A broker of this measurement's own, with a worker on it, as a local stack has them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use local_stack::BrokerConfig;
use serde_json::Value;
use service_kit::broker::Broker;
use service_kit::config::BrokerTarget;
use service_kit::error::CliError;
use service_kit::topology;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::environments::{nats_server, scratch, trainer_python, trainers};
use crate::faults;
use crate::programs::Programs;
use crate::service::{Plan, Service};

/// A broker that has just started answers at once.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// The broker's own pages come at once, and are some kilobytes long.
const PAGE_LIMIT: Duration = Duration::from_secs(5);
const PAGE_BYTES: u64 = 256 * 1024;

/// When a broker's ack means that a message is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Some time after it, as the broker does unless told otherwise.
    Default,
    /// Before it.
    SyncAlways,
}

/// A broker, the directory of its store, and the way to it.
pub(crate) struct Stand {
    // Before the directory it writes to: fields are dropped in this order.
    server: local_stack::Broker,
    dir: TempDir,
}

impl Stand {
    /// Starts a broker with an empty store.
    pub(crate) async fn open() -> Result<Self, CliError> {
        Self::open_with(Durability::Default).await
    }

    /// Starts a broker with an empty store that keeps its acks so safe.
    pub(crate) async fn open_with(durability: Durability) -> Result<Self, CliError> {
        let dir = scratch()?;
        let mut config = BrokerConfig::new(
            nats_server().await?,
            dir.path().join("store"),
            dir.path().join("nats-server.log"),
        );
        config.sync_always = durability == Durability::SyncAlways;
        let server = local_stack::Broker::start(config).await.map_err(|error| faults::not_started(&error))?;
        Ok(Self { server, dir })
    }

    /// Connects to it and makes sure of the streams.
    pub(crate) async fn connect(&self) -> Result<Broker, CliError> {
        let target = BrokerTarget::at(&self.url())?;
        let broker = Broker::connect(&target, "bench", CONNECT_PATIENCE).await?;
        topology::ensure(&broker).await?;
        Ok(broker)
    }

    /// `nats://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// Process id of the broker.
    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// What the broker counts of itself (`/varz`).
    pub(crate) async fn counts(&self) -> Result<Value, CliError> {
        let url = self.server.monitoring_url();
        let address = url.strip_prefix("http://").expect("the monitoring URL is plain HTTP");
        let page = tokio::time::timeout(PAGE_LIMIT, page(address)).await;
        let page = page.map_err(|_| faults::silent("the answer of /varz", PAGE_LIMIT))??;
        let (_, body) = page.split_once("\r\n\r\n").unwrap_or_default();
        serde_json::from_str(body).map_err(|error| CliError::internal("/varz is no JSON").because(error))
    }

    /// SIGKILL. [`Stand::restart_broker`] brings it back with the same port and store.
    pub(crate) async fn kill_broker(&self) {
        self.server.kill_now().await;
    }

    /// The same port and store again.
    pub(crate) async fn restart_broker(&mut self) -> Result<(), CliError> {
        self.server.restart().await.map_err(|error| faults::not_started(&error))
    }

    /// Ends the broker and leaves its directory, with the store and every log, where it is.
    pub(crate) fn keep(self) -> PathBuf {
        let Self { server, dir } = self;
        drop(server);
        dir.keep()
    }

    /// A directory for whoever runs on it.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a worker with so many slots and everything else as it is shipped, and waits until it is warm.
    pub(crate) async fn worker(&self, programs: &Programs, slots: usize) -> Result<Service, CliError> {
        self.worker_with(programs, slots, Vec::new()).await
    }

    /// The same with further flags.
    pub(crate) async fn worker_with(
        &self,
        programs: &Programs,
        slots: usize,
        further: Vec<OsString>,
    ) -> Result<Service, CliError> {
        let dir = self.dir().join(format!("worker-{slots}"));
        std::fs::create_dir_all(&dir)?;
        let mut flags = worker_flags(&trainer_python().await?, slots);
        flags.extend(further);
        let worker = Service::start(Plan {
            name: "bridge-worker",
            program: programs.path("bridge-worker")?,
            dir: &dir,
            nats_url: &self.url(),
            flags,
        })
        .await?;
        worker.ready().await?;
        Ok(worker)
    }
}

/// What a worker is told about the trainers in `bench/trainers`.
pub(crate) fn timed_trainers() -> Vec<OsString> {
    vec!["--repo".into(), trainers().into(), "--allow-entrypoint".into(), "timed_trainers:*".into()]
}

/// HTTP/1.0, so that the body comes in one piece.
async fn page(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /varz HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.take(PAGE_BYTES).read_to_string(&mut answer).await?;
    Ok(answer)
}

/// What a worker of so many slots is told.
pub(crate) fn worker_flags(python: &Path, slots: usize) -> Vec<OsString> {
    let python: PathBuf = python.to_owned();
    vec!["--slots".into(), slots.to_string().into(), "--python".into(), python.into()]
}
