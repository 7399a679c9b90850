//! A `nats-server` with JetStream on the loopback address, configured by us alone.
//!
//! The configuration is written anew at every start, so nothing of the user's broker configuration leaks in. Ports
//! are chosen by the server itself and read from its ports file: nobody can take them in between.
//! No credentials: this is for one machine; what faces a network is deployed, not started here. A cluster on one machine
//! ([`Member`]) protects nothing; it is for tests of what runs on a real one.

mod config;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ports::{self, PortChoice};
use crate::process::{Exit, Launch, Supervised};
use crate::readiness::{StartError, answers_ok, wait_for};

use config::Ports;

const PROGRAM: &str = "the broker (nats-server)";
const START_DEADLINE: Duration = Duration::from_secs(10);
const STOP_GRACE: Duration = Duration::from_secs(5);
/// nats-server's own default, and the size above which a message has no business in a stream of events.
pub const MAX_PAYLOAD_BYTES: u32 = 1024 * 1024;

/// How to start a broker.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// The `nats-server` program, see [`crate::install::nats_server`].
    pub binary: PathBuf,
    /// Directory for streams, configuration and ports file; created if absent.
    pub store_dir: PathBuf,
    /// Where its output goes.
    pub log_file: PathBuf,
    /// Client port. [`PortChoice::Any`] lets the server choose.
    pub port: PortChoice,
    /// Ack after fsync. Off, as in nats-server itself, an acknowledged message may be lost when the *machine* dies.
    pub sync_always: bool,
    /// Largest message, in bytes.
    pub max_payload_bytes: u32,
    /// Its place in a cluster, if it is in one.
    pub member: Option<Member>,
}

/// A broker's place in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name of the server, of which a cluster has one each.
    pub name: String,
    /// Port it listens on for the others.
    pub port: u16,
    /// The others' ports.
    pub others: Vec<u16>,
}

impl BrokerConfig {
    /// Any free port, default durability, 1 MiB messages.
    pub fn new(
        binary: impl Into<PathBuf>,
        store_dir: impl Into<PathBuf>,
        log_file: impl Into<PathBuf>,
    ) -> Self {
        Self {
            binary: binary.into(),
            store_dir: store_dir.into(),
            log_file: log_file.into(),
            port: PortChoice::Any,
            sync_always: false,
            max_payload_bytes: MAX_PAYLOAD_BYTES,
            member: None,
        }
    }
}

/// A running broker. Dropping it kills it; the store stays.
#[derive(Debug)]
pub struct Broker {
    config: BrokerConfig,
    process: Supervised,
    ports: Ports,
    moved_from: Option<u16>,
}

impl Broker {
    /// Starts it and waits until JetStream answers, at most ten seconds.
    pub async fn start(config: BrokerConfig) -> Result<Self, StartError> {
        let (port, moved_from) = match config.port {
            PortChoice::Any => (None, None),
            choice @ (PortChoice::From(_) | PortChoice::Exactly(_)) => {
                let port =
                    ports::choose(choice).map_err(|source| StartError::Port { program: PROGRAM, source })?;
                (Some(port.number), port.moved_from)
            }
        };
        let (process, ports) = launch(&config, port, None).await?;
        Ok(Self { config, process, ports, moved_from })
    }

    /// `nats://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.ports.client)
    }

    /// `http://127.0.0.1:PORT`, the monitoring pages (`/varz`, `/jsz`, `/healthz`).
    pub fn monitoring_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.monitoring)
    }

    /// The client port.
    pub fn port(&self) -> u16 {
        self.ports.client
    }

    /// The default port that was busy, when [`PortChoice::From`] had to move.
    pub fn moved_from(&self) -> Option<u16> {
        self.moved_from
    }

    /// Process id of the server.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    /// Waits for its end, which nobody asked for: a broker does not end by itself.
    pub async fn exited(&self) -> Exit {
        self.process.exited().await
    }

    /// How it ended, if it did.
    pub fn exit(&self) -> Option<Exit> {
        self.process.exit()
    }

    /// SIGTERM, and SIGKILL after five seconds.
    pub async fn stop(&self) -> Exit {
        self.process.stop(STOP_GRACE).await
    }

    /// SIGKILL; returns when it is gone. The machine's page cache survives: this is a crash of the program.
    pub async fn kill_now(&self) {
        self.process.kill().await;
    }

    /// Stops it in its tracks (SIGSTOP): connections stay open and nobody answers.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Goes on after [`Broker::pause`].
    pub fn resume(&self) {
        self.process.resume();
    }

    /// Starts it again on the same ports and the same store; stops it first if it still runs.
    pub async fn restart(&mut self) -> Result<(), StartError> {
        self.process.stop(STOP_GRACE).await;
        let (process, ports) =
            launch(&self.config, Some(self.ports.client), Some(self.ports.monitoring)).await?;
        (self.process, self.ports) = (process, ports);
        Ok(())
    }
}

async fn launch(
    config: &BrokerConfig,
    port: Option<u16>,
    monitoring: Option<u16>,
) -> Result<(Supervised, Ports), StartError> {
    let files = config::write(config, port, monitoring)?;
    let launch = Launch::new(&config.binary, &config.log_file)
        .arg("--config")
        .arg(&files.config)
        .arg("--ports_file_dir")
        .arg(&files.ports_dir);
    let spawned = Supervised::spawn(launch).await;
    let process = spawned.map_err(|source| StartError::Spawn { program: PROGRAM, source })?;
    let ready = async || {
        let ports = config::read_ports(&files.ports_dir)?;
        answers_ok(ports.monitoring, "/healthz?js-enabled-only=true").await.then_some(ports)
    };
    let ports = wait_for(PROGRAM, &process, START_DEADLINE, ready).await?;
    Ok((process, ports))
}
