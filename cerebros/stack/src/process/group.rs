//! A process group from its start to its burial: who may still be signalled, and when nobody is left.

use std::process::Child;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::KILL_DEADLINE;
use super::tree::is_group_alive;

/// Pause between two looks at a group that was killed.
const BURIAL_POLL: Duration = Duration::from_millis(1);

/// How far a group has come. Its number is only safe to signal while the guard was not reaped: after that it may
/// belong to somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Reaped,
    Gone,
}

#[derive(Debug)]
pub(super) struct Group {
    leader: Pid,
    phase: Mutex<Phase>,
    changed: Condvar,
}

impl Group {
    pub(super) fn new(leader: Pid) -> Self {
        Self { leader, phase: Mutex::new(Phase::Running), changed: Condvar::new() }
    }

    /// Number of the group, and process id of the guard.
    pub(super) fn leader(&self) -> Pid {
        self.leader
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn signal(&self, signal: Signal) {
        let phase = self.phase();
        match *phase {
            // ESRCH: everybody in it has just ended.
            Phase::Running => drop(killpg(self.leader, signal)),
            Phase::Reaped | Phase::Gone => {}
        }
    }

    /// SIGKILL, reap the leader, and wait until the others are gone too: they die at the same moment, but the system
    /// takes its time to bury them.
    pub(super) fn bury(&self, guard: &mut Child) {
        self.signal(Signal::SIGKILL);
        {
            let mut phase = self.phase();
            let _ = guard.wait();
            *phase = Phase::Reaped;
        }
        let end = Instant::now() + KILL_DEADLINE;
        while is_group_alive(self.leader) && Instant::now() < end {
            std::thread::sleep(BURIAL_POLL);
        }
        *self.phase() = Phase::Gone;
        self.changed.notify_all();
    }

    pub(super) fn wait_until_gone(&self, deadline: Duration) {
        let phase = self.phase();
        drop(self.changed.wait_timeout_while(phase, deadline, |phase| *phase != Phase::Gone));
    }
}
