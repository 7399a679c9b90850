//! Optuna and joblib in a Python process that is told what to tune.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::{PARALLEL, Spent, TRIAL_SECONDS, Work};
use crate::cli::progress;
use crate::environments::{peer_scripts, trainers, tuners_python};
use crate::faults;
use crate::stand::Stand;

/// Some hundred trials of milliseconds take seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);

/// Who tunes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tuner {
    /// A study in memory, threads.
    Optuna,
    /// Processes of loky.
    Joblib,
}

/// Both, running.
pub(super) struct Tuners {
    _process: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

#[derive(Deserialize)]
struct Answer {
    wall: f64,
    trained: f64,
}

impl Tuners {
    /// Starts the process. The inner error says why the tuners cannot be measured on this machine.
    pub(super) async fn start(stand: &Stand) -> Result<Result<Self, String>, CliError> {
        let python = match tuners_python().await {
            Ok(python) => python,
            Err(error) => return Ok(Err(format!("{error}; {}", error.help()))),
        };
        let dir = stand.dir().join("tuners");
        std::fs::create_dir_all(&dir)?;
        Self::spawn(&python, &dir).map(Ok)
    }

    fn spawn(python: &Path, dir: &Path) -> Result<Self, CliError> {
        progress("starting Optuna and joblib");
        let log = std::fs::File::create(dir.join("tuners.log"))?;
        let mut process = Command::new(python)
            .arg(peer_scripts().join("tuners.py"))
            // The processes of loky import the objective by its name.
            .env("PYTHONPATH", trainers())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("JOBLIB_TEMP_FOLDER", dir)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let orders = process.stdin.take().expect("stdin was asked to be a pipe");
        let answers = BufReader::new(process.stdout.take().expect("stdout was asked to be a pipe")).lines();
        Ok(Self { _process: process, orders, answers })
    }

    /// Lets one of them carry out so many trials.
    pub(super) async fn tune(&mut self, tuner: Tuner, work: Work, trials: u32) -> Result<Spent, CliError> {
        let tuner = match tuner {
            Tuner::Optuna => "optuna",
            Tuner::Joblib => "joblib",
        };
        let work = match work {
            Work::Waits => "wait",
            Work::Burns => "burn",
        };
        let order = serde_json::json!({
            "tuner": tuner, "work": work, "trials": trials, "seconds": TRIAL_SECONDS, "jobs": PARALLEL,
        });
        self.orders.write_all(format!("{order}\n").as_bytes()).await.map_err(silent)?;
        let answer = tokio::time::timeout(ANSWER_LIMIT, self.answers.next_line()).await;
        let answer = answer.map_err(|_| faults::silent("the answer of the tuners", ANSWER_LIMIT))?;
        let line = answer.map_err(silent)?.ok_or_else(|| silent("their process ended"))?;
        let answer: Answer = serde_json::from_str(&line).map_err(silent)?;
        let duration = |seconds| Duration::try_from_secs_f64(seconds).map_err(silent);
        Ok(Spent { wall: duration(answer.wall)?, trained: duration(answer.trained)? })
    }
}

fn silent(because: impl std::fmt::Display) -> CliError {
    CliError::new("tuners-silent", Exit::Unreachable, "Optuna and joblib do not answer")
        .because(because)
        .help("run them by hand: bench/peers/tuners.py")
}
