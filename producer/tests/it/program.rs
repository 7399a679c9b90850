//! The built binary, as a script runs it: standard input closed, nothing of our own environment.

use std::ffi::OsStr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// No command of these tests takes longer.
const DEADLINE: Duration = Duration::from_secs(30);

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The run id `submit` printed, alone on its line.
    pub(crate) fn id(&self) -> &str {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
            .strip_suffix('\n')
            .filter(|id| !id.contains(char::is_whitespace))
            .expect("one word on one line")
    }

    fn of(status: ExitStatus, stdout: String, stderr: String) -> Self {
        assert!(
            !stdout.contains('\u{1b}') && !stderr.contains('\u{1b}'),
            "an escape in a pipe: {stdout:?} {stderr:?}"
        );
        Self { code: status.code().expect("it was not killed"), stdout, stderr }
    }
}

fn command(url: &str, arguments: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_producer"));
    command.args(arguments).env_clear().env("NATS_URL", url).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end.
pub(crate) async fn producer<S: AsRef<OsStr> + std::fmt::Debug>(url: &str, arguments: &[S]) -> Ended {
    let output = timeout(DEADLINE, command(url, arguments).output()).await;
    let output = output.unwrap_or_else(|_| panic!("did not end: {arguments:?}")).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended::of(output.status, text(output.stdout), text(output.stderr))
}

/// The same with something on standard input.
pub(crate) async fn producer_fed(url: &str, arguments: &[&str], input: &[u8]) -> Ended {
    let mut running = command(url, arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = running.stdin.take().unwrap();
    stdin.write_all(input).await.unwrap();
    drop(stdin);
    let output = timeout(DEADLINE, running.wait_with_output()).await.expect("it ends").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended::of(output.status, text(output.stdout), text(output.stderr))
}

/// A program under way.
pub(crate) struct Running {
    child: Child,
    stdout: Option<Lines<BufReader<ChildStdout>>>,
}

impl Running {
    pub(crate) fn start(url: &str, arguments: &[&str]) -> Self {
        let mut child = command(url, arguments).spawn().unwrap();
        let stdout = child.stdout.take().map(|stdout| BufReader::new(stdout).lines());
        Self { child, stdout }
    }

    /// The next line of its standard output; `None` at the end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let lines = self.stdout.as_mut().expect("standard output is open");
        timeout(DEADLINE, lines.next_line()).await.expect("a line in time").unwrap()
    }

    /// Stops reading, as `head -1` does.
    pub(crate) fn close_stdout(&mut self) {
        self.stdout = None;
    }

    /// Ctrl-C.
    pub(crate) async fn interrupt(&self) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    }

    /// Waits for its end; standard output is what was not read before.
    pub(crate) async fn end(mut self) -> Ended {
        let mut stdout = String::new();
        if self.stdout.is_some() {
            while let Some(line) = self.line().await {
                stdout.push_str(&line);
                stdout.push('\n');
            }
        }
        let mut stderr = String::new();
        let mut pipe = self.child.stderr.take().unwrap();
        timeout(DEADLINE, pipe.read_to_string(&mut stderr)).await.expect("it ends").unwrap();
        let status = timeout(DEADLINE, self.child.wait()).await.expect("it ends").unwrap();
        Ended::of(status, stdout, stderr)
    }
}
