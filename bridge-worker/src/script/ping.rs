//! Whether our own script runs at all, before calls are left to it.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use tokio::process::Command;

use super::ScriptSettings;
use crate::child::output::Tail;
use crate::child::{self, ENVIRONMENT, Orphans};

/// Deadline of the answer: an interpreter on a busy machine takes seconds.
const LIMIT: Duration = Duration::from_secs(30);

/// Calls our own script for nothing.
///
/// # Errors
/// Why it gave no answer, with the last words it printed.
pub(crate) async fn ping(settings: &ScriptSettings) -> Result<(), String> {
    let python = settings.python.display();
    let failed = |reason: String| format!("{python} does not run a script: {reason}");
    let mut command = Command::new(&settings.python);
    command
        .arg(&settings.script)
        .args(["--bridge-op", "ping"])
        .env_clear()
        .envs(ENVIRONMENT.iter().filter_map(|name| std::env::var_os(name).map(|value| (name, value))))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let (mut process, member) =
        child::spawn(&mut command, Orphans::FallToUs).map_err(|error| failed(error.to_string()))?;
    let stderr = process.stderr.take().map(Tail::follow);
    let ended = tokio::time::timeout(LIMIT, process.wait()).await;
    // Nothing it started is of any use now; a group that is gone is no error.
    let _ = killpg(member.pid(), Signal::SIGKILL);
    let reason = match ended {
        Ok(Ok(status)) if status.success() => return Ok(()),
        Ok(Ok(status)) => status.to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", LIMIT.as_secs()),
    };
    let words = match &stderr {
        Some(stderr) => stderr.last_words().await,
        None => String::new(),
    };
    let last = words.lines().last().map(|line| format!(" ({line})")).unwrap_or_default();
    Err(failed(format!("{reason}{last}")))
}
