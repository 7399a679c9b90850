//! A Python process for one call: `PYTHON SCRIPT --bridge-op OP`, asked on standard input, answered on standard output.
//!
//! The script may be anybody's. What it prints before its answer is chatter; its exit status is looked at before the
//! answer is. A guard of a few words of shell leads the process group and reads a pipe only we hold open: when we are
//! gone, however that happened, it kills the group. It also keeps the number of the group taken until we have killed
//! it, so that no stranger is ever hit.

mod own;
mod ping;
mod question;
mod reply;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child as Process, ChildStdin, Command};

use crate::child::output::Tail;
use crate::child::protocol::{Call, FromChild, MAX_FRAME_BYTES};
use crate::child::{self, End, Lost, Member, Orphans, Probe};
use crate::child::{ENVIRONMENT, THREADS};
use crate::limits::Limits;

pub(crate) use ping::ping;
pub(crate) use question::{RUN_NAS, START_RUN, names_script, operation};
pub(crate) use reply::{status_of, words_of_failure};

/// Most of what a script printed that is looked at for its answer: as much as a child may say at once, and as much again
/// for chatter behind it.
const KEPT_BYTES: usize = 2 * MAX_FRAME_BYTES;
/// How often a living script counts as having shown that it lives: whether it gets anywhere is not known.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Deadline for the kernel to hand over a killed process.
const REAP_LIMIT: Duration = Duration::from_secs(5);
/// Deaf to what the script is asked to end by, because the group is killed through it.
const GUARD: &str = "trap '' TERM INT HUP; read -r _; kill -KILL 0";

/// How a process for one call is started.
#[derive(Debug, Clone)]
pub struct ScriptSettings {
    /// The interpreter.
    pub python: PathBuf,
    /// The script.
    pub script: PathBuf,
    /// The operator has named it; otherwise it is our own, which calls trainers and entry points.
    pub is_the_operators: bool,
    /// How long an attempt of a call may take; what the request says when absent.
    pub limit: Option<Duration>,
    /// Directories to look for modules in.
    pub import_paths: Vec<PathBuf>,
    /// Directory data set paths are allowed under.
    pub dataset_dir: Option<PathBuf>,
    /// Threads a numeric library may use.
    pub threads: usize,
    /// What a call may take of the machine, as seen from outside: what somebody else's script sets on itself is its own.
    pub limits: Limits,
}

/// A call that has a process of its own.
pub(crate) struct Script {
    settings: Arc<ScriptSettings>,
    warning: Option<String>,
    running: Option<Running>,
    is_search: bool,
    /// What it has answered, as the messages a child would have sent.
    answers: Option<VecDeque<FromChild>>,
}

struct Running {
    process: Process,
    member: Member,
    guard: Process,
    guard_member: Member,
    probe: Arc<Probe>,
    /// Its end has the guard kill the group.
    _lifeline: ChildStdin,
    stdout: Tail,
    stderr: Tail,
}

impl Script {
    pub(crate) fn new(settings: Arc<ScriptSettings>, warning: Option<String>) -> Self {
        Self { settings, warning, running: None, is_search: false, answers: None }
    }

    pub(crate) fn limit(&self) -> Option<Duration> {
        self.settings.limit
    }

    pub(crate) fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Starts the process. The error says why it cannot be.
    pub(crate) fn begin(&mut self, call: &Call) -> Result<(), String> {
        let python = self.settings.python.display();
        let running = self.start(call).map_err(|error| format!("cannot start {python}: {error}"))?;
        self.is_search = call.search.is_some();
        self.running = Some(running);
        Ok(())
    }

