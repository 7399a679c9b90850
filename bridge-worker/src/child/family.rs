//! The processes a child has started, and that none of them outlives it.
//!
//! Ending a child ends everything below it, also what ignores signals, leads a session of its own or was given up by its
//! parent. Three things make it so: a living child adopts what its children leave behind; before anybody is killed all are
//! stopped, so that nobody starts another meanwhile; and what is left when the child itself has ended falls to this
//! process, where it is recognised and ended. Somebody else's script adopts nobody: what it leaves falls to this process
//! while it still runs, is counted with it, and ends with it, not with another call. Whose a process is, and that what
//! cannot be proven to be ours is never touched, is decided in [`kin`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getsid};
use tokio::process::{Child as Process, Command};
use tokio::time::Instant;

use super::kin::{Asker, CallId, Found, Kin, Ticks, Whose};
use super::processes;

/// Variable in the environment of a child and, unless they clean it, of everything below.
const MARK: &str = "CEREBROS_CHILD_OF";
/// The same, for which of our calls, or for the calls of which child.
const GROUP_MARK: &str = "CEREBROS_GROUP";
/// Looks for processes started meanwhile: the second finds none unless something is very odd.
const ROUNDS: usize = 10;
/// Deadline for the kernel to hand over what was killed, and how often it is looked.
const REAP_LIMIT: Duration = Duration::from_secs(5);
const REAP_POLL: Duration = Duration::from_millis(5);

/// The processes that were started for calls. Locked while one is started, so that nobody sees one that is not yet in
/// here and takes it for a stray.
static KIN: Mutex<Kin> = Mutex::new(Kin::new());

fn kin() -> std::sync::MutexGuard<'static, Kin> {
    KIN.lock().expect("nobody panics while holding the known processes")
}

/// A child of this process that is not to be taken for a stray, until this is dropped.
#[derive(Debug)]
pub(crate) struct Member {
    pid: Pid,
    call: CallId,
}

impl Member {
    /// Its process id, which is also that of its group if it leads one.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// What it and those beside it were started for.
    pub(super) fn call(&self) -> CallId {
        self.call
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        kin().leave(self.call, self.pid.as_raw());
    }
}

/// What becomes of those a process leaves behind while it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Orphans {
    /// It adopts them, as our runtime does.
    StayBelow,
    /// They fall to this process.
    FallToUs,
}

/// Starts a process that leads a group of its own.
pub(crate) fn spawn(command: &mut Command, orphans: Orphans) -> std::io::Result<(Process, Member)> {
    let mut kin = kin();
    let call = kin.next_call();
    start(&mut kin, command, (call, 0), orphans)
}

/// Starts a process in the group of another and for the same purpose.
pub(crate) fn spawn_beside(
    leader: &Member,
    command: &mut Command,
    orphans: Orphans,
) -> std::io::Result<(Process, Member)> {
    start(&mut kin(), command, (leader.call, leader.pid.as_raw()), orphans)
}

fn start(
    kin: &mut Kin,
    command: &mut Command,
    (call, group): (CallId, i32),
    orphans: Orphans,
) -> std::io::Result<(Process, Member)> {
    adopt_orphans();
    command.process_group(group).env(MARK, std::process::id().to_string()).env(GROUP_MARK, call.to_string());
    let process = command.spawn()?;
    let pid = process.id().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.ok_or_else(|| std::io::Error::other("no pid"))?;
    // One that has ended already is not waited for yet, and can be looked at; where nothing can, everything is later.
    let began = processes::stat(pid).map_or(0, |stat| stat.start);
    kin.join(call, pid, began, orphans == Orphans::FallToUs);
    Ok((process, Member { pid: Pid::from_raw(pid), call }))
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

/// Ends what ended children have left to this process, and waits for it. `ended` is a process of the call that is over;
/// what falls to us of calls that go on is spared.
pub(crate) async fn bury_strays(ended: Option<&Member>) {
    if let Some(member) = ended {
        kin().end(member.call);
    }
    let deadline = Instant::now() + REAP_LIMIT;
    loop {
        fallen(Whose::Ended).into_iter().for_each(|pid| {
            reap(pid);
        });
        let mut strays = fallen(Whose::Left);
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

/// What has fallen to this process of a call that goes on.
pub(super) fn adopted(call: CallId) -> Vec<i32> {
    fallen(Whose::Of(call))
}

/// Notes who is below the processes of a call, to recognise them when they have fallen to this process.
pub(super) fn note_seen(call: CallId, seen: BTreeMap<i32, Ticks>) {
    kin().note_seen(call, seen);
}

/// Ends what a worker that was killed has left on this machine: its children ended with it, but not whoever had left their
/// groups. Returns how many there were.
pub fn end_orphans() -> usize {
    let is_dead = |worker: i32| kill(Pid::from_raw(worker), None) == Err(Errno::ESRCH);
    let worker_of = |pid: i32| {
        let [worker] = processes::variables(pid, [MARK]);
        worker?.parse::<i32>().ok()
    };
    let orphans = processes::all().into_iter().filter(|pid| worker_of(*pid).is_some_and(is_dead));
    orphans.map(|pid| signal(pid, Signal::SIGKILL)).count()
}

/// Children of this process that others have left to it, and that are `whose`.
fn fallen(whose: Whose) -> Vec<i32> {
    let own = std::process::id();
    let Ok(session) = getsid(None) else { return Vec::new() };
    let asker = Asker { session: session.as_raw(), is_first: own == 1 };
    let kin = kin();
    processes::children(own.cast_signed())
        .into_iter()
        .filter(|pid| !kin.is_member(*pid))
        .filter(|pid| found(*pid, own).is_some_and(|found| kin.whose(&found, asker) == whose))
        .collect()
}

fn found(pid: i32, own: u32) -> Option<Found> {
    let stat = processes::stat(pid)?;
    let [worker, call] = processes::variables(pid, [MARK, GROUP_MARK]);
    let is_ours = worker.is_some_and(|worker| worker == own.to_string());
    Some(Found {
        pid,
        start: stat.start,
        group: stat.group,
        session: stat.session,
        is_over: stat.is_over,
        mark: call.filter(|_| is_ours).and_then(|call| call.parse().ok()),
    })
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
