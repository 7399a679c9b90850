//! One warm Python process: started, spoken to, killed.
//!
//! The process leads a group of its own; frames travel on descriptors 3 and 4; standard input is held open and says
//! by its end that the worker is gone; standard output and error belong to user code and are captured, bounded.
//! Killing always means everything below the child as well, and is waited for.

mod family;
mod kin;
mod offspring;
mod oom;
pub mod output;
mod probe;
mod processes;
pub mod protocol;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use command_fds::{CommandFdExt as _, FdMapping};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::process::{Child as Process, ChildStdin, Command};
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

use crate::limits::Limits;
pub use family::end_orphans;
pub(crate) use family::{Member, Orphans, bury_strays, kill_all, spawn, spawn_beside};
use offspring::Offspring;
use output::Tail;
pub use probe::Probe;
use protocol::{ChildLimits, FromChild, MAX_FRAME_BYTES, PROTOCOL, ToChild};

/// How often a child shows life.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Silence after which a child counts as lost.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(15);
/// What a child may have said before it was heard: some thousand reports, so that it need not wait while the broker
/// confirms those before.
#[cfg(target_os = "linux")]
const PIPE_BYTES: i32 = 512 << 10;
/// One read takes many small frames.
const READ_BYTES: usize = 64 << 10;
/// How long a child may take to read the order to stop, whose call may be over before.
const STOP_LIMIT: Duration = Duration::from_secs(1);
/// Deadline from spawn to ready: importing scikit-learn on a busy machine takes seconds.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Deadline for the kernel to hand over a killed process.
const REAP_LIMIT: Duration = Duration::from_secs(5);
/// Variables of our environment a child sees; everything else, credentials first of all, stays with the worker.
pub(crate) const ENVIRONMENT: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "CUDA_VISIBLE_DEVICES",
];
/// Variables by which numeric libraries take their number of threads, read at import.
pub(crate) const THREADS: [&str; 5] = [
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
];

/// How children are started.
#[derive(Debug, Clone)]
pub struct ChildSettings {
    /// The interpreter.
    pub python: PathBuf,
    /// Directory that holds the package `cerebros_worker`.
    pub runtime: PathBuf,
    /// Trainers to import at start.
    pub preload: Vec<String>,
    /// Directory data set paths are allowed under.
    pub dataset_dir: Option<PathBuf>,
    /// Directories to look for modules in.
    pub extra_paths: Vec<PathBuf>,
    /// Threads a numeric library may use.
    pub threads: usize,
    /// What each may take of the machine.
    pub limits: Limits,
}

/// Why a child could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operating system refused.
    #[error("cannot start {}: {error}", python.display())]
    Spawn {
        /// The interpreter.
        python: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// It started and could not get ready.
    #[error("the Python child did not get ready: {reason}{}", tail(stderr))]
    NotReady {
        /// Why.
        reason: String,
        /// What it printed.
        stderr: String,
    },
}

fn tail(stderr: &str) -> String {
    let last: Vec<&str> = stderr.lines().rev().take(3).collect();
    if last.is_empty() {
        String::new()
    } else {
        format!(" ({})", last.into_iter().rev().collect::<Vec<_>>().join(" | "))
    }
}

/// Why nothing more comes from a child.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Its pipe ended: the process is gone or about to be.
    #[error("the process ended")]
    Ended,
    /// It was silent for too long.
    #[error("no sign of life for {} s", SILENCE_LIMIT.as_secs())]
    Silent,
    /// It ended well and left nothing that could be read as a result; why.
    #[error("{0}")]
    NoResult(String),
    /// It said something that is no message.
    #[error("it broke the protocol: {0}")]
    Broken(String),
}

/// A Python process.
pub struct Child {
    process: Process,
    member: Member,
    probe: Arc<Probe>,
    frames: FramedRead<pipe::Receiver, LengthDelimitedCodec>,
    orders: pipe::Sender,
    /// Held open: its end tells the child that we are gone.
    _lifeline: ChildStdin,
    stdout: Tail,
    stderr: Tail,
    offspring: Offspring,
    /// A message to it is not complete: whatever it reads next begins in the middle.
    is_torn: bool,
    next_call: u64,
}

