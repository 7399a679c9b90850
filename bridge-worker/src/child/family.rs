//! The processes a child has started, and that none of them outlives it.
//!
//! Ending a child ends everything below it, also what ignores signals, leads a session of its own or was given up by its
//! parent. Three things make it so: a living child adopts what its children leave behind; before anybody is killed all are
//! stopped, so that nobody starts another meanwhile; and what is left when the child itself has ended falls to this
//! process, where it is recognised and ended. What this process has started for other purposes is never touched.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getsid};
use tokio::process::{Child as Process, Command};
use tokio::time::Instant;

use super::processes;

/// Variable in the environment of a child and, unless they clean it, of everything below.
const MARK: &str = "CEREBROS_CHILD_OF";
/// Looks for processes started meanwhile: the second finds none unless something is very odd.
const ROUNDS: usize = 10;
/// Deadline for the kernel to hand over what was killed, and how often it is looked.
const REAP_LIMIT: Duration = Duration::from_secs(5);
const REAP_POLL: Duration = Duration::from_millis(5);

/// The children of this process that are slots' own, or answer a call. Locked while one is started, so that nobody sees one that is not yet
/// in here and takes it for a stray.
static KNOWN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn known() -> std::sync::MutexGuard<'static, BTreeSet<i32>> {
    KNOWN.lock().expect("nobody panics while holding the known children")
}

/// A child of this process that is not to be taken for a stray, until this is dropped.
#[derive(Debug)]
pub(crate) struct Member(Pid);

impl Member {
    /// Its process id, which is also that of its group if it leads one.
    pub(crate) fn pid(&self) -> Pid {
        self.0
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        known().remove(&self.0.as_raw());
    }
}

/// Starts a process in a group, or one that leads a group of its own when that is 0.
pub(crate) fn spawn(command: &mut Command, group: i32) -> std::io::Result<(Process, Member)> {
    adopt_orphans();
    let mut known = known();
    let process = command.process_group(group).env(MARK, std::process::id().to_string()).spawn()?;
    let pid = process.id().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.ok_or_else(|| std::io::Error::other("no pid"))?;
    known.insert(pid);
    Ok((process, Member(Pid::from_raw(pid))))
}

/// Sends SIGKILL to a child and to everything below it.
pub(crate) fn kill_all(root: Pid) {
    let mut stopped = BTreeSet::new();
    for _ in 0..ROUNDS {
        let fresh: Vec<i32> =
            processes::tree(root.as_raw()).into_iter().filter(|pid| stopped.insert(*pid)).collect();
        if fresh.is_empty() {
            break;
        }
        fresh.into_iter().for_each(|pid| signal(pid, Signal::SIGSTOP));
    }
    if let Err(error) = killpg(root, Signal::SIGKILL)
        && error != Errno::ESRCH
    {
        tracing::warn!(pid = root.as_raw(), %error, "process group not killed");
    }
    stopped.into_iter().filter(|pid| *pid != root.as_raw()).for_each(|pid| signal(pid, Signal::SIGKILL));
}

/// Ends what ended children have left to this process, and waits for it; `group` is that of the latest, and needed to
/// recognise those that have ended already.
pub async fn bury_strays(group: Option<Pid>) {
    let deadline = Instant::now() + REAP_LIMIT;
    loop {
        let mut strays = strays(group.map(Pid::as_raw));
        if strays.is_empty() {
            return;
        }
        for stray in &strays {
            processes::tree(*stray).into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
        }
        // Those below a stray that is gone fall to this process in turn and are found in the next round.
        strays.retain(|stray| !reap(*stray));
        if Instant::now() > deadline {
            tracing::warn!(?strays, "processes a trial left behind do not end");
            return;
        }
        if !strays.is_empty() {
            tokio::time::sleep(REAP_POLL).await;
        }
    }
}

/// Ends what a worker that was killed has left on this machine: its children ended with it, but not whoever had left their
/// groups. Returns how many there were.
pub fn end_orphans() -> usize {
    let is_dead = |worker: i32| kill(Pid::from_raw(worker), None) == Err(Errno::ESRCH);
    let worker_of = |pid: i32| processes::variable(pid, MARK)?.parse::<i32>().ok();
    let orphans = processes::all().into_iter().filter(|pid| worker_of(*pid).is_some_and(is_dead));
    orphans.map(|pid| signal(pid, Signal::SIGKILL)).count()
}

/// Children of this process that a child of ours has left: they are nobody else's.
fn strays(group: Option<i32>) -> Vec<i32> {
    let known = known();
    let ours = getsid(None).map(Pid::as_raw).ok();
    let mark = std::process::id().to_string();
    let came_from_a_child = |pid: i32| {
        processes::stat(pid).is_some_and(|stat| {
            // Programs this process starts itself stay in its session, those of user code may leave it.
            Some(stat.group) == group
                || Some(stat.session) != ours
                || processes::variable(pid, MARK).is_some_and(|worker| worker == mark)
        })
    };
    processes::children(std::process::id().cast_signed())
        .into_iter()
        .filter(|pid| !known.contains(pid) && came_from_a_child(*pid))
        .collect()
}

/// True when it is gone.
fn reap(pid: i32) -> bool {
    !matches!(waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive))
}

/// A process that has ended meanwhile is no error.
fn signal(pid: i32, signal: Signal) {
    if let Err(error) = kill(Pid::from_raw(pid), signal)
        && error != Errno::ESRCH
    {
        tracing::warn!(pid, %signal, %error, "process not signalled");
    }
}

/// Has the kernel give what ended children leave behind to this process instead of to the system's first one.
#[cfg(target_os = "linux")]
fn adopt_orphans() {
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        tracing::warn!(%error, "processes that leave their group may outlive their trial");
    }
}

#[cfg(not(target_os = "linux"))]
fn adopt_orphans() {}