    fn start(&self, call: &Call) -> std::io::Result<Running> {
        let settings = &self.settings;
        let missing = || std::io::Error::other("a standard stream is missing");
        let question = question::ask(call)?;
        let mut guard = Command::new("/bin/sh");
        // Not killed when we let go of it: it kills the group when the pipe ends, and itself with it.
        guard
            .args(["-c", GUARD])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let (mut guard, guard_member) = child::spawn(&mut guard, Orphans::FallToUs)?;
        let lifeline = guard.stdin.take().ok_or_else(missing)?;
        let mut command = Command::new(&settings.python);
        command
            .arg(&settings.script)
            .args(["--bridge-op", &question.op])
            .current_dir(&call.trial.workdir)
            .env_clear()
            .envs(ENVIRONMENT.iter().filter_map(|name| std::env::var_os(name).map(|value| (name, value))))
            .envs(THREADS.iter().map(|name| (name, settings.threads.to_string())))
            .env("PYTHONPATH", std::env::join_paths(&settings.import_paths).map_err(std::io::Error::other)?)
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONIOENCODING", "utf-8")
            .envs(settings.dataset_dir.iter().map(|path| ("CEREBROS_DATASET_DIR", path)))
            .envs(question.variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let (mut process, member) = child::spawn_beside(&guard_member, &mut command, Orphans::FallToUs)?;
        let mut stdin = process.stdin.take().ok_or_else(missing)?;
        tokio::spawn(async move {
            // A script that does not read it has its reasons; the end of the process ends this.
            let _ = stdin.write_all(&question.text).await;
        });
        Ok(Running {
            stdout: Tail::follow_last(process.stdout.take().ok_or_else(missing)?, KEPT_BYTES),
            stderr: Tail::follow(process.stderr.take().ok_or_else(missing)?),
            probe: Arc::new(Probe::new(&member, settings.limits)),
            process,
            member,
            guard,
            guard_member,
            _lifeline: lifeline,
        })
    }

    /// The next message: signs of life, then what the answer says. Cancel safe.
    pub(crate) async fn receive(&mut self) -> Result<FromChild, Lost> {
        if let Some(answers) = &mut self.answers {
            return answers.pop_front().ok_or(Lost::Ended);
        }
        let running = self.running.as_mut().ok_or(Lost::Ended)?;
        tokio::select! {
            status = running.process.wait() => self.conclude(status.map_err(|_| Lost::Ended)?).await,
            () = tokio::time::sleep(HEARTBEAT) => Ok(FromChild::Heartbeat),
        }
    }

    /// The next message, if it is there already.
    pub(crate) fn ready(&mut self) -> Option<FromChild> {
        self.answers.as_mut()?.pop_front()
    }

    async fn conclude(&mut self, status: ExitStatus) -> Result<FromChild, Lost> {
        let Some(running) = &self.running else { return Err(Lost::Ended) };
        // What it started ends with it, and so does the output.
        running.signal(Signal::SIGKILL);
        let (text, _) = tokio::join!(running.stdout.last_words(), running.stderr.last_words());
        if !status.success() {
            return Err(Lost::Ended);
        }
        let (is_cut, is_search) = (running.stdout.is_cut(), self.is_search);
        let read = tokio::task::spawn_blocking(move || reply::read(&text, is_cut, is_search)).await;
        let answers = read.map_err(|error| Lost::NoResult(error.to_string()))?.map_err(Lost::NoResult)?;
        self.answers.insert(answers.into()).pop_front().ok_or(Lost::Ended)
    }

    /// Asks for the end of the call, in the only words a script is sure to understand.
    pub(crate) fn stop(&self) -> std::io::Result<()> {
        if let Some(running) = &self.running {
            running.signal(Signal::SIGTERM);
        }
        Ok(())
    }

    /// Sees the process from outside; `None` before it was started.
    pub(crate) fn probe(&self) -> Option<Arc<Probe>> {
        self.running.as_ref().map(|running| running.probe.clone())
    }

    /// The end of what was printed on standard output so far.
    pub(crate) fn printed(&self) -> String {
        self.running.as_ref().map(|running| excerpt(&running.stdout.text())).unwrap_or_default()
    }

    /// Kills it with everything it started, waits for the end, and says how it ended.
    pub(crate) async fn kill(self) -> End {
        let Some(mut running) = self.running else { return End::default() };
        // One that was waited for has given its number back.
        if running.process.id().is_some() {
            child::kill_all(running.member.pid());
        }
        running.signal(Signal::SIGKILL);
        let ended = async { (running.process.wait().await, running.guard.wait().await) };
        let status = tokio::time::timeout(REAP_LIMIT, ended).await.ok().and_then(|(script, _)| script.ok());
        child::bury_strays(Some(&running.guard_member)).await;
        let (stdout, stderr) = tokio::join!(running.stdout.last_words(), running.stderr.last_words());
        End { status, stdout: excerpt(&stdout), stderr }
    }
}

fn excerpt(text: &str) -> String {
    schemas::failure::bounded_tail(text, schemas::failure::EXCERPT_BYTES)
}

impl Running {
    /// Signals the group, which is there for as long as its guard was not waited for.
    fn signal(&self, signal: Signal) {
        if let Err(error) = killpg(self.guard_member.pid(), signal)
            && error != nix::errno::Errno::ESRCH
        {
            tracing::warn!(group = self.guard_member.pid().as_raw(), %error, "process group not signalled");
        }
    }
}
