//! A call that has a process of its own: our own script, asked on standard input, as `--invoker subprocess` does.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bridge_worker::runtime;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::Instant;

use super::call;
use crate::faults;

/// Deadline of one call.
const LIMIT: Duration = Duration::from_secs(60);

/// From the start of the process to its end, with the answer in hand.
pub(super) async fn noop(python: &Path, dir: &Path) -> Result<Duration, CliError> {
    let runtime = runtime::lay_out(&dir.join("runtime"))?;
    let call = call(1, "train", dir);
    let payload = serde_json::json!({"entry": call.entry, "params": call.params, "trial": call.trial});
    let question = serde_json::json!({"op": "train", "payload": payload}).to_string();
    let began = Instant::now();
    let mut process = Command::new(python)
        .arg(runtime.join(runtime::SCRIPT))
        .args(["--bridge-op", "train"])
        .env("PYTHONPATH", &runtime)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = process.stdin.take().expect("stdin was asked to be a pipe");
    stdin.write_all(question.as_bytes()).await?;
    drop(stdin);
    let output = tokio::time::timeout(LIMIT, process.wait_with_output()).await;
    let output = output.map_err(|_| faults::silent("the answer of a script", LIMIT))??;
    let took = began.elapsed();
    let answer = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && answer.contains("succeeded") {
        return Ok(took);
    }
    Err(CliError::new("no-answer", Exit::LocalResource, "a script gave no result").because(answer))
}
