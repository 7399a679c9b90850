//! What a person can answer for: what is gone, and what is lost so that nobody can name it. Pure.
//!
//! What is on the stream is not among it, however little it is explained: it can be handled still, and an answer would hide
//! that it was not. A loss counts as soon as a classifier has written it down; before that it is a number that may grow.

use std::collections::BTreeSet;

use super::facts::Facts;
use super::gone::Gone;
use super::ranges::{Range, common, united, without};
use crate::operation::{Answered, Missing};

/// What nothing explains, whole.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unexplained {
    /// What left the stream, whoever it was for.
    pub(super) holes: Vec<Range>,
    /// What came to nothing at a consumer, and is gone.
    pub(super) unheard: BTreeSet<(u64, String)>,
    pub(super) losses: Vec<Missing>,
}

impl Unexplained {
    pub(crate) fn of(facts: &Facts, gone: &Gone) -> Self {
        let unheard = facts.unheard().filter(|one| facts.is_gone(one.seq) && !facts.is_answered(one));
        // A consumer's loss is answered for as a whole, or not.
        let open = facts.nameless().filter(|(_, _, count, answered)| count > answered);
        let missing = |(consumer, loss, count, _): (&str, &crate::given_up::Loss, u64, u64)| Missing {
            consumer: consumer.to_owned(),
            from: loss.from,
            to: loss.to,
            count,
            found: loss.at,
        };
        Self {
            holes: without(&gone.silent(), facts.acknowledged.for_all()),
            unheard: unheard.map(|one| (one.seq, one.consumer.clone())).collect(),
            losses: open.map(missing).collect(),
        }
    }

    /// A second look, less what an earlier one did not find: that is under way.
    pub(crate) fn confirming(mut self, earlier: &Self) -> Self {
        self.holes = common(&self.holes, &earlier.holes);
        self.unheard.retain(|one| earlier.unheard.contains(one));
        self.losses.retain(|loss| earlier.losses.contains(loss));
        self
    }

    /// Sequences it names, for whomever.
    pub(crate) fn sequences(&self) -> Vec<Range> {
        let unheard = self.unheard.iter().map(|(seq, _)| (*seq, *seq));
        united(unheard.chain(self.holes.iter().copied()).collect())
    }

    /// What of some sequences is among it, for one consumer or for all. A loss is, when all it may be is.
    pub(crate) fn within(&self, wanted: &[Range], consumer: Option<&str>) -> Answered {
        let is_meant = |name: &str| consumer.is_none_or(|only| only == name);
        let unheard = self.unheard.iter().filter(|(_, name)| is_meant(name)).map(|(seq, _)| (*seq, *seq));
        let holes = self.holes.iter().copied().filter(|_| consumer.is_none());
        let is_whole = |loss: &Missing| without(&[(loss.from, loss.to)], wanted).is_empty();
        let losses = self.losses.iter().filter(|loss| is_meant(&loss.consumer) && is_whole(loss));
        Answered {
            ranges: common(&united(unheard.chain(holes).collect()), wanted),
            losses: losses.cloned().collect(),
            consumer: consumer.map(str::to_owned),
        }
    }
}
