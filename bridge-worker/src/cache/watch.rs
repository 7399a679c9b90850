//! How often it is looked whether the code still is what it was.
//!
//! Looking takes a system call a file, so it takes at most one twentieth of the time: after each look there is a pause of
//! as long as keeps to that, a second at most. An answer may trust the last look for that long. A result may not: it waits
//! for a look that began after it was there, so that nothing is kept that other code may have come to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::code::Code;

/// Pause after a look as a multiple of what the look took, and its limit.
const PAUSES: u32 = 19;
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Looks after the code.
#[derive(Debug)]
pub(super) struct Watch {
    code: Arc<Code>,
    next: Option<Instant>,
    is_over: Arc<AtomicBool>,
}

impl Watch {
    /// Says by `is_over` when the code is not what it was: for good, because children may have imported either.
    pub(super) fn of(code: Arc<Code>, is_over: Arc<AtomicBool>) -> Self {
        Self { code, next: None, is_over }
    }

    /// The code that is watched.
    pub(super) fn code(&self) -> &Code {
        &self.code
    }

    /// How long it is until another look is due; none when it is.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        let left = self.next?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// True when the code was the same a moment ago, for which it is looked at if need be.
    pub(super) fn is_the_same_of_late(&mut self) -> bool {
        if self.pause(Instant::now()).is_some() { self.is_whole() } else { self.is_the_same() }
    }

    /// True when the code is the same now.
    pub(super) fn is_the_same(&mut self) -> bool {
        if !self.is_whole() {
            return false;
        }
        let began = Instant::now();
        if let Some(change) = self.code.change() {
            tracing::warn!(%change, "results of trainers below --repo are not cached any more");
            self.is_over.store(true, Ordering::Release);
        }
        let ended = Instant::now();
        self.next = Some(ended + pause_after(ended - began));
        self.is_whole()
    }

    fn is_whole(&self) -> bool {
        !self.is_over.load(Ordering::Acquire)
    }
}

fn pause_after(took: Duration) -> Duration {
    (took * PAUSES).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use testkit::Scratch;

    use super::*;

    #[test]
    fn looks_take_a_twentieth_of_the_time_and_none_waits_longer_than_a_second() {
        assert_eq!(pause_after(Duration::from_micros(100)), Duration::from_micros(1_900));
        assert_eq!(pause_after(Duration::from_secs(3)), LONGEST_PAUSE);
    }

    #[test]
    fn code_that_has_changed_once_is_never_the_same_again() {
        let scratch = Scratch::new();
        let directory = scratch.join("code");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("a.py"), "").unwrap();
        let code = Arc::new(Code::look(std::slice::from_ref(&directory), &[scratch.join("data")]));
        let is_over = Arc::new(AtomicBool::new(false));
        let mut watch = Watch::of(code, is_over.clone());
        assert!(watch.pause(Instant::now()).is_none() && watch.is_the_same_of_late());
        assert!(watch.pause(Instant::now()).is_none_or(|pause| pause <= LONGEST_PAUSE));
        std::fs::write(directory.join("b.py"), "").unwrap();
        assert!(!watch.is_the_same() && is_over.load(Ordering::Acquire));
        std::fs::remove_file(directory.join("b.py")).unwrap();
        assert!(!watch.is_the_same() && !watch.is_the_same_of_late());
    }
}
