//! The slots of a worker: room for one trial each, with a warm child in it.
//!
//! Who gets the next one is decided in [`crate::queue`]: runs take turns. A slot whose child was killed takes a spare one
//! from the [reserve](Reserve) for whoever takes it next, or starts one at once when it is warmed.

mod board;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::child::{Child, ChildSettings, StartError, bury_strays};
use crate::queue::{Member, Queue};
use crate::reserve::Reserve;
use board::Board;
pub use board::Reading;

/// The slots of a worker.
#[derive(Debug)]
pub struct Slots {
    reserve: Reserve,
    state: Mutex<State>,
    boards: Vec<Arc<Board>>,
    began: Instant,
}

#[derive(Debug)]
struct State {
    idle: VecDeque<Slot>,
    waiting: Queue<oneshot::Sender<Lease>>,
}

struct Slot {
    child: Option<Child>,
    board: Arc<Board>,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("pid", &self.child.as_ref().map(Child::pid)).finish()
    }
}

impl Slots {
    /// `count` slots without children yet, and no spare ones.
    pub fn new(count: usize, settings: ChildSettings) -> Arc<Self> {
        Self::with_spares(count, 0, settings)
    }

    /// `count` slots without children yet; from the first child on, `spares` more are kept ready, one per slot at most.
    pub fn with_spares(count: usize, spares: usize, settings: ChildSettings) -> Arc<Self> {
        let boards: Vec<Arc<Board>> = (0..count).map(|_| Arc::default()).collect();
        let idle = boards.iter().map(|board| Slot { child: None, board: board.clone() }).collect();
        let state = Mutex::new(State { idle, waiting: Queue::default() });
        let reserve = Reserve::new(spares.min(count), settings);
        Arc::new(Self { reserve, state, boards, began: Instant::now() })
    }

    /// How children are started.
    pub fn settings(&self) -> &ChildSettings {
        self.reserve.settings()
    }

    /// How many slots there are.
    pub fn count(&self) -> usize {
        self.boards.len()
    }

    /// How many spare children are ready.
    pub fn spares(&self) -> usize {
        self.reserve.ready()
    }

    /// What can be seen of each slot now, in their order.
    pub fn readings(&self) -> Vec<Reading> {
        self.boards.iter().map(|board| board.read()).collect()
    }

    /// How many are free now.
    pub fn free(&self) -> usize {
        self.state().idle.len()
    }

    /// A run's place in the queue, until it is dropped. Of two runs the one with the higher priority goes first.
    pub fn join(self: &Arc<Self>, priority: i32) -> Place {
        let member = self.state().waiting.join(priority);
        Place { slots: self.clone(), member }
    }

    /// Starts a child in every free slot that has none. Those in use are not waited for: a trial may take days.
    ///
    /// # Errors
    /// The first reason why a child did not start.
    pub async fn warm(self: &Arc<Self>) -> Result<(), StartError> {
        let idle: Vec<Slot> = self.state().idle.drain(..).collect();
        let leases: Vec<Lease> =
            idle.into_iter().map(|slot| Lease { slots: self.clone(), slot: Some(slot) }).collect();
        let started = leases.into_iter().map(|mut lease| async move { lease.child().await.map(drop) });
        futures_util::future::join_all(started).await.into_iter().collect()
    }

    /// Ends every child. Slots in use are waited for.
    pub async fn close(self: &Arc<Self>) {
        let ended = self.all().await.into_iter().map(|mut lease| async move {
            if let Some(child) = lease.take_child() {
                child.kill().await;
            }
        });
        futures_util::future::join_all(ended).await;
        self.reserve.close().await;
        // A child whose trial was given up while it was being buried may have left somebody.
        bury_strays(None).await;
    }

    async fn all(self: &Arc<Self>) -> Vec<Lease> {
        let place = self.join(i32::MAX);
        futures_util::future::join_all((0..self.count()).map(|_| place.acquire())).await
    }

