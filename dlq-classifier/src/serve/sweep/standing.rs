//! What a consumer's own numbers say about messages it will never settle.
//!
//! Pure. The broker keeps no list of them. It says of a consumer how far everything is settled (the floor), how far it
//! has delivered, how many deliveries it waits for, and how many messages were delivered more than once and are not
//! settled. A message whose deliveries ran out is waited for no longer, but the floor stays below it:
//! - when nothing is waited for and the floor stands below what was delivered, then the first message above the floor
//!   ran out, and all of them did if as many are counted as delivered again;
//! - the next ack moves the floor past them. Then only the count of those delivered again gives them away, which does
//!   not say which; of our own consumers the run registry does.

use serde::{Deserialize, Serialize};

use crate::given_up::GivenUp;

/// The numbers of a consumer at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reading {
    /// When the consumer was created, in microseconds: another one of the same name begins anew.
    pub(super) created: i64,
    pub(super) max_deliver: i64,
    pub(super) floor: u64,
    pub(super) delivered: u64,
    pub(super) ack_pending: u64,
    pub(super) redelivered: u64,
}

/// What is remembered of a consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    pub(super) consumer: String,
    pub(super) reading: Reading,
    /// When that was first read, in microseconds.
    pub(super) since: i64,
    /// At one reading at least its deliveries were limited.
    pub(super) was_limited: bool,
    /// The reading all findings of which are dead letters.
    #[serde(default)]
    pub(super) dealt_with: Option<Reading>,
    /// What it gave up, as far as that is accounted for.
    #[serde(default)]
    pub(super) given_up: GivenUp,
    /// The moment of its last ack, in microseconds; the broker forgets it when it is restarted.
    #[serde(default)]
    pub(super) acked: Option<i64>,
}

/// What a look at a consumer calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// Nothing.
    Nothing,
    /// The floor stands below messages nobody has in hand: the first of them, and more, ran out.
    Stranded { from: u64, to: u64 },
    /// The floor has passed messages that ran out.
    Passed { to: u64 },
}

/// Which of the messages a floor stands below ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of them.
    All,
    /// So many, half of them at least, and nobody can tell which: each becomes a dead letter, which says so. One too
    /// many is discarded by whoever looks; one too few would be lost without a word.
    Some {
        /// How many ran out.
        ran_out: u64,
    },
    /// None, as far as can be told.
    Nothing,
    /// The first, and nothing is known of the others, most of which were done.
    First,
}

impl Reading {
    fn is_quiet(&self) -> bool {
        self.ack_pending == 0
    }

    fn is_limited(&self) -> bool {
        self.max_deliver > 0
    }
}

impl Memory {
    /// The memory of a consumer after a reading at `now`.
    pub(super) fn after(known: Option<&Self>, consumer: &str, reading: Reading, now: i64) -> Self {
        let given_up = known.map(|known| known.given_up.clone()).unwrap_or_default();
        let known = known.filter(|known| known.reading.created == reading.created);
        let given_up =
            if known.is_some() { given_up.seen(reading.redelivered, reading.floor) } else { given_up.anew() };
        let is_same = known.is_some_and(|known| known.reading == reading);
        Self {
            consumer: consumer.to_owned(),
            since: known.filter(|_| is_same).map_or(now, |known| known.since),
            was_limited: reading.is_limited() || known.is_some_and(|known| known.was_limited),
            dealt_with: known.and_then(|known| known.dealt_with.clone()),
            given_up,
            acked: known.and_then(|known| known.acked),
            reading,
        }
    }

    /// What has to be done, if the consumer has stood like this for `settled_after` microseconds.
    pub(super) fn call(&self, now: i64, settled_after: i64) -> Call {
        let reading = &self.reading;
        let is_settled = now.saturating_sub(self.since) >= settled_after;
        // Without a limit nothing runs out, whatever the numbers look like while a consumer is set back.
        if !self.was_limited
            || !reading.is_quiet()
            || !is_settled
            || self.dealt_with.as_ref() == Some(reading)
        {
            return Call::Nothing;
        }
        if reading.floor < reading.delivered {
            return Call::Stranded { from: reading.floor + 1, to: reading.delivered };
        }
        if self.given_up.is_behind(reading.redelivered) {
            return Call::Passed { to: reading.delivered };
        }
        Call::Nothing
    }

