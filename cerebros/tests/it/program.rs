//! The built program with a data directory of its own; the tools are the checkout's.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use testkit::{Scratch, processes, wait_until};

/// From nothing to a ready stack, on a machine that is compiling.
pub(crate) const READY: Duration = Duration::from_secs(240);
/// From the signal to the end.
pub(crate) const STOPPED: Duration = Duration::from_secs(40);

/// An empty data directory with the tools linked into it.
pub(crate) struct DataDir {
    scratch: Scratch,
}

impl DataDir {
    /// Installs the tools first, if this is the first test ever.
    pub(crate) async fn new() -> Self {
        testkit::nats_server().await;
        testkit::trainer_python().await;
        testkit::mlflow_python().await;
        let scratch = Scratch::new();
        std::fs::create_dir(scratch.join("data")).unwrap();
        symlink(testkit::tools().dir(), scratch.join("data/tools")).unwrap();
        Self { scratch }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.scratch.join("data").canonicalize().unwrap()
    }

    /// The program in this data directory, with nothing of the tester's own settings.
    pub(crate) fn program(&self, arguments: &[&str]) -> Command {
        let mut command = program(self.scratch.path(), arguments);
        command.env("CEREBROS_DATA_DIR", self.path());
        command
    }

    pub(crate) fn endpoints(&self) -> Option<Value> {
        serde_json::from_slice(&std::fs::read(self.path().join("endpoints.json")).ok()?).ok()
    }
}

/// The program in a working directory.
pub(crate) fn program(cwd: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cerebros"));
    command.args(arguments).current_dir(cwd).stdin(Stdio::null());
    for name in [
        "NATS_URL",
        "NATS_CONTEXT",
        "MLFLOW_TRACKING_URI",
        "RUST_LOG",
        "CEREBROS_LOG_FORMAT",
        "CEREBROS_SLOTS",
    ] {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end.
pub(crate) async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A running `up`. Killed on drop, and its stack with it.
pub(crate) struct Up {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Up {
    /// Starts one and waits until it has printed its block.
    pub(crate) async fn ready(data_dir: &DataDir, flags: &[&str]) -> Self {
        let mut up = Self::start(data_dir, flags);
        wait_until("the stack is ready", READY, async || {
            assert_eq!(up.child.try_wait().unwrap(), None, "it ended instead of getting ready");
            let is_ours = data_dir.endpoints().is_some_and(|endpoints| endpoints["pid"] == up.pid());
            (is_ours && up.printed().contains("doctor")).then_some(())
        })
        .await;
        up
    }

    pub(crate) fn start(data_dir: &DataDir, flags: &[&str]) -> Self {
        let file = |name: &str| data_dir.scratch.join(name);
        let (stdout, stderr) = (file("up.out"), file("up.err"));
        let mut command = data_dir.program(&[&["up"], flags].concat());
        command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
        Self { child: command.spawn().unwrap(), stdout, stderr }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it printed as data.
    pub(crate) fn printed(&self) -> String {
        std::fs::read_to_string(&self.stdout).unwrap_or_default()
    }

    /// What it said besides.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Everything it has started.
    pub(crate) fn processes(&self) -> Vec<u32> {
        processes::descendants(self.pid())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.pid()).unwrap()), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        self.ended_within(STOPPED).await
    }

    /// The end of one that is not told to end: it starts first.
    pub(crate) async fn ended_by_itself(&mut self) -> ExitStatus {
        self.ended_within(READY + STOPPED).await
    }

    async fn ended_within(&mut self, patience: Duration) -> ExitStatus {
        let child = &mut self.child;
        wait_until("up ended", patience, async || child.try_wait().unwrap()).await
    }
}

impl Drop for Up {
    #[expect(clippy::print_stderr, reason = "the reason of a failure is in what the program said")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("up had printed:\n{}\nand said:\n{}", self.printed(), self.said());
        }
        // Gone already in a test that passed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
