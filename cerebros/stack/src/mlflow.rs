//! An MLflow tracking server on the loopback address, with its database and artefacts in one directory.
//!
//! One worker unless told otherwise: MLflow's sqlite store serialises writers anyway, and a single process runs its
//! schema migration before anybody connects. Telemetry is off, and so are the server's own background jobs, which nobody asked for.
//! MLflow cannot choose a port itself and report it, so a port that is lost between choosing and binding is retried.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ports::{self, Port, PortChoice};
use crate::process::{Exit, Launch, Supervised, descendants};
use crate::readiness::{StartError, answers_ok, wait_for};

const PROGRAM: &str = "the MLflow server";
/// It takes seven seconds on an idle machine, several times that on one that is compiling.
const START_DEADLINE: Duration = Duration::from_secs(120);
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Starts before a port that is lost again and again is reported.
const ATTEMPTS: u32 = 5;

/// How to start an MLflow server.
#[derive(Debug, Clone)]
pub struct MlflowConfig {
    /// Interpreter with MLflow installed, see [`crate::install::mlflow`].
    pub python: PathBuf,
    /// Directory of the database and the artefacts; created if absent.
    pub data_dir: PathBuf,
    /// Where its output goes.
    pub log_file: PathBuf,
    /// The port.
    pub port: PortChoice,
    /// Processes that serve; `None` for as many as MLflow starts by itself.
    pub workers: Option<u32>,
    /// How long it has to answer after each start; one that ends before is noticed at once.
    pub deadline: Duration,
}

impl MlflowConfig {
    /// Any free port, one process, two minutes to start.
    pub fn new(
        python: impl Into<PathBuf>,
        data_dir: impl Into<PathBuf>,
        log_file: impl Into<PathBuf>,
    ) -> Self {
        Self {
            python: python.into(),
            data_dir: data_dir.into(),
            log_file: log_file.into(),
            port: PortChoice::Any,
            workers: Some(1),
            deadline: START_DEADLINE,
        }
    }
}

/// A running MLflow server. Dropping it kills it; database and artefacts stay.
#[derive(Debug)]
pub struct Mlflow {
    config: MlflowConfig,
    process: Supervised,
    port: Port,
}

impl Mlflow {
    /// Starts it and waits until `/health` answers, at most until the deadline.
    pub async fn start(config: MlflowConfig) -> Result<Self, StartError> {
        let mut attempt = 1;
        loop {
            let port =
                ports::choose(config.port).map_err(|source| StartError::Port { program: PROGRAM, source })?;
            match launch(&config, port.number).await {
                Ok(process) => return Ok(Self { config, process, port }),
                Err(StartError::Ended { printed, exit, .. })
                    if (lost_its_port(&printed) || exit == Exit::Killed) && attempt < ATTEMPTS =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// `http://127.0.0.1:PORT`: the pages for people and the tracking URI for clients.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// The default port that was busy, when [`PortChoice::From`] had to move.
    pub fn moved_from(&self) -> Option<u16> {
        self.port.moved_from
    }

    /// Process id of the server.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    /// Waits for its end, which nobody asked for.
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

    /// SIGKILL; returns when it is gone.
    pub async fn kill_now(&self) {
        self.process.kill().await;
    }

    /// Starts it again on the same port and the same data; stops it first if it still runs.
    pub async fn restart(&mut self) -> Result<(), StartError> {
        self.process.stop(STOP_GRACE).await;
        self.process = launch(&self.config, self.port.number).await?;
        Ok(())
    }
}

async fn launch(config: &MlflowConfig, port: u16) -> Result<Supervised, StartError> {
    let failed = |source| StartError::Write { program: PROGRAM, path: config.data_dir.clone(), source };
    std::fs::create_dir_all(&config.data_dir).map_err(failed)?;
    let data_dir = config.data_dir.canonicalize().map_err(failed)?;
    let spawned = Supervised::spawn(command(config, &data_dir, port)).await;
    let process = spawned.map_err(|source| StartError::Spawn { program: PROGRAM, source })?;
    let ready = async || answers_ok(port, "/health").await.then_some(());
    wait_for(PROGRAM, &process, config.deadline, ready).await?;
    if !owns(&process, port) {
        // Somebody else took the port after it was chosen and answers there; ours is about to find out.
        process.kill().await;
        return Err(StartError::ended(PROGRAM, &process, Exit::Killed));
    }
    Ok(process)
}

/// True when the listener is ours, or when the system does not let us see whose it is.
fn owns(process: &Supervised, port: u16) -> bool {
    ports::owner(port).is_none_or(|owner| descendants(process.group()).contains(&owner))
}

fn command(config: &MlflowConfig, data_dir: &Path, port: u16) -> Launch {
    Launch::new(&config.python, &config.log_file)
        // The module, not the script beside the interpreter: the script's first line names the directory it was
        // installed in, before that was renamed into place.
        .args(["-m", "mlflow", "server", "--host", "127.0.0.1", "--port"])
        .arg(port.to_string())
        .args(config.workers.iter().flat_map(|workers| ["--workers".to_owned(), workers.to_string()]))
        .arg("--backend-store-uri")
        .arg(format!("sqlite:///{}", data_dir.join("mlflow.db").display()))
        .arg("--artifacts-destination")
        .arg(data_dir.join("artifacts"))
        .cwd(data_dir)
        .env("MLFLOW_DISABLE_TELEMETRY", "true")
        .env("DO_NOT_TRACK", "true")
        .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
        .env("PYTHONUNBUFFERED", "1")
        .without_env("PYTHONPATH")
        .without_env("PYTHONHOME")
        // What the user's own clients are told must not configure this server.
        .without_env("MLFLOW_TRACKING_URI")
        .without_env("MLFLOW_REGISTRY_URI")
        .without_env("MLFLOW_BACKEND_STORE_URI")
        .without_env("MLFLOW_DEFAULT_ARTIFACT_ROOT")
        .without_env("MLFLOW_SERVER_ALLOWED_HOSTS")
}

fn lost_its_port(printed: &str) -> bool {
    printed.to_lowercase().contains("address already in use")
}