    /// Which of `found` stranded messages ran out, besides `announced` others.
    pub(super) fn extent(&self, found: u64, announced: u64) -> Extent {
        let least = if announced == 0 { found.min(1) } else { 0 };
        let ran_out = self.reading.redelivered.saturating_sub(announced).clamp(least, found);
        if ran_out == found {
            Extent::All
        } else if ran_out > 1 && ran_out * 2 >= found {
            Extent::Some { ran_out }
        } else if announced == 0 {
            Extent::First
        } else {
            Extent::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: i64 = 10_000_000;

    fn reading(floor: u64, delivered: u64, ack_pending: u64, redelivered: u64) -> Reading {
        Reading { created: 1, max_deliver: 3, floor, delivered, ack_pending, redelivered }
    }

    fn memory(reading: Reading) -> Memory {
        Memory::after(None, "doomed", reading, 0)
    }

    #[test]
    fn a_floor_that_stands_below_what_was_delivered_while_nothing_is_waited_for_strands_messages() {
        let stands = memory(reading(4, 7, 0, 3));
        assert_eq!(stands.call(PERIOD - 1, PERIOD), Call::Nothing, "it may be a moment between two numbers");
        let again = Memory::after(Some(&stands), "doomed", stands.reading.clone(), PERIOD);
        assert_eq!(again.call(PERIOD, PERIOD), Call::Stranded { from: 5, to: 7 });
        assert_eq!((again.extent(3, 0), again.extent(1, 0)), (Extent::All, Extent::All));
        assert_eq!((again.extent(6, 0), again.extent(7, 0)), (Extent::Some { ran_out: 3 }, Extent::First));
        assert_eq!(
            memory(reading(4, 7, 0, 0)).extent(2, 0),
            Extent::First,
            "with a limit of one, none is counted"
        );
        assert_eq!(
            (again.extent(1, 3), again.extent(1, 2)),
            (Extent::Nothing, Extent::All),
            "the others were announced"
        );
        let moved = Memory::after(Some(&stands), "doomed", reading(4, 8, 0, 3), PERIOD);
        assert_eq!(moved.call(PERIOD, PERIOD), Call::Nothing, "it has just moved");
    }

    #[test]
    fn what_somebody_has_in_hand_is_left_alone() {
        assert_eq!(memory(reading(4, 7, 1, 3)).call(PERIOD, PERIOD), Call::Nothing);
        assert_eq!(memory(reading(7, 7, 0, 0)).call(PERIOD, PERIOD), Call::Nothing);
    }

    #[test]
    fn a_floor_that_has_passed_messages_that_ran_out_is_given_away_by_their_count() {
        let passed = memory(reading(7, 7, 0, 2));
        assert_eq!(passed.call(PERIOD, PERIOD), Call::Passed { to: 7 });
        let unlimited = memory(Reading { max_deliver: -1, ..reading(7, 7, 0, 2) });
        assert_eq!(unlimited.call(PERIOD, PERIOD), Call::Nothing, "nothing ever ran out there");
        let set_back = memory(Reading { max_deliver: -1, ..reading(4, 7, 0, 0) });
        assert_eq!(set_back.call(PERIOD, PERIOD), Call::Nothing);
        let raised =
            Memory::after(Some(&passed), "doomed", Reading { max_deliver: -1, ..reading(7, 7, 0, 2) }, 1);
        assert_eq!(raised.call(1 + PERIOD, PERIOD), Call::Passed { to: 7 }, "it was limited before");
    }

    #[test]
    fn what_was_dealt_with_is_not_looked_for_again_until_the_numbers_change() {
        let given_up = GivenUp { accounted: 3, through: 7, losses: Vec::new() };
        let dealt = Memory { dealt_with: Some(reading(4, 7, 0, 3)), given_up, ..memory(reading(4, 7, 0, 3)) };
        assert_eq!(dealt.call(PERIOD, PERIOD), Call::Nothing);
        let passed = Memory::after(Some(&dealt), "doomed", reading(9, 9, 0, 3), 0);
        assert_eq!(passed.call(PERIOD, PERIOD), Call::Nothing, "the same three");
        let more = Memory::after(Some(&dealt), "doomed", reading(9, 9, 0, 4), 0);
        assert_eq!(more.call(PERIOD, PERIOD), Call::Passed { to: 9 });
        let forgotten = Memory::after(Some(&dealt), "doomed", reading(9, 9, 0, 1), 0);
        assert_eq!(forgotten.call(PERIOD, PERIOD), Call::Nothing, "the broker has forgotten two");
        let again = Memory::after(Some(&forgotten), "doomed", reading(12, 12, 0, 3), 0);
        assert_eq!(again.call(PERIOD, PERIOD), Call::Passed { to: 12 }, "and two more were lost");
        let anew = Memory::after(Some(&dealt), "doomed", Reading { created: 2, ..reading(4, 7, 0, 3) }, 0);
        assert_eq!(anew.call(PERIOD, PERIOD), Call::Stranded { from: 5, to: 7 }, "another consumer");
    }
}
