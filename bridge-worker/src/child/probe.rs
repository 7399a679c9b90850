//! Watches one child from outside: what it and everything below it use, and whether that is too much.
//!
//! What it let go of and this process adopted counts with it. Each look, and the census of
//! the slots is one every second, also notes who there was: so they are known when they fall to this process later.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::family::{self, Member};
use super::kin::CallId;
use super::{oom, processes};
use crate::limits::{Excess, Limits, Usage};

/// How often a trial with limits is looked at: what it can take in between is what a limit may be passed by.
const LIMITED: Duration = Duration::from_millis(100);
/// How often one without limits is, to tell afterwards what it died of.
const UNLIMITED: Duration = Duration::from_secs(1);

/// The outside of one child. What was seen last stays readable when the child is gone.
#[derive(Debug)]
pub struct Probe {
    pid: i32,
    call: CallId,
    limits: Limits,
    /// Memory when it was looked last.
    memory_bytes: AtomicU64,
    /// Memory when the child was ready, before its first trial.
    ready_bytes: AtomicU64,
    /// What the kernel had killed for want of memory when it was looked last.
    oom_kills: AtomicU64,
}

impl Probe {
    pub(crate) fn new(member: &Member, limits: Limits) -> Self {
        Self {
            pid: member.pid().as_raw(),
            call: member.call(),
            limits,
            memory_bytes: AtomicU64::new(0),
            ready_bytes: AtomicU64::new(0),
            oom_kills: AtomicU64::new(oom::kills()),
        }
    }

    /// The process id of the child.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// What the child and everything below it use now.
    pub fn usage(&self) -> Usage {
        let roots = std::iter::once(self.pid).chain(family::adopted(self.call));
        let family: Vec<i32> = roots.flat_map(processes::tree).collect();
        let (mut used, starts) = processes::usage(&family);
        family::note_seen(self.call, starts);
        // Copies of one process share most pages: counted for each they may look like too much.
        if self.limits.excess(used, used).is_some() {
            used.memory_bytes = processes::memory_shared_out(&family).unwrap_or(used.memory_bytes);
        }
        self.memory_bytes.store(used.memory_bytes, Ordering::Relaxed);
        used
    }

    /// Resolves when a trial that begins now passes a limit.
    pub async fn excess(&self) -> Excess {
        // Only what is asked for later is paid for now: the reading takes as long as a short trial.
        let before = if self.limits.cpu_seconds.is_some() { self.usage() } else { Usage::default() };
        let period = if self.limits.are_watched() { LIMITED } else { UNLIMITED };
        let mut looks = tokio::time::interval_at(Instant::now() + period, period);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if let Some(excess) = self.limits.excess(before, self.usage()) {
                return excess;
            }
            self.oom_kills.store(oom::kills(), Ordering::Relaxed);
        }
    }

    /// Notes what the child has taken before its first trial.
    pub(crate) fn note_ready(&self) {
        // Without a limit nobody asks.
        if self.limits.memory.is_some() {
            self.ready_bytes.store(self.usage().memory_bytes, Ordering::Relaxed);
        }
    }

    /// True when the child, between two trials, keeps more than the next one should pay for.
    pub fn is_swollen(&self) -> bool {
        let ready = self.ready_bytes.load(Ordering::Relaxed);
        let seen = self.memory_bytes.load(Ordering::Relaxed);
        // What was seen may be the trial's, and given back since.
        self.limits.is_swollen(ready, seen) && self.limits.is_swollen(ready, self.usage().memory_bytes)
    }

    /// True when a process that was killed by no order of ours was so for want of memory, as far as can be told: the
    /// kernel has counted one more, or it was near its limit.
    pub fn was_short_of_memory(&self) -> bool {
        oom::kills() > self.oom_kills.load(Ordering::Relaxed)
            || self.limits.is_near_memory(self.memory_bytes.load(Ordering::Relaxed))
    }
}