impl Child {
    /// Starts a child and waits until it has imported everything.
    pub async fn start(settings: &ChildSettings) -> Result<Self, StartError> {
        let spawn_error = |error| StartError::Spawn { python: settings.python.clone(), error };
        let mut child = Self::spawn(settings).map_err(spawn_error)?;
        let greeting = tokio::time::timeout(START_LIMIT, child.greet(settings)).await;
        let reason = match greeting {
            Ok(Ok(())) => return Ok(child),
            Ok(Err(reason)) => reason,
            Err(_) => format!("nothing within {} s", START_LIMIT.as_secs()),
        };
        let reason = match settings.limits.memory {
            Some(limit) => {
                format!("{reason}; {limit} of memory are allowed: if that is it, raise --child-memory")
            }
            None => reason,
        };
        Err(StartError::NotReady { reason, stderr: child.kill().await.stderr })
    }

    fn spawn(settings: &ChildSettings) -> std::io::Result<Self> {
        let (orders, child_in) = pipe::pipe()?;
        let (child_out, frames) = pipe::pipe()?;
        grow(&frames);
        let mut command = Command::new(&settings.python);
        command
            .args(["-m", "cerebros_worker"])
            .current_dir(&settings.runtime)
            .env_clear()
            .envs(ENVIRONMENT.iter().filter_map(|name| std::env::var_os(name).map(|value| (name, value))))
            .envs(THREADS.iter().map(|name| (name, settings.threads.to_string())))
            .env("PYTHONPATH", &settings.runtime)
            .env("PYTHONSAFEPATH", "1")
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONIOENCODING", "utf-8")
            .env("CEREBROS_FRAMES_IN", "3")
            .env("CEREBROS_FRAMES_OUT", "4")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let ends: [(OwnedFd, i32); 2] =
            [(child_in.into_blocking_fd()?, 3), (child_out.into_blocking_fd()?, 4)];
        let mappings =
            ends.into_iter().map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd }).collect();
        command.fd_mappings(mappings).map_err(std::io::Error::other)?;
        let (mut process, member) = spawn(&mut command, Orphans::StayBelow)?;
        let pid = member.pid().as_raw();
        let codec = LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME_BYTES).new_codec();
        let missing = || std::io::Error::other("a standard stream is missing");
        Ok(Self {
            probe: Arc::new(Probe::new(&member, settings.limits)),
            member,
            frames: FramedRead::with_capacity(frames, codec, READ_BYTES),
            orders,
            _lifeline: process.stdin.take().ok_or_else(missing)?,
            stdout: Tail::follow(process.stdout.take().ok_or_else(missing)?),
            stderr: Tail::follow(process.stderr.take().ok_or_else(missing)?),
            process,
            offspring: Offspring::of(pid),
            is_torn: false,
            next_call: 1,
        })
    }

    async fn greet(&mut self, settings: &ChildSettings) -> Result<(), String> {
        let init = ToChild::Init {
            protocol: PROTOCOL,
            preload: &settings.preload,
            dataset_dir: settings.dataset_dir.as_deref(),
            heartbeat_ms: u64::try_from(HEARTBEAT.as_millis()).unwrap_or(1000),
            extra_paths: &settings.extra_paths,
            limits: ChildLimits::of(&settings.limits),
        };
        self.send(&init).await.map_err(|error| {
            format!(
                "its pipe is closed ({error}); is {} a Python of 3.9 or later?",
                settings.python.display()
            )
        })?;
        loop {
            match self.receive_within(START_LIMIT).await.map_err(|lost| lost.to_string())? {
                FromChild::Hello { protocol: PROTOCOL, .. } | FromChild::Heartbeat => {}
                FromChild::Hello { protocol, .. } => {
                    return Err(format!("it speaks protocol {protocol}, not {PROTOCOL}"));
                }
                FromChild::Ready { import_ms, python } => {
                    self.probe.note_ready();
                    tracing::debug!(pid = self.pid(), python, import_ms, "child ready");
                    return Ok(());
                }
                FromChild::Fatal { failure } => return Err(failure.message),
                other @ (FromChild::Report { .. }
                | FromChild::Artifact { .. }
                | FromChild::Result(_)
                | FromChild::Trial { .. }) => return Err(format!("it spoke out of turn: {other:?}")),
            }
        }
    }

    /// A number for the next call.
    pub fn next_call(&mut self) -> u64 {
        self.next_call += 1;
        self.next_call
    }

    /// The process id, which is also that of its group.
    pub fn pid(&self) -> i32 {
        self.member.pid().as_raw()
    }

    /// The child seen from outside.
    pub fn probe(&self) -> &Arc<Probe> {
        &self.probe
    }

    /// True until the process has ended, or begun to: it can be waited for only when the last of its threads is gone.
    pub fn is_alive(&mut self) -> bool {
        let is_over = processes::stat(self.pid()).is_some_and(|stat| stat.is_over);
        !is_over && matches!(self.process.try_wait(), Ok(None))
    }

    /// True when it takes no further call: it has ended and was waited for, or a message to it was broken off. The cheap
    /// question, before every call.
    pub fn is_spent(&mut self) -> bool {
        self.is_torn || !matches!(self.process.try_wait(), Ok(None))
    }

    /// True when a message to it was broken off.
    pub fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// Sends one message. Dropped in the middle, the child is spent.
    ///
    /// # Errors
    /// `TimedOut` when the child does not read it within [`SILENCE_LIMIT`]; anything else when it has ended.
    pub async fn send(&mut self, message: &ToChild<'_>) -> std::io::Result<()> {
        self.send_within(message, SILENCE_LIMIT).await
    }

    /// Asks for the end of a call; of a child that does not read, not for long.
    ///
    /// # Errors
    /// See [`Child::send`].
    pub async fn stop(&mut self, call: u64, reason: &'static str) -> std::io::Result<()> {
        self.send_within(&ToChild::Stop { id: call, reason }, STOP_LIMIT).await
    }

    async fn send_within(&mut self, message: &ToChild<'_>, limit: Duration) -> std::io::Result<()> {
        if self.is_torn {
            return Err(std::io::Error::other("an earlier message was broken off"));
        }
        let mut frame = vec![0; 4];
        serde_json::to_writer(&mut frame, message)?;
        let length = u32::try_from(frame.len() - 4).map_err(std::io::Error::other)?;
        if frame.len() - 4 > MAX_FRAME_BYTES {
            return Err(std::io::Error::other(format!(
                "a message of {length} bytes is over the limit of {MAX_FRAME_BYTES}"
            )));
        }
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.is_torn = true;
        tokio::time::timeout(limit, self.orders.write_all(&frame)).await??;
        self.is_torn = false;
        Ok(())
    }

    /// The next message within [`SILENCE_LIMIT`]. Cancel safe.
    pub async fn receive(&mut self) -> Result<FromChild, Lost> {
        self.receive_within(SILENCE_LIMIT).await
    }

    async fn receive_within(&mut self, limit: Duration) -> Result<FromChild, Lost> {
        match tokio::time::timeout(limit, self.frames.next()).await {
            Err(_) => Err(Lost::Silent),
            Ok(frame) => read(frame),
        }
    }

    /// The next message, if it is there already.
    pub fn ready(&mut self) -> Option<Result<FromChild, Lost>> {
        self.frames.next().now_or_never().map(read)
    }

    /// Forgets what was printed before this call.
    pub fn clear_output(&self) {
        self.stdout.clear();
        self.stderr.clear();
    }

    /// The end of what was printed on standard output so far.
    pub fn printed(&self) -> String {
        self.stdout.text()
    }

    /// True when processes started by user code are still there (Linux; elsewhere not known and false).
    pub fn has_descendants(&self) -> bool {
        self.offspring.is_there()
    }

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

/// Gives the pipe room. Without, which the system may refuse, it is only slower.
#[cfg(target_os = "linux")]
fn grow(pipe: &pipe::Receiver) {
    if let Err(error) = nix::fcntl::fcntl(pipe, nix::fcntl::FcntlArg::F_SETPIPE_SZ(PIPE_BYTES)) {
        tracing::debug!(%error, "the pipe of a child stays small");
    }
}

#[cfg(not(target_os = "linux"))]
fn grow(_: &pipe::Receiver) {}

/// What came out of the pipe.
fn read(frame: Option<std::io::Result<BytesMut>>) -> Result<FromChild, Lost> {
    match frame {
        None => Err(Lost::Ended),
        // A process may end in the middle of a frame: then it is how it ended that matters.
        Some(Err(error)) if error.kind() != std::io::ErrorKind::InvalidData => Err(Lost::Ended),
        Some(Err(error)) => Err(Lost::Broken(error.to_string())),
        Some(Ok(frame)) => {
            FromChild::read(&frame).map_err(|error| Lost::Broken(format!("a frame is no message: {error}")))
        }
    }
}

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
