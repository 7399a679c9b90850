//! One of our own services as a child process: this very program again, with arguments that name the service.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use local_stack::ports::{self, PortChoice};
use local_stack::process::{Exit, Launch, Supervised, descendants};
use local_stack::readiness::{StartError, wait_for};
use service_kit::health;

use super::ATTEMPTS;

/// How long a service may take until it is ready. The worker imports scikit-learn first, which takes a second on an
/// idle machine and many times that on one that is compiling.
const READY_DEADLINE: Duration = Duration::from_secs(90);
/// What of the environment names another broker or another MLflow, or who we are there. The services of this stack
/// use this stack.
const FOREIGN: [&str; 19] = [
    "NATS_URL",
    "NATS_CREDS",
    "NATS_NKEY",
    "NATS_USER",
    "NATS_PASSWORD",
    "NATS_CA",
    "NATS_CERT",
    "NATS_KEY",
    "NATS_CONTEXT",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "MLFLOW_TRACKING_CLIENT_CERT_PATH",
    "MLFLOW_TRACKING_INSECURE_TLS",
    "MLFLOW_WORKSPACE",
    "MLFLOW_EXPERIMENT_ID",
    "TL_ENABLE_CEREBROS_BRIDGE",
];

/// Which service, and how.
#[derive(Debug, Clone)]
pub(super) struct ServiceConfig {
    /// Its name as a command of this program.
    pub(super) name: &'static str,
    /// This program.
    pub(super) program: PathBuf,
    /// Flags behind `serve`.
    pub(super) flags: Vec<OsString>,
    /// Variables on top of ours.
    pub(super) env: Vec<(&'static str, OsString)>,
    /// Where its output goes.
    pub(super) log: PathBuf,
    /// Port of its health pages.
    pub(super) port: PortChoice,
}

impl ServiceConfig {
    /// Adds a flag with its value.
    pub(super) fn flag(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.flags.extend([OsString::from(name), value.into()]);
        self
    }

    /// Sets a variable.
    pub(super) fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    fn launch(&self, port: u16) -> Launch {
        let mut launch = Launch::new(&self.program, &self.log);
        for name in FOREIGN {
            launch = launch.without_env(name);
        }
        if std::env::var_os("CEREBROS_LOG_FORMAT").is_none() {
            // The log files are for the people who are told where they are.
            launch = launch.env("CEREBROS_LOG_FORMAT", "text");
        }
        for (name, value) in &self.env {
            launch = launch.env(*name, value.clone());
        }
        launch.args([self.name, "serve", "--http"]).arg(format!("127.0.0.1:{port}")).args(self.flags.clone())
    }
}

/// A running service. Dropping it kills it and everything it started.
#[derive(Debug)]
pub(super) struct Service {
    config: ServiceConfig,
    process: Supervised,
    port: u16,
}

impl Service {
    /// Starts it and waits until it says that it is ready. A port that nobody asked for and that is lost between
    /// choosing and binding is chosen again.
    pub(super) async fn start(config: ServiceConfig) -> Result<Self, StartError> {
        let (process, port) = start(&config, config.port).await?;
        Ok(Self { config, process, port })
    }

    /// Starts it again, on the same port unless somebody has taken it meanwhile.
    pub(super) async fn restart(&mut self) -> Result<(), StartError> {
        self.process.kill().await;
        let choice = match self.config.port {
            PortChoice::Exactly(port) => PortChoice::Exactly(port),
            PortChoice::From(_) | PortChoice::Any => PortChoice::From(self.port),
        };
        (self.process, self.port) = start(&self.config, choice).await?;
        Ok(())
    }

    pub(super) fn name(&self) -> &'static str {
        self.config.name
    }

    pub(super) fn log(&self) -> &Path {
        self.process.log()
    }

    pub(super) fn last_lines(&self, count: usize) -> String {
        self.process.last_lines(count)
    }

    pub(super) async fn exited(&self) -> Exit {
        self.process.exited().await
    }

    pub(super) async fn stop(&self, grace: Duration) {
        self.process.stop(grace).await;
    }

    pub(super) async fn kill(&self) {
        self.process.kill().await;
    }
}

async fn start(config: &ServiceConfig, choice: PortChoice) -> Result<(Supervised, u16), StartError> {
    let mut attempt = 1;
    loop {
        let no_port = |source| StartError::Port { program: config.name, source };
        let port = ports::choose(choice).map_err(no_port)?.number;
        match start_on(config, port).await {
            Ok(process) => return Ok((process, port)),
            Err(StartError::Ended { printed, .. }) if printed.contains("port-busy") && attempt < ATTEMPTS => {
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn start_on(config: &ServiceConfig, port: u16) -> Result<Supervised, StartError> {
    let spawned = Supervised::spawn(config.launch(port)).await;
    let process = spawned.map_err(|source| StartError::Spawn { program: config.name, source })?;
    let mut reason = None;
    let ready = async || match health::probe(([127, 0, 0, 1], port).into(), "/readyz").await {
        // Another stack's service may have taken the port and answer there; ours is about to find out.
        Ok(_) => owns(&process, port).then_some(()),
        Err(error) => {
            reason = error.because;
            None
        }
    };
    match wait_for(config.name, &process, READY_DEADLINE, ready).await {
        Ok(()) => Ok(process),
        // What it says about itself is worth more than its last log lines.
        Err(StartError::Silent { program, waited, printed, log }) => {
            let reason = reason.map(|reason| format!("not ready: {reason}\n")).unwrap_or_default();
            Err(StartError::Silent { program, waited, printed: reason + &printed, log })
        }
        Err(error) => Err(error),
    }
}

/// True when the listener is ours, or when the system does not let us see whose it is.
fn owns(process: &Supervised, port: u16) -> bool {
    ports::owner(port).is_none_or(|owner| descendants(process.group()).contains(&owner))
}