    /// Hands a slot to who is next; to nobody when nobody waits.
    fn pass_on(self: &Arc<Self>, mut slot: Slot) {
        loop {
            let next = {
                let mut state = self.state();
                let Some(next) = state.waiting.next(self.began.elapsed()) else {
                    // Warm slots go to the back, where the next taker looks first.
                    if slot.child.is_some() {
                        state.idle.push_back(slot)
                    } else {
                        state.idle.push_front(slot)
                    }
                    return;
                };
                next
            };
            match next.send(Lease { slots: self.clone(), slot: Some(slot) }) {
                Ok(()) => return,
                // Whoever waited has given up.
                Err(mut lease) => slot = lease.slot.take().expect("a lease that was never used has its slot"),
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding the slots")
    }
}

/// A run's place in the queue for slots; dropped, it leaves.
#[derive(Debug)]
pub struct Place {
    slots: Arc<Slots>,
    member: Member,
}

impl Place {
    /// Waits for a slot. Cancel safe.
    pub async fn acquire(&self) -> Lease {
        let slots = &self.slots;
        let waiting = {
            let mut state = slots.state();
            // Who gives a slot back looks for somebody who waits first, so that an idle one means that nobody does.
            if let Some(slot) = state.idle.pop_back() {
                return Lease { slots: slots.clone(), slot: Some(slot) };
            }
            let (give, take) = oneshot::channel();
            state.waiting.wait(self.member, give, slots.began.elapsed());
            take
        };
        waiting.await.expect("the queue lets nobody go before the place is left")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.slots.state().waiting.leave(self.member);
    }
}

/// A slot in use; passed on when dropped.
#[derive(Debug)]
pub struct Lease {
    slots: Arc<Slots>,
    slot: Option<Slot>,
}

impl Lease {
    /// The slot's child; a spare one, or one that is started now, if it has none.
    ///
    /// # Errors
    /// Why none could be started.
    pub async fn child(&mut self) -> Result<&mut Child, StartError> {
        let slot = self.slot.as_mut().expect("the slot is taken out only on drop");
        if slot.child.as_mut().is_some_and(Child::is_spent)
            && let Some(child) = slot.child.take()
        {
            tracing::warn!(
                pid = child.pid(),
                "a child has ended or was broken off between two calls; it is replaced"
            );
            slot.board.note_child(None);
            child.kill().await;
        }
        if slot.child.is_none() {
            let child = self.slots.reserve.take().await?;
            slot.board.note_child(Some(child.probe().clone()));
            slot.child = Some(child);
        }
        Ok(slot.child.as_mut().expect("a child was just put in"))
    }

    /// Counts a call of the slot's child.
    pub fn note_call(&self) {
        self.slot.iter().for_each(|slot| slot.board.note_call());
    }

    /// Takes the child out; the slot is empty then.
    pub fn take_child(&mut self) -> Option<Child> {
        let slot = self.slot.as_mut()?;
        let child = slot.child.take()?;
        slot.board.note_child(None);
        Some(child)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.slots.pass_on(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::limits::Limits;

    fn slots(count: usize) -> Arc<Slots> {
        let settings = ChildSettings {
            python: "python3".into(),
            runtime: ".".into(),
            preload: Vec::new(),
            dataset_dir: None,
            extra_paths: Vec::new(),
            threads: 1,
            limits: Limits::default(),
        };
        Slots::new(count, settings)
    }

    #[tokio::test]
    async fn a_slot_goes_to_whoever_still_waits_and_is_never_lost() {
        let slots = slots(1);
        let (first, second) = (slots.join(0), slots.join(0));
        let held = first.acquire().await;
        let mut gives_up = Box::pin(first.acquire());
        let mut waits = Box::pin(second.acquire());
        assert!(gives_up.as_mut().now_or_never().is_none() && waits.as_mut().now_or_never().is_none());
        drop(gives_up);
        drop(held);
        let held = waits.now_or_never().expect("the slot went to the one who still waits");
        let mut too_late = Box::pin(first.acquire());
        assert!(too_late.as_mut().now_or_never().is_none());
        drop(held);
        // The slot is in its hands already, though it never looked.
        drop(too_late);
        assert_eq!(slots.free(), 1);
    }

    #[tokio::test]
    async fn a_run_that_leaves_takes_its_place_along() {
        let slots = slots(1);
        let held = slots.join(0).acquire().await;
        drop(slots.join(5));
        drop(held);
        assert_eq!(slots.free(), 1);
    }
}
