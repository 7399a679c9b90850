//! What consumers of the event stream gave up and nobody can name: counted by the sweeps, kept in the notes about the
//! consumers (bucket `cerebros_dlq`, keys `sweep.<consumer>`), told by the audit.
//!
//! Pure. The only trace of a message that ran out of deliveries and was passed by its consumer's floor is the broker's
//! count of those delivered again and not settled. It is gone with the consumer, and some servers drop what
//! is below the floor when they start. So a sweep writes down how many of them it has accounted for, and those it cannot name.

use schemas::Timestamp;
use serde::{Deserialize, Serialize};

/// Losses that are remembered of one consumer; of more than that, the oldest are told as one.
const MAX_LOSSES: usize = 100;

/// What one consumer gave up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct GivenUp {
    /// Of the messages the broker counts as delivered again, so many are dead letters or losses.
    #[serde(default)]
    pub(crate) accounted: u64,
    /// They all are at or below this sequence; a letter of one above it tells of another.
    #[serde(default)]
    pub(crate) through: u64,
    #[serde(default)]
    pub(crate) losses: Vec<Loss>,
}

/// Messages that ran out of deliveries, which nobody can name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Loss {
    /// They are among these.
    pub(crate) from: u64,
    /// Last of them.
    pub(crate) to: u64,
    /// So many ran out there.
    pub(crate) count: u64,
    /// Of so many it was known which.
    pub(crate) named: u64,
    /// When their consumer was created, in microseconds: letters from before are of others.
    pub(crate) since: i64,
    /// When that was found.
    pub(crate) at: Timestamp,
}

impl GivenUp {
    /// The same when the broker counts `redelivered`: fewer than were accounted for means that it has forgotten some, and
    /// that they will not be counted again.
    #[must_use]
    pub(crate) fn seen(self, redelivered: u64, floor: u64) -> Self {
        if redelivered >= self.accounted {
            return self;
        }
        Self { accounted: redelivered, through: self.through.max(floor), ..self }
    }

    /// The same for another consumer of the name, which begins to count anew.
    #[must_use]
    pub(crate) fn anew(self) -> Self {
        Self { accounted: 0, through: 0, ..self }
    }

    /// True if the broker counts more than is accounted for.
    pub(crate) fn is_behind(&self, redelivered: u64) -> bool {
        redelivered > self.accounted
    }

    /// Accounts for everything the broker counts of a consumer created at `since`, which has nothing in hand of what it was
    /// handed up to `through`: of the messages above what was accounted for, `named` are dead letters or become some.
    pub(crate) fn account(
        &mut self,
        redelivered: u64,
        through: u64,
        (named, since): (u64, i64),
        at: Timestamp,
    ) {
        let count = redelivered.saturating_sub(self.accounted);
        if count > named && through > self.through {
            self.losses.push(Loss { from: self.through + 1, to: through, count, named, since, at });
        }
        if self.losses.len() > MAX_LOSSES {
            let oldest = self.losses.remove(0);
            let next = &mut self.losses[0];
            next.from = next.from.min(oldest.from);
            next.to = next.to.max(oldest.to);
            next.count += oldest.count;
            next.named += oldest.named;
        }
        self.accounted = redelivered;
        self.through = self.through.max(through);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(given_up: &GivenUp) -> Vec<(u64, u64, u64)> {
        given_up.losses.iter().map(|loss| (loss.from, loss.to, loss.count - loss.named)).collect()
    }

    #[test]
    fn what_cannot_be_named_is_kept_whatever_the_broker_forgets() {
        let at = Timestamp::default();
        let mut given_up = GivenUp::default();
        given_up.account(5, 10, (5, 0), at);
        assert_eq!((told(&given_up), given_up.is_behind(5)), (vec![], false));
        given_up.account(8, 20, (1, 0), at);
        assert_eq!(told(&given_up), [(11, 20, 2)]);
        // The broker starts anew, and as many are lost again.
        let mut given_up = given_up.seen(0, 25);
        assert!(!given_up.is_behind(0) && given_up.is_behind(8));
        assert_eq!(given_up.through, 25, "letters below it are of those it has forgotten");
        given_up.account(8, 40, (0, 0), at);
        assert_eq!(told(&given_up), [(11, 20, 2), (26, 40, 8)]);
        let anew = given_up.anew();
        assert_eq!((anew.is_behind(1), told(&anew).len()), (true, 2));
    }

    #[test]
    fn losses_are_bounded_and_none_is_forgotten() {
        let mut given_up = GivenUp::default();
        for round in 1..=300 {
            given_up.account(round, round * 10, (0, 0), Timestamp::default());
        }
        assert_eq!(given_up.losses.len(), MAX_LOSSES);
        assert_eq!(given_up.losses.iter().map(|loss| loss.count).sum::<u64>(), 300);
        assert_eq!((given_up.losses[0].from, given_up.losses[99].to), (1, 3000));
    }
}
