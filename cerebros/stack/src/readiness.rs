//! Started means answered: waits until a program's health page says 200, its process ends, or the deadline passes.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::ports::PortError;
use crate::process::{Exit, SpawnError, Supervised};

/// Pause between two questions to a program that is starting.
const POLL: Duration = Duration::from_millis(10);
/// How long one question may take.
const PROBE_DEADLINE: Duration = Duration::from_secs(2);
/// Lines of the log that an error shows.
const SHOWN_LINES: usize = 12;

/// Why a program of the stack did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No port for it.
    #[error("{program} has no port")]
    Port {
        /// What was started.
        program: &'static str,
        /// Why not.
        source: PortError,
    },
    /// It could not be executed.
    #[error("{program} could not be executed")]
    Spawn {
        /// What was started.
        program: &'static str,
        /// Why not.
        source: SpawnError,
    },
    /// Its directory or configuration could not be written.
    #[error("cannot write {} for {program}", path.display())]
    Write {
        /// What was started.
        program: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It ended before it answered.
    #[error("{program} ended while starting ({exit})")]
    Ended {
        /// What was started.
        program: &'static str,
        /// How it ended.
        exit: Exit,
        /// The last lines it printed.
        printed: String,
        /// Where the rest is.
        log: PathBuf,
    },
    /// It runs but did not answer in time; it was stopped again.
    #[error("{program} did not answer within {} s", waited.as_secs())]
    Silent {
        /// What was started.
        program: &'static str,
        /// How long it had.
        waited: Duration,
        /// The last lines it printed.
        printed: String,
        /// Where the rest is.
        log: PathBuf,
    },
}

impl StartError {
    /// The cause in the program's own words, if it had any.
    pub fn because(&self) -> Option<String> {
        match self {
            Self::Port { source, .. } => Some(source.to_string()),
            Self::Spawn { source, .. } => Some(source.to_string()),
            Self::Write { source, .. } => Some(source.to_string()),
            Self::Ended { printed, .. } | Self::Silent { printed, .. } => {
                (!printed.is_empty()).then(|| format!("it printed:\n{printed}"))
            }
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Port { source, .. } => source.help(),
            Self::Spawn { .. } => {
                "remove the `tools` directory in the data directory to install it anew".to_owned()
            }
            Self::Write { path, .. } => {
                format!("make {} writable, or name another data directory", path.display())
            }
            Self::Ended { log, .. } | Self::Silent { log, .. } => {
                format!("the whole log is {}", log.display())
            }
        }
    }

    pub(crate) fn ended(program: &'static str, process: &Supervised, exit: Exit) -> Self {
        let (printed, log) = (process.last_lines(SHOWN_LINES), process.log().to_owned());
        Self::Ended { program, exit, printed, log }
    }

    pub(crate) fn silent(program: &'static str, process: &Supervised, waited: Duration) -> Self {
        let (printed, log) = (process.last_lines(SHOWN_LINES), process.log().to_owned());
        Self::Silent { program, waited, printed, log }
    }
}

/// Asks again and again until `answer` gives something; kills the program when the deadline passes.
pub async fn wait_for<T>(
    program: &'static str,
    process: &Supervised,
    deadline: Duration,
    mut answer: impl AsyncFnMut() -> Option<T>,
) -> Result<T, StartError> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = timeout(PROBE_DEADLINE, answer()).await.ok().flatten() {
            return Ok(found);
        }
        if Instant::now() >= end {
            let error = StartError::silent(program, process, deadline);
            process.kill().await;
            return Err(error);
        }
        tokio::select! {
            exit = process.exited() => return Err(StartError::ended(program, process, exit)),
            () = sleep(POLL) => {}
        }
    }
}

/// True when `GET path` on a loopback port answers 200. Plain HTTP/1.0, one connection, at most two seconds.
pub async fn answers_ok(port: u16, path: &str) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut status_line = [0; 12];
        stream.read_exact(&mut status_line).await?;
        std::io::Result::Ok(status_line.starts_with(b"HTTP/1.") && status_line.ends_with(b" 200"))
    };
    matches!(timeout(PROBE_DEADLINE, ask).await, Ok(Ok(true)))
}
