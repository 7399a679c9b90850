//! MLflow's own fluent client in a Python process that is told what to log.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::cli::progress;
use crate::environments::{mlflow_python, peer_scripts};
use crate::faults;
use crate::stand::Stand;

/// Some hundred calls take seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(300);

/// What it is to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Nested runs.
    Trials,
    /// Values of one metric, one call each.
    Values,
}

/// The client, running.
pub(super) struct Fluent {
    _process: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

#[derive(Deserialize)]
struct Answer {
    wall: f64,
}

impl Fluent {
    /// Starts the process.
    pub(super) async fn start(stand: &Stand, url: &str) -> Result<Self, CliError> {
        progress("starting MLflow's fluent client");
        let dir = stand.dir().join("fluent");
        std::fs::create_dir_all(&dir)?;
        let log = std::fs::File::create(dir.join("fluent.log"))?;
        let mut process = Command::new(mlflow_python().await?)
            .arg(peer_scripts().join("fluent.py"))
            .env("MLFLOW_TRACKING_URI", url)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let orders = process.stdin.take().expect("stdin was asked to be a pipe");
        let answers = BufReader::new(process.stdout.take().expect("stdout was asked to be a pipe")).lines();
        Ok(Self { _process: process, orders, answers })
    }

    /// Logs so many and returns how long that took.
    pub(super) async fn log(&mut self, what: What, count: u32) -> Result<Duration, CliError> {
        let what = match what {
            What::Trials => "trials",
            What::Values => "values",
        };
        let order = serde_json::json!({"what": what, "count": count});
        self.orders.write_all(format!("{order}\n").as_bytes()).await.map_err(silent)?;
        loop {
            let line = tokio::time::timeout(ANSWER_LIMIT, self.answers.next_line()).await;
            let line = line.map_err(|_| faults::silent("the answer of the fluent client", ANSWER_LIMIT))?;
            let line = line.map_err(silent)?.ok_or_else(|| silent("its process ended"))?;
            // What MLflow itself prints for people is no answer.
            if let Ok(answer) = serde_json::from_str::<Answer>(&line) {
                return Duration::try_from_secs_f64(answer.wall).map_err(silent);
            }
        }
    }
}

fn silent(because: impl std::fmt::Display) -> CliError {
    CliError::new("fluent-silent", Exit::Unreachable, "MLflow's fluent client does not answer")
        .because(because)
        .help("run it by hand: bench/peers/fluent.py")
}
