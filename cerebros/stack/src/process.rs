//! A child process that cannot outlive us: its own process group, its output in a bounded log file, its end observed.
//!
//! How it dies with its parent, also after `kill -9`: a guard of twenty lines of POSIX shell (`process/guard.sh`)
//! leads the group and reads a pipe that only we hold open. When we are gone, however that happened, the kernel
//! closes the pipe, the guard sends SIGTERM to the group and five seconds later SIGKILL. Why this one:
//! - `PR_SET_PDEATHSIG` exists on Linux only, reaches one process and not its children, and fires when the *thread*
//!   that forked ends, which in an async runtime is not when the program ends;
//! - a guard written in Python does the same for 15 ms and 9 MB a piece and needs an interpreter before the
//!   installer has found one; `/bin/sh` is on every machine, starts in a millisecond and takes 1 MB.
//!
//! When the program ends by itself, the guard kills what it left in its group. It does not reach a descendant that
//! moved into another group; what such a program starts must watch its own parent (our Python children do).
//! SIGINT is ignored in the program, as in every background command of a shell: Ctrl-C is for the parent alone.
//!
//! Nothing here belongs to an async runtime: two small threads per child feed a watch channel, so a [`Supervised`]
//! may be kept in a static and used from the runtimes of several tests.

mod group;
mod launch;
mod log;
mod tree;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::watch;

use group::Group;

pub use launch::{Launch, SpawnError};
pub use log::{LOG_LIMIT_BYTES, last_lines};
pub use tree::{descendants, is_alive};

pub(crate) use launch::is_executable;

/// How long the guard may take to start the program; it takes about a millisecond on an idle machine.
const SPAWN_DEADLINE: Duration = Duration::from_secs(10);
/// How long a group that was sent SIGKILL may take to be gone.
const KILL_DEADLINE: Duration = Duration::from_secs(10);
/// How long the threads of a program may take to stand still.
const PAUSE_DEADLINE: Duration = Duration::from_secs(1);
const PAUSE_POLL: Duration = Duration::from_millis(1);
/// How long dropping waits for that; it takes milliseconds, and a drop must not hang.
const DROP_DEADLINE: Duration = Duration::from_secs(10);
/// How long the end of the output is awaited after the end of the group; a stray descendant may hold it open.
const OUTPUT_DEADLINE: Duration = Duration::from_secs(5);

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It ended by itself with this status; 128 + n when it died of signal n.
    Status(i32),
    /// We killed its whole group before it could say.
    Killed,
}

