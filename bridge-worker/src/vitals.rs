//! Whether the children of a run are alive, as far as they have shown it.
//!
//! Pure: the time is an argument. The lease of a request is extended only while this says yes: a run whose children
//! are stopped, and which for whatever reason does not notice, falls to somebody else.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// Silence of a child after which its run is no longer held: more than the worker itself needs to notice and kill it.
pub const LIMIT: Duration = Duration::from_secs(25);

/// The signs of life of a run's children.
#[derive(Debug, Default)]
pub struct Vitals {
    calls: Mutex<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    next: u64,
    /// When each was heard last; none while it is not the child that is waited for.
    heard: BTreeMap<u64, Option<Instant>>,
}

impl Vitals {
    /// A call begins at `now`; it is watched until the pulse is dropped.
    pub fn begin(&self, now: Instant) -> Pulse<'_> {
        let mut calls = self.calls();
        calls.next += 1;
        let call = calls.next;
        calls.heard.insert(call, Some(now));
        Pulse { vitals: self, call }
    }

    /// True unless a child that is waited for has been silent for longer than [`LIMIT`].
    pub fn are_good(&self, now: Instant) -> bool {
        let is_silent = |heard: &Instant| now.saturating_duration_since(*heard) > LIMIT;
        !self.calls().heard.values().flatten().any(is_silent)
    }

    /// Calls under way.
    pub fn count(&self) -> usize {
        self.calls().heard.len()
    }

    fn calls(&self) -> std::sync::MutexGuard<'_, Calls> {
        self.calls.lock().expect("nobody panics while holding the vitals")
    }
}

/// One call's sign of life.
#[derive(Debug)]
pub struct Pulse<'a> {
    vitals: &'a Vitals,
    call: u64,
}

impl Pulse<'_> {
    /// The child was heard at `now`.
    pub fn beat(&self, now: Instant) {
        self.vitals.calls().heard.insert(self.call, Some(now));
    }

    /// Something else than the child is waited for, such as the broker.
    pub fn pause(&self) {
        self.vitals.calls().heard.insert(self.call, None);
    }
}

impl Drop for Pulse<'_> {
    fn drop(&mut self) {
        self.vitals.calls().heard.remove(&self.call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_silent_child_is_enough_and_one_that_ended_is_none() {
        let (vitals, began) = (Vitals::default(), Instant::now());
        assert!(vitals.are_good(began + LIMIT * 10), "a run without a call waits for nobody");
        let (silent, lively) = (vitals.begin(began), vitals.begin(began));
        let later = began + LIMIT + Duration::from_secs(1);
        lively.beat(later);
        assert!(!vitals.are_good(later));
        silent.pause();
        assert!(vitals.are_good(later), "it is not the child that is waited for");
        silent.beat(began);
        assert!(!vitals.are_good(later));
        drop(silent);
        assert!(vitals.are_good(later));
    }
}
