//! The programs of an installation, one after the other, each until it ends, the deadline passes or the caller cancels.

use std::path::PathBuf;

use tokio::time::{Instant, timeout_at};

use super::{InstallError, Tools};
use crate::process::{Exit, Launch, Supervised};

/// Lines of a program's output that an error shows.
const SHOWN_LINES: usize = 8;

/// The steps of one installation.
pub(super) struct Steps<'a> {
    pub(super) tools: &'a Tools,
    /// What is installed, for people.
    pub(super) title: &'a str,
    /// Where all of them print to.
    pub(super) log: PathBuf,
    pub(super) end: Instant,
}

impl Steps<'_> {
    /// Runs a program to its successful end.
    pub(super) async fn run(&self, step: &'static str, launch: Launch) -> Result<(), InstallError> {
        let title = || self.title.to_owned();
        let spawned = Supervised::spawn(launch).await;
        let process = spawned.map_err(|source| InstallError::Spawn { title: title(), source })?;
        let ended = tokio::select! {
            ended = timeout_at(self.end, process.exited()) => ended,
            () = self.tools.cancel.cancelled() => {
                process.kill().await;
                return Err(InstallError::Cancelled { title: title() });
            }
        };
        match ended {
            Ok(Exit::Status(0)) => Ok(()),
            Ok(Exit::Status(_) | Exit::Killed) => Err(InstallError::Failed {
                title: title(),
                step,
                printed: process.last_lines(SHOWN_LINES),
                log: self.log.clone(),
            }),
            Err(_) => {
                process.kill().await;
                let (waited, log) = (self.tools.deadline, self.log.clone());
                Err(InstallError::TooSlow { title: title(), step, waited, log })
            }
        }
    }
}
