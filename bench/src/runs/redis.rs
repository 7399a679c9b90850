//! A Redis of this measurement's own: in memory, no snapshots, no append-only file. That is its fastest, and it means
//! that a crash of the machine loses every task; our own events are on disk.

use std::path::Path;
use std::time::Duration;

use local_stack::process::{Launch, Supervised};
use local_stack::readiness::wait_for;
use service_kit::error::CliError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::environments::free_port;
use crate::faults;

const START_LIMIT: Duration = Duration::from_secs(10);

/// A running Redis. Dropping it kills it.
pub(super) struct Redis {
    _process: Supervised,
    port: u16,
}

impl Redis {
    /// Starts one that keeps nothing on disk.
    pub(super) async fn start(program: &Path, dir: &Path) -> Result<Self, CliError> {
        let port = free_port()?;
        let launch = Launch::new(program, dir.join("redis.log"))
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port".to_owned(), port.to_string()])
            .arg("--dir")
            .arg(dir)
            .cwd(dir);
        let process = Supervised::spawn(launch).await.map_err(|error| faults::not_spawned(&error))?;
        wait_for("redis-server", &process, START_LIMIT, async || answers(port).await.ok())
            .await
            .map_err(|error| faults::not_started(&error))?;
        Ok(Self { _process: process, port })
    }

    /// `redis://127.0.0.1:PORT/0`.
    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }
}

async fn answers(port: u16) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    if &answer == b"+PONG" { Ok(()) } else { Err(std::io::Error::other("no Redis")) }
}
