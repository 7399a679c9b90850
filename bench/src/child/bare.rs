//! The raw thing: one frame out, one frame in, and nothing else.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bridge_worker::child::protocol::ToChild;
use serde::Deserialize;
use service_kit::error::CliError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::faults;

/// One read, one parse, one serialisation, one write: what any child has to do at least.
const PROGRAM: &str = "
import json, os, struct
while True:
    data = os.read(0, 65536)
    if not data:
        break
    request = json.loads(data[4:])
    body = json.dumps({'id': request['id'], 'value': request['params']}, separators=(',', ':')).encode()
    os.write(1, struct.pack('>I', len(body)) + body)
";
/// One round trip takes a ten-thousandth of this.
const LIMIT: Duration = Duration::from_secs(10);
/// A pipe never holds more.
const READ_BYTES: usize = 64 * 1024;

/// A Python process that echoes.
pub(super) struct BareChild {
    _process: Child,
    to: ChildStdin,
    from: ChildStdout,
    buffer: Vec<u8>,
}

/// The part of the answer that is looked at.
#[derive(Deserialize)]
struct Answer {
    id: u64,
}

impl BareChild {
    /// Starts one; it ends when dropped.
    pub(super) fn start(python: &Path) -> Result<Self, CliError> {
        let mut process = Command::new(python)
            .args(["-I", "-u", "-c", PROGRAM])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let to = process.stdin.take().expect("stdin was asked to be a pipe");
        let from = process.stdout.take().expect("stdout was asked to be a pipe");
        Ok(Self { _process: process, to, from, buffer: vec![0; READ_BYTES] })
    }

    /// One round trip with the very message ours gets.
    pub(super) async fn echo(&mut self, message: &ToChild<'_>, id: u64) -> Result<(), CliError> {
        let mut frame = vec![0; 4];
        serde_json::to_writer(&mut frame, message).map_err(CliError::internal)?;
        let length = u32::try_from(frame.len() - 4).expect("a call of some hundred bytes");
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.to.write_all(&frame).await?;
        // A frame of some hundred bytes comes in one read: pipes write up to 4 KiB at once or not at all.
        let read = tokio::time::timeout(LIMIT, self.from.read(&mut self.buffer)).await;
        let read = read.map_err(|_| faults::silent("the answer of the bare child", LIMIT))??;
        let body = self.buffer.get(4..read).unwrap_or_default();
        let answer: Answer = serde_json::from_slice(body)
            .map_err(|error| CliError::internal("the bare child answered no JSON").because(error))?;
        if answer.id == id { Ok(()) } else { Err(CliError::internal("the bare child answered another call")) }
    }
}
