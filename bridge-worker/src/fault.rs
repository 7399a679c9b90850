//! Faults at the steps of an attempt, for tests of what becomes of them. A worker in service has none.

use std::sync::Arc;

use schemas::Failure;

use crate::steps::Step;

/// What happens instead of a step.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It cannot be done, for good.
    Fail(Failure),
    /// It cannot be done now.
    Outage,
    /// The worker dies before it: nothing is undone, nothing is settled.
    DieBefore,
    /// The worker dies after it.
    DieAfter,
}

type Decide = dyn Fn(Step) -> Option<Fault> + Send + Sync;

/// Decides which step meets which fault.
#[derive(Clone, Default)]
pub struct Faults(Option<Arc<Decide>>);

impl Faults {
    /// Asks `decide` before each step.
    pub fn new(decide: impl Fn(Step) -> Option<Fault> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(decide)))
    }

    /// The fault a step meets.
    pub fn at(&self, step: Step) -> Option<Fault> {
        self.0.as_ref().and_then(|decide| decide(step))
    }
}