impl Exit {
    /// True for status 0.
    pub fn is_success(self) -> bool {
        self == Self::Status(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) if *status > 128 => write!(f, "killed by signal {}", status - 128),
            Self::Status(status) => write!(f, "exit status {status}"),
            Self::Killed => f.write_str("killed"),
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    pid: Option<i32>,
    exit: Option<Exit>,
}

/// A running program and its guard. Dropping it kills the whole group and waits until it is gone, milliseconds as a
/// rule and a second at most; prefer [`Supervised::stop`].
#[derive(Debug)]
pub struct Supervised {
    group: Arc<Group>,
    pid: Pid,
    program: PathBuf,
    log: PathBuf,
    /// Size of the log before this program wrote to it.
    log_start: u64,
    seen: watch::Receiver<Seen>,
    /// Held open for as long as the program may live; closing it is the signal to end.
    _lifeline: ChildStdin,
}

impl Supervised {
    /// Starts the program; returns when it has a process id (it may still fail right after).
    pub async fn spawn(launch: Launch) -> Result<Self, SpawnError> {
        if !is_executable(&launch.program) {
            return Err(SpawnError::NotExecutable { program: launch.program });
        }
        let log = log::BoundedLog::open(&launch.log)
            .map_err(|source| SpawnError::Log { path: launch.log.clone(), source })?;
        let log_start = log.size();
        let refused = |source| SpawnError::Refused { program: launch.program.clone(), source };
        let mut guard = launch.command().spawn().map_err(refused)?;
        let lifeline = guard.stdin.take().expect("stdin was asked to be a pipe");
        let control = guard.stdout.take().expect("stdout was asked to be a pipe");
        let output = guard.stderr.take().expect("stderr was asked to be a pipe");
        let leader = Pid::from_raw(i32::try_from(guard.id()).expect("a process id fits in pid_t"));
        let group = Arc::new(Group::new(leader));
        let observed = Arc::clone(&group);
        let (report, mut seen) = watch::channel(Seen::default());
        let (copying, copied) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            log.copy_from(output);
            drop(copying);
        });
        std::thread::spawn(move || observe(guard, control, &copied, &report, &observed));
        let started =
            tokio::time::timeout(SPAWN_DEADLINE, seen.wait_for(|s| s.pid.is_some() || s.exit.is_some()));
        let pid = match started.await {
            Ok(Ok(seen)) => seen.pid,
            Ok(Err(_)) | Err(_) => None,
        };
        let Some(pid) = pid.map(Pid::from_raw) else {
            group.signal(Signal::SIGKILL);
            return Err(SpawnError::Silent { program: launch.program });
        };
        Ok(Self {
            group,
            pid,
            program: launch.program,
            log: launch.log,
            log_start,
            seen,
            _lifeline: lifeline,
        })
    }

    /// Process id of the program itself (its guard's is [`Supervised::group`]).
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// Process id of the guard, which is the number of the process group.
    pub fn group(&self) -> u32 {
        self.group.leader().as_raw().unsigned_abs()
    }

    /// The program that was started.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended, if it did.
    pub fn exit(&self) -> Option<Exit> {
        self.seen.borrow().exit
    }

    /// Waits for the end of the program. Give it a deadline of yours, or none for a service.
    pub async fn exited(&self) -> Exit {
        let mut seen = self.seen.clone();
        let exit = seen.wait_for(|s| s.exit.is_some()).await.ok().and_then(|s| s.exit);
        exit.unwrap_or(Exit::Killed)
    }

    /// SIGTERM to the group, and SIGKILL to what is left after `grace`.
    pub async fn stop(&self, grace: Duration) -> Exit {
        self.terminate();
        match tokio::time::timeout(grace, self.exited()).await {
            Ok(exit) => exit,
            Err(_) => self.kill().await,
        }
    }

    /// SIGKILL to the whole group; returns when it is gone.
    pub async fn kill(&self) -> Exit {
        self.kill_now();
        tokio::time::timeout(KILL_DEADLINE, self.exited()).await.unwrap_or(Exit::Killed)
    }

    /// Sends SIGTERM to the group (waking it up if it was paused) and returns at once.
    pub fn terminate(&self) {
        self.group.signal(Signal::SIGTERM);
        self.group.signal(Signal::SIGCONT);
    }

    /// Sends SIGKILL to the group and returns at once.
    pub fn kill_now(&self) {
        self.group.signal(Signal::SIGKILL);
    }

    /// SIGSTOP to the program alone: it hangs, while its guard stays awake. Returns when every thread of it stands
    /// still, milliseconds as a rule and a second at most; the system only promises to stop them soon.
    pub fn pause(&self) {
        self.signal_program(Signal::SIGSTOP);
        let end = Instant::now() + PAUSE_DEADLINE;
        while self.exit().is_none() && !tree::is_stopped(self.pid()) && Instant::now() < end {
            std::thread::sleep(PAUSE_POLL);
        }
    }

    /// SIGCONT after [`Supervised::pause`].
    pub fn resume(&self) {
        self.signal_program(Signal::SIGCONT);
    }

    /// The last `count` lines this program printed, for an error message.
    pub fn last_lines(&self, count: usize) -> String {
        log::last_lines_after(&self.log, self.log_start, count)
    }

    fn signal_program(&self, signal: Signal) {
        if self.exit().is_none() {
            // The only way to fail is that the program has just ended, which its observer reports.
            let _ = kill(self.pid, signal);
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.kill_now();
        self.group.wait_until_gone(DROP_DEADLINE);
    }
}

/// Reads what the guard says until it is gone, reaps it, and reports the end once the output is in the log.
fn observe(
    mut guard: Child,
    control: ChildStdout,
    copied: &mpsc::Receiver<()>,
    report: &watch::Sender<Seen>,
    group: &Group,
) {
    let mut status = None;
    for line in BufReader::new(control).lines().map_while(Result::ok) {
        match line.split_once(' ').map(|(word, number)| (word, number.parse::<i32>())) {
            Some(("pid", Ok(pid))) => report.send_modify(|seen| seen.pid = Some(pid)),
            Some(("exit", Ok(code))) => status = Some(code),
            Some(_) | None => {}
        }
    }
    // The guard has closed its pipe or was killed; whatever is left of its group ends now.
    group.bury(&mut guard);
    let _ = copied.recv_timeout(OUTPUT_DEADLINE);
    report.send_modify(|seen| seen.exit = Some(status.map_or(Exit::Killed, Exit::Status)));
}
