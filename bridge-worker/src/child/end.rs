//! The end of a child: killed with everything below it, and waited for.

use std::process::ExitStatus;
use std::time::Duration;

use super::{Child, bury_strays, kill_all};

/// Deadline for the kernel to hand over a killed process.
const REAP_LIMIT: Duration = Duration::from_secs(5);

/// How a child ended, and the end of what it printed during its last call.
#[derive(Debug, Default)]
pub struct End {
    /// Its exit status; `None` when the kernel would not hand it over in time.
    pub status: Option<ExitStatus>,
    /// On standard output.
    pub stdout: String,
    /// On standard error.
    pub stderr: String,
}

impl Child {
    /// Kills the child and everything below it, and waits for the end.
    pub async fn kill(mut self) -> End {
        // A process that is already gone but not reaped keeps its group id taken, so no stranger is hit.
        let earlier = self.process.try_wait().ok().flatten();
        kill_all(self.member.pid());
        let status = match earlier {
            Some(status) => Some(status),
            None => tokio::time::timeout(REAP_LIMIT, self.process.wait()).await.ok().and_then(Result::ok),
        };
        bury_strays(Some(&self.member)).await;
        let (stdout, stderr) = tokio::join!(self.stdout.last_words(), self.stderr.last_words());
        End { status, stdout, stderr }
    }

    /// Waits a moment for a process whose pipe has ended, so that its own exit status is seen, then kills what is left.
    pub async fn bury(mut self) -> End {
        let grace = Duration::from_millis(500);
        let status = tokio::time::timeout(grace, self.process.wait()).await.ok().and_then(Result::ok);
        let end = self.kill().await;
        End { status: status.or(end.status), ..end }
    }
}
