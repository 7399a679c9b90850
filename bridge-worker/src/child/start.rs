//! The start of a child, from the process to the word that it is ready.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

use super::offspring::Offspring;
use super::output::Tail;
use super::probe::Probe;
use super::protocol::{ChildLimits, FromChild, MAX_FRAME_BYTES, PROTOCOL, ToChild};
use super::{Child, ChildSettings, ENVIRONMENT, Orphans, THREADS, spawn};

/// How often a child shows life.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// What a child may have said before it was heard: some thousand reports, so that it need not wait while the broker
/// confirms those before.
#[cfg(target_os = "linux")]
const PIPE_BYTES: i32 = 512 << 10;
/// One read takes many small frames.
const READ_BYTES: usize = 64 << 10;
/// Deadline from spawn to ready: importing scikit-learn on a busy machine takes seconds.
const START_LIMIT: Duration = Duration::from_secs(120);

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
