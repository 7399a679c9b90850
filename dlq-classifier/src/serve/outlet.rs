//! Whether dead letters can be published now. While they cannot (the dead-letter stream is full, or away), one try at a
//! time is made, after pauses that grow, and everything else that is malformed waits at the broker: valid events are not
//! held up by those.
//!
//! Pure: the clock is an argument.

use std::time::{Duration, Instant};

/// Pause after the first failure; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause: how long letters may wait after the stream is well again.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Without a failure for so long the trouble counts as over: somebody else has published what was pending.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// The way into the dead-letter stream.
#[derive(Debug, Default)]
pub(super) struct Outlet {
    trouble: Option<Trouble>,
}

#[derive(Debug)]
struct Trouble {
    reason: String,
    pause: Duration,
    next_try: Instant,
    failed_at: Instant,
}

/// What to do with a message that is to become a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Publish it.
    Open,
    /// Leave it with the broker for so long.
    Shut(Duration),
}

impl Outlet {
    /// Whether a letter may be tried now.
    pub(super) fn way(&mut self, now: Instant) -> Way {
        let Some(trouble) = &mut self.trouble else { return Way::Open };
        if now < trouble.next_try {
            return Way::Shut(trouble.next_try - now);
        }
        // This one tries for all of them.
        trouble.next_try = now + trouble.pause;
        Way::Open
    }

    /// A letter was published.
    pub(super) fn succeeded(&mut self) {
        self.trouble = None;
    }

    /// A letter was not published; the pause before it is tried again.
    pub(super) fn failed(&mut self, reason: String, now: Instant) -> Duration {
        let pause = match &self.trouble {
            Some(known) => (known.pause * 2).min(LONGEST_PAUSE),
            None => FIRST_PAUSE,
        };
        self.trouble = Some(Trouble { reason, pause, next_try: now + pause, failed_at: now });
        pause
    }

    /// Why no letters can be published.
    pub(super) fn trouble(&mut self, now: Instant) -> Option<&str> {
        if self.trouble.as_ref().is_some_and(|trouble| now > trouble.failed_at + FORGOTTEN_AFTER) {
            self.trouble = None;
        }
        self.trouble.as_ref().map(|trouble| trouble.reason.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn while_letters_fail_one_tries_for_all_with_growing_pauses_until_one_arrives() {
        let start = Instant::now();
        let mut outlet = Outlet::default();
        assert_eq!(outlet.way(start), Way::Open);
        assert_eq!(outlet.failed("full".to_owned(), start), seconds(1));
        assert_eq!(outlet.way(start), Way::Shut(seconds(1)));
        assert_eq!(outlet.way(start + seconds(1)), Way::Open, "one tries");
        assert_eq!(outlet.way(start + seconds(1)), Way::Shut(seconds(1)), "and the others wait for it");
        assert_eq!(outlet.failed("full".to_owned(), start + seconds(1)), seconds(2));
        assert_eq!(outlet.trouble(start + seconds(2)), Some("full"));
        outlet.succeeded();
        assert_eq!((outlet.way(start + seconds(2)), outlet.trouble(start + seconds(2))), (Way::Open, None));
    }

    #[test]
    fn trouble_somebody_else_has_ended_is_forgotten() {
        let start = Instant::now();
        let mut outlet = Outlet::default();
        outlet.failed("full".to_owned(), start);
        assert_eq!(outlet.trouble(start + seconds(30)), Some("full"));
        assert_eq!(outlet.trouble(start + seconds(61)), None);
    }

    #[test]
    fn pauses_are_bounded() {
        let (mut now, mut outlet) = (Instant::now(), Outlet::default());
        for _ in 0..20 {
            now += outlet.failed("away".to_owned(), now);
        }
        assert_eq!(outlet.failed("away".to_owned(), now), LONGEST_PAUSE);
    }
}
