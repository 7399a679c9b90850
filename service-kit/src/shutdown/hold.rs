//! What still has to be finished, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

/// Everything that is held at present. Keys grow, so that the text names the oldest first.
#[derive(Debug, Clone)]
pub(super) struct Holds(Arc<watch::Sender<BTreeMap<u64, String>>>);

impl Default for Holds {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(BTreeMap::new())))
    }
}

impl Holds {
    pub(super) fn take(&self, what: String) -> Hold {
        let mut id = 0;
        self.0.send_modify(|held| {
            id = held.last_key_value().map_or(0, |(last, _)| last + 1);
            held.insert(id, what);
        });
        Hold { holds: self.clone(), id }
    }

    pub(super) fn describe(&self) -> Option<String> {
        let held = self.0.borrow();
        (!held.is_empty()).then(|| held.values().cloned().collect::<Vec<_>>().join(", "))
    }

    pub(super) async fn released(&self) {
        let mut changes = self.0.subscribe();
        changes.wait_for(BTreeMap::is_empty).await.expect("the sender lives in self");
    }
}

/// Keeps a draining program alive until it is dropped.
#[must_use = "a hold that is dropped holds nothing"]
#[derive(Debug)]
pub struct Hold {
    holds: Holds,
    id: u64,
}

impl Hold {
    /// Renames what is held, such as the number of trials that are left.
    pub fn says(&self, what: impl Into<String>) {
        let what = what.into();
        self.holds.0.send_modify(|held| {
            held.insert(self.id, what);
        });
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.holds.0.send_modify(|held| {
            held.remove(&self.id);
        });
    }
}
