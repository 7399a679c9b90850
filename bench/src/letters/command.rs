//! A command for people as a process, from its start to its exit.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use service_kit::error::CliError;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::Instant;

use crate::faults;
use crate::process_table;
use crate::stand::Stand;
use crate::table::Figure;

/// No command may take longer.
const LIMIT: Duration = Duration::from_secs(120);
/// Pause between two looks at the memory of the process.
const LOOK: Duration = Duration::from_millis(5);

/// What some runs of a command took.
#[derive(Debug)]
pub(super) struct Timed {
    /// The median.
    pub(super) time: Duration,
    pub(super) all: Vec<Duration>,
    /// The most one of them ever had resident.
    pub(super) most_resident: Figure,
    /// Lines it printed.
    pub(super) lines: u32,
}

/// Runs a command several times, after a warm-up, each time after `beside`.
pub(super) async fn median(
    program: &Path,
    stand: &Stand,
    arguments: &[&str],
    rounds: u32,
    mut beside: impl AsyncFnMut() -> Result<(), CliError>,
) -> Result<Timed, CliError> {
    let mut runs = Vec::new();
    for round in 0..=rounds {
        beside().await?;
        let run = tokio::time::timeout(LIMIT, once(program, stand, arguments));
        let run = run.await.map_err(|_| faults::silent(format!("{arguments:?}"), LIMIT))??;
        if round > 0 {
            runs.push(run);
        }
    }
    let mut all: Vec<Duration> = runs.iter().map(|(time, ..)| *time).collect();
    let lines = runs.last().map_or(0, |(_, _, lines)| *lines);
    let most = runs.into_iter().map(|(_, resident, _)| resident);
    let most_resident = most.reduce(Figure::max);
    let most_resident = most_resident.ok_or_else(|| CliError::internal("nothing was measured"))?;
    let listed = all.clone();
    all.sort_unstable();
    Ok(Timed { time: all[all.len() / 2], all: listed, most_resident, lines })
}

async fn once(
    program: &Path,
    stand: &Stand,
    arguments: &[&str],
) -> Result<(Duration, Figure, u32), CliError> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("NATS_URL", stand.url()).current_dir(stand.dir());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
    let began = Instant::now();
    let mut child = command.spawn()?;
    let pid = child.id().unwrap_or_default();
    let stdout = child.stdout.take().ok_or_else(|| CliError::internal("a pipe was asked for"))?;
    let reading = tokio::spawn(async move {
        let (mut reader, mut lines) = (BufReader::with_capacity(1 << 20, stdout), 0_u32);
        loop {
            let taken = match reader.fill_buf().await {
                Ok([]) | Err(_) => return lines,
                Ok(bytes) => {
                    lines += u32::try_from(bytes.iter().filter(|byte| **byte == b'\n').count()).unwrap_or(0);
                    bytes.len()
                }
            };
            reader.consume(taken);
        }
    });
    let mut most = None;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            () = tokio::time::sleep(LOOK) => most = process_table::most_resident(pid).ok().or(most),
        }
    };
    let time = began.elapsed();
    let lines = reading.await.unwrap_or_default();
    if !status.success() {
        return Err(CliError::internal(format!("{arguments:?} ended with {status}")));
    }
    let most = most.ok_or_else(|| CliError::internal("the command was gone before its memory was seen"))?;
    Ok((time, most, lines))
}
