//! What can be seen of a slot from outside while a trial has it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::child::Probe;
use crate::limits::Usage;

/// One slot's board: its lease writes, whoever wants to know reads.
#[derive(Debug, Default)]
pub(super) struct Board {
    calls: AtomicU64,
    children: AtomicU64,
    probe: Mutex<Option<Arc<Probe>>>,
}

/// What a slot has done so far and what its child uses now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// Calls its children were given.
    pub calls: u64,
    /// Children it has had.
    pub children: u64,
    /// What the present one uses; nothing when there is none.
    pub usage: Usage,
    /// Process id of the present one.
    pub pid: Option<i32>,
}

impl Board {
    pub(super) fn note_call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_child(&self, probe: Option<Arc<Probe>>) {
        if probe.is_some() {
            self.children.fetch_add(1, Ordering::Relaxed);
        }
        *self.probe.lock().expect("nobody panics while holding the probe") = probe;
    }

    pub(super) fn read(&self) -> Reading {
        let probe = self.probe.lock().expect("nobody panics while holding the probe").clone();
        Reading {
            calls: self.calls.load(Ordering::Relaxed),
            children: self.children.load(Ordering::Relaxed),
            usage: probe.as_ref().map(|probe| probe.usage()).unwrap_or_default(),
            pid: probe.map(|probe| probe.pid()),
        }
    }
}
