//! One of our services as a process: started as a user starts it, asked over HTTP whether it is ready, stopped.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use local_stack::process::{Exit as ProcessExit, Launch, Supervised};
use local_stack::readiness::answers_ok;
use serde_json::Value;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::health;
use tokio::time::Instant;

use crate::environments::free_port;
use crate::faults;

/// A worker imports scikit-learn before it is ready, twice, on a machine that may be compiling.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// Pause between two questions: what is measured by asking is late by at most this and one answer.
const POLL: Duration = Duration::from_millis(1);
/// How long a service may take to drain.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// Variables of the caller that would change what is measured.
const FOREIGN: [&str; 20] = [
    "NATS_CREDS",
    "NATS_NKEY",
    "NATS_USER",
    "NATS_PASSWORD",
    "NATS_CA",
    "NATS_CERT",
    "NATS_KEY",
    "NATS_CONTEXT",
    "CEREBROS_SLOTS",
    "CEREBROS_REPO",
    "CEREBROS_WORKDIR",
    "CEREBROS_DATASET_DIR",
    "CEREBROS_LOG_FORMAT",
    "TL_ENABLE_CEREBROS_BRIDGE",
    "RUST_LOG",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "MLFLOW_TRACKING_INSECURE_TLS",
    "MLFLOW_WORKSPACE",
    "MLFLOW_EXPERIMENT_ID",
];

/// How to start a service.
pub(crate) struct Plan<'a> {
    /// Its name, and that of its log file.
    pub(crate) name: &'a str,
    /// The program.
    pub(crate) program: &'a Path,
    /// Its data directory and working directory.
    pub(crate) dir: &'a Path,
    /// The broker.
    pub(crate) nats_url: &'a str,
    /// Flags after `serve`.
    pub(crate) flags: Vec<OsString>,
}

/// A running service. Dropping it kills it.
pub(crate) struct Service {
    process: Supervised,
    port: u16,
    began: Instant,
}

impl Service {
    /// Starts one; it is not ready yet.
    pub(crate) async fn start(plan: Plan<'_>) -> Result<Self, CliError> {
        let port = free_port()?;
        let mut launch = Launch::new(plan.program, plan.dir.join(format!("{}.log", plan.name)))
            .arg("serve")
            .arg("--http")
            .arg(format!("127.0.0.1:{port}"))
            .args(plan.flags)
            .cwd(plan.dir)
            .env("NATS_URL", plan.nats_url)
            .env("CEREBROS_DATA_DIR", plan.dir)
            .env("CEREBROS_ENABLED", "true")
            .env("FEATURES", "ml_nas")
            // What is repeated has to be done again.
            .env("CEREBROS_CACHE_ENABLED", "false");
        for name in FOREIGN {
            launch = launch.without_env(name);
        }
        let began = Instant::now();
        let process = Supervised::spawn(launch).await.map_err(|error| faults::not_spawned(&error))?;
        Ok(Self { process, port, began })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits until `/readyz` says 200. Returns the time since the start.
    pub(crate) async fn ready(&self) -> Result<Duration, CliError> {
        self.until("/readyz says 200", async || answers_ok(self.port, "/readyz").await).await
    }

    /// Waits until one of its components works. Returns the time since the start.
    pub(crate) async fn component_ready(&self, component: &str) -> Result<Duration, CliError> {
        let is_ready = async || {
            // `/health` answers with the report whether or not everything is ready.
            let address = ([127, 0, 0, 1], self.port).into();
            let Ok(body) = health::probe(address, "/health").await else { return false };
            let Ok(report) = serde_json::from_str::<Value>(&body) else { return false };
            let components = report["components"].as_array().cloned().unwrap_or_default();
            components.iter().any(|entry| entry["name"] == component && entry["ready"] == true)
        };
        self.until(&format!("component {component} is ready"), is_ready).await
    }

    async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) -> Result<Duration, CliError> {
        loop {
            if is_so().await {
                return Ok(self.began.elapsed());
            }
            let program = self.process.program().display();
            if let Some(exit) = self.process.exit() {
                return Err(CliError::new(
                    "not-started",
                    Exit::Unreachable,
                    format!("{program} ended: {exit}"),
                )
                .because(self.process.last_lines(12)));
            }
            if self.began.elapsed() > READY_LIMIT {
                return Err(faults::silent(format!("{program}: {what}"), READY_LIMIT)
                    .because(self.process.last_lines(12)));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Asks it to drain and waits for its end.
    pub(crate) async fn stop(self) {
        self.stop_within(STOP_GRACE).await;
    }

    /// Asks it to drain (SIGTERM) and says how it ended; after `grace` it is killed.
    pub(crate) async fn stop_within(self, grace: Duration) -> ProcessExit {
        self.process.stop(grace).await
    }

    /// SIGKILL; returns when it is gone. Its children are in groups of their own and hear nothing of it.
    pub(crate) async fn kill(self) {
        self.process.kill().await;
    }

    /// SIGSTOP: its connections stay open and nobody answers.
    pub(crate) fn pause(&self) {
        self.process.pause();
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.process.resume();
    }
}
