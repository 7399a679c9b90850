//! The slots of a worker: room for one trial each, with a warm child in it.
//!
//! Slots are handed out first come, first served, so that a run that wants many cannot starve one that wants few. A
//! slot whose child was killed starts a new one for whoever takes it next, or at once when it is warmed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::child::{Child, ChildSettings, StartError};

/// The slots of a worker.
#[derive(Debug)]
pub struct Slots {
    settings: ChildSettings,
    idle: Mutex<VecDeque<Slot>>,
    permits: Arc<Semaphore>,
    count: usize,
}

struct Slot {
    child: Option<Child>,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("pid", &self.child.as_ref().map(Child::pid)).finish()
    }
}

impl Slots {
    /// `count` slots without children yet.
    pub fn new(count: usize, settings: ChildSettings) -> Arc<Self> {
        let idle = (0..count).map(|_| Slot { child: None }).collect();
        Arc::new(Self { settings, idle: Mutex::new(idle), permits: Arc::new(Semaphore::new(count)), count })
    }

    /// How many slots there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many are free now.
    pub fn free(&self) -> usize {
        self.permits.available_permits()
    }

    /// Waits for a slot. Cancel safe.
    pub async fn acquire(self: &Arc<Self>) -> Lease {
        let permit = self.permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        let slot = self.idle().pop_back().expect("there is an idle slot for every permit");
        Lease { slots: self.clone(), slot: Some(slot), _permit: permit }
    }

    /// Starts a child in every slot that has none.
    ///
    /// # Errors
    /// The first reason why a child did not start.
    pub async fn warm(self: &Arc<Self>) -> Result<(), StartError> {
        let leases = futures_util::future::join_all((0..self.count).map(|_| self.acquire())).await;
        let started = leases.into_iter().map(|mut lease| async move { lease.child().await.map(drop) });
        futures_util::future::join_all(started).await.into_iter().collect()
    }

    /// Ends every child. Slots in use are waited for.
    pub async fn close(self: &Arc<Self>) {
        let leases = futures_util::future::join_all((0..self.count).map(|_| self.acquire())).await;
        let ended = leases.into_iter().map(|mut lease| async move {
            if let Some(child) = lease.take_child() {
                child.kill().await;
            }
        });
        futures_util::future::join_all(ended).await;
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, VecDeque<Slot>> {
        self.idle.lock().expect("nobody panics while holding the idle slots")
    }
}

/// A slot in use; returned when dropped.
#[derive(Debug)]
pub struct Lease {
    slots: Arc<Slots>,
    slot: Option<Slot>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// The slot's child, started if need be.
    pub async fn child(&mut self) -> Result<&mut Child, StartError> {
        let settings = self.slots.settings.clone();
        let slot = self.slot.as_mut().expect("the slot is taken out only on drop");
        if slot.child.is_none() {
            slot.child = Some(Child::start(&settings).await?);
        }
        Ok(slot.child.as_mut().expect("a child was just put in"))
    }

    /// Takes the child out; the slot is empty then.
    pub fn take_child(&mut self) -> Option<Child> {
        self.slot.as_mut().and_then(|slot| slot.child.take())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Warm slots go to the back, where the next taker looks first.
        if let Some(slot) = self.slot.take() {
            let mut idle = self.slots.idle();
            if slot.child.is_some() { idle.push_back(slot) } else { idle.push_front(slot) }
        }
    }
}
