//! What is no longer on the stream, and how much of it nothing explains but a person. Pure.

use super::facts::{Advisory, Facts};
use super::ranges::{Range, common, holds, united, without};
use crate::given_up::Loss;
use crate::handled::Hole;

/// What is gone. The parts may have letters; [`Gone::dead`] is stronger than each of them, if it is not silent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gone {
    /// It has a letter, be it gone or not.
    pub(crate) dead: Vec<Range>,
    /// It left unhandled, that was announced, and it has no letter.
    pub(crate) expired: Vec<Range>,
    /// It had left before anybody kept book, and has no letter.
    pub(crate) before: Vec<Range>,
    /// It left the stream in silence before everybody had handled it.
    pub(crate) left: Vec<Range>,
    /// Somebody deleted it from the middle, and nothing tells why.
    pub(crate) deleted: Vec<Range>,
    /// All of it.
    all: Vec<Range>,
}

impl Gone {
    pub(crate) fn of(facts: &Facts) -> Self {
        let before_first = facts.first.saturating_sub(1).min(facts.last);
        let (since, through, known, holes) = match &facts.handled {
            Some(handled) => {
                let (known, silent): (Vec<_>, Vec<_>) = handled.holes.iter().partition(|hole| hole.is_known);
                let ranges = |holes: Vec<&Hole>| {
                    united(holes.into_iter().map(|hole| (hole.from, hole.to.min(before_first))).collect())
                };
                (handled.since, handled.through(), ranges(known), ranges(silent))
            }
            None => (1, 0, Vec::new(), Vec::new()),
        };
        let unproven = (through.max(since.saturating_sub(1)) + 1, before_first);
        let unproven = united(holes.into_iter().chain([unproven]).collect());
        let notices = united(facts.notices.clone());
        let dead = facts.letters.ranges(facts.last);
        let ours = facts.letters.ranges_of_ours(facts.last);
        let alive = [without(&unproven, &ours), without(&facts.gaps, &ours)];
        let announced = alive.iter().flat_map(|ranges| common(ranges, &notices));
        Self {
            expired: without(&united(known.into_iter().chain(announced).collect()), &dead),
            before: without(&united(vec![(1, since.saturating_sub(1).min(before_first))]), &dead),
            left: without(&alive[0], &notices),
            deleted: without(&alive[1], &notices),
            all: united(facts.gaps.iter().copied().chain([(1, before_first)]).collect()),
            dead,
        }
    }

    /// Everything that is no longer on the stream.
    pub(crate) fn all_of_it(&self) -> &[Range] {
        &self.all
    }

    /// What nothing explains, unless somebody answers for it.
    pub(crate) fn silent(&self) -> Vec<Range> {
        united(self.left.iter().chain(&self.deleted).copied().collect())
    }

    /// What somebody answers for. What has a letter or was announced needs no answer, and `open` is what still lacks one.
    pub(crate) fn acknowledged(&self, facts: &Facts, open: &[Range]) -> Vec<Range> {
        let answered = common(&facts.acknowledged.for_any(), &self.all);
        [self.dead.as_slice(), &self.expired, open].iter().fold(answered, |set, cuts| without(&set, cuts))
    }
}

impl Facts {
    /// It is no longer on the stream.
    pub(crate) fn is_gone(&self, seq: u64) -> bool {
        seq < self.first || holds(&self.gaps, seq)
    }

    /// Somebody answers for what the broker has said. Of a message that is on the stream nobody can.
    pub(crate) fn is_answered(&self, one: &Advisory) -> bool {
        self.is_gone(one.seq) && self.acknowledged.covers(one.seq, &one.consumer)
    }

    /// Deliveries the broker says came to nothing, with no letter to show for it.
    pub(crate) fn unheard(&self) -> impl Iterator<Item = &Advisory> {
        let since = self.handled.as_ref().map_or(1, |handled| handled.since);
        // A message that leaves the stream is terminated for everybody who has it in hand; one letter or notice tells why.
        let notices = united(self.notices.clone());
        self.advisories.iter().filter(move |one| {
            one.is_settled
                && one.seq >= since
                && !self.letters.excuse(one.seq, &one.consumer)
                && (!self.is_gone(one.seq) || !holds(&notices, one.seq))
        })
    }

    /// What sweeps have found to be given up without being able to name it, how many of each have no letter since, and how
    /// many of these somebody answers for.
    pub(crate) fn nameless(&self) -> impl Iterator<Item = (&str, &Loss, u64, u64)> {
        self.losses.iter().map(|(consumer, loss)| {
            let range = (loss.from, loss.to);
            let named = loss.named.max(self.letters.given_up_by(consumer, range, loss.since));
            let count = loss.count.saturating_sub(named);
            let answered = self.acknowledged.of_loss(consumer, loss.at).min(count);
            (consumer.as_str(), loss, count, answered)
        })
    }
}
