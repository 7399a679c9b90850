//! Whether a call takes a connection that was used before, or a new one.
//!
//! A server that sends head and body of an answer apart, on a socket without `TCP_NODELAY`, sends the second when the first
//! is acknowledged (Nagle's algorithm, RFC 896). On a connection in use that takes 40 ms: the other side waits for
//! something to send the acknowledgement with (RFC 1122, 4.2.3.2). So does MLflow with its default of four workers, which
//! inherit such a socket. On a new connection Linux acknowledges at once. Where bodies come that late, a new connection is
//! cheaper; everywhere else, one in use (ADR 15).
//!
//! It is looked at the one sign that tells: the time from the head of an answer to its end.
//!
//! Pure.

use std::time::Duration;

/// What lies so far behind its head is late: Linux waits at least 40 ms before it acknowledges, others longer.
const LATE: Duration = Duration::from_millis(30);
/// So many answers are looked at together.
const LOOKS: u32 = 8;
/// So many of them have to be late; one in five comes in time on such a server as well.
const MANY: u32 = 4;
/// After so many calls on connections of their own it is looked again: it may be another server by now.
const FORGET_AFTER: u32 = 2000;
/// A longer answer takes its time for itself: it does not fit into what TCP sends before the first acknowledgement.
pub(super) const LONGEST: usize = 8 << 10;

/// What is known of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reuse {
    /// Connections are used again; of so many answers so many were late.
    Kept {
        /// Answers looked at.
        seen: u32,
        /// Those of them that were late.
        late: u32,
    },
    /// Each call has its own, for so many calls.
    Fresh {
        /// Calls until it is looked again.
        left: u32,
    },
}

impl Default for Reuse {
    fn default() -> Self {
        Self::Kept { seen: 0, late: 0 }
    }
}

impl Reuse {
    /// True if a call takes a new connection.
    pub(super) fn is_fresh(self) -> bool {
        match self {
            Self::Kept { .. } => false,
            Self::Fresh { .. } => true,
        }
    }

    /// After a call that took a new connection or not, the end of whose answer came so long after its head.
    #[must_use]
    pub(super) fn after(self, was_fresh: bool, behind: Duration) -> Self {
        match self {
            // It began before that was known.
            Self::Kept { .. } | Self::Fresh { .. } if was_fresh != self.is_fresh() => self,
            Self::Fresh { left } if left > 1 => Self::Fresh { left: left - 1 },
            Self::Fresh { .. } => Self::default(),
            Self::Kept { seen, late } => {
                let (seen, late) = (seen + 1, late + u32::from(behind >= LATE));
                if late >= MANY {
                    Self::Fresh { left: FORGET_AFTER }
                } else if seen >= LOOKS {
                    Self::default()
                } else {
                    Self::Kept { seen, late }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After answers of which every `n`th is late.
    fn after(answers: u32, late: impl Fn(u32) -> bool) -> Reuse {
        (0..answers).fold(Reuse::default(), |reuse, number| {
            let millis = if late(number) { 41 } else { 1 };
            reuse.after(reuse.is_fresh(), Duration::from_millis(millis))
        })
    }

    #[test]
    fn a_server_whose_answers_come_whole_keeps_its_connections() {
        assert!(!after(10_000, |_| false).is_fresh());
    }

    #[test]
    fn a_server_that_is_slow_now_and_then_keeps_its_connections() {
        assert!((1..10_000).all(|answers| !after(answers, |number| number % 3 == 0).is_fresh()));
    }

    #[test]
    fn where_most_bodies_are_late_calls_soon_get_connections_of_their_own() {
        assert!(after(5, |number| number != 2).is_fresh());
        assert!(after(LOOKS, |number| number % 5 != 0).is_fresh());
    }

    #[test]
    fn it_is_looked_again_after_many_calls() {
        let mut reuse = after(MANY, |_| true);
        for _ in 0..FORGET_AFTER {
            assert!(reuse.is_fresh());
            reuse = reuse.after(true, Duration::ZERO);
        }
        assert_eq!(reuse, Reuse::default());
    }

    #[test]
    fn answers_to_calls_that_began_otherwise_tell_nothing() {
        let fresh = Reuse::Fresh { left: 2 };
        assert_eq!(fresh.after(false, Duration::from_millis(41)), fresh);
        assert_eq!(Reuse::default().after(true, Duration::from_millis(41)), Reuse::default());
    }
}
