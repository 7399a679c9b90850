//! How many calls are under way at once: as many as make the server carry out more of them.
//!
//! Found by trying, as thread pools do it (Hellerstein et al., "Optimizing Concurrency Levels in the .NET ThreadPool",
//! 2009): a number is kept for a while, one more or one less is tried, and one more is kept when it pays. By Little's law
//! `n` calls under way that take `r` each are `n / r` carried out. A server with one interpreter gets two at once: more
//! are no faster, and make its threads fight for it. One with several workers, or far away, gets all there may be.
//!
//! What a call takes alone does not tell which of them a server is: one that answers 40 ms late as a rule does not always.
//!
//! Each call is held against others of its kind and size, so that it does not matter what is written at the moment. All
//! kinds a trial takes have to be among them: a server with one interpreter lets short calls overtake the long ones, and
//! by the short ones alone eight at once look as good as two.
//!
//! Pure. Learned only while there are as many as there may be.

use std::collections::BTreeMap;
use std::time::Duration;

use super::MAX_CONNECTIONS;

/// At least so many: while one answer is on its way, the server has something to do.
const LEAST: usize = 2;
/// As many as are tried first.
const AT_FIRST: usize = 4;
/// What one more has to bring, as a part of what it brings where calls do not wait for each other.
const PAYS: f64 = 0.4;
/// Calls a number is judged by, for each that may be under way. They differ by a third: of so many the mean is known to a
/// tenth with two under way, to a twentieth with eight.
const JUDGED_BY: usize = 10;
/// Most numbers of calls in a row, each enough to judge by, in which nothing is tried.
const MAX_REST: u32 = 16;
/// One call counts as at most so many usual ones: it says more of the machine than of the number.
const MAX_USUAL: f64 = 3.0;
/// The calls that are learned from.
const LEARNED: [&str; 3] = ["runs/create", "runs/log-batch", "runs/update"];

/// Calls that are held against each other: of one path, and of one size by its power of two.
type Kind = (usize, u32);

/// How many calls may be under way.
#[derive(Debug)]
pub(super) struct Breadth {
    /// The number that is kept.
    kept: usize,
    /// What calls took with it, as far as it is known.
    usual: Took,
    /// The number that is tried instead.
    tried: Option<usize>,
    /// True when one more is tried next, false when one less is.
    is_upwards: bool,
    seen: Took,
    /// Calls beside the number that is tried with nothing to hold them against.
    unknown: usize,
    /// How often the number has changed: a call that began before tells nothing of it.
    changes: u32,
    /// In so many numbers of calls nothing is tried; and how many that will be after the next try in vain.
    rest: (u32, u32),
}

/// What is noted of a call when it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun {
    /// `None` of one nothing is learned from.
    kind: Option<Kind>,
    /// Calls under way, with it.
    at_once: usize,
    changes: u32,
}

/// How many calls there were of each kind, and what they took together, in seconds. There are a few dozen kinds at most.
#[derive(Debug, Default)]
struct Took(BTreeMap<Kind, (f64, f64)>);

impl Default for Breadth {
    fn default() -> Self {
        Self {
            kept: AT_FIRST,
            usual: Took::default(),
            tried: None,
            is_upwards: true,
            seen: Took::default(),
            unknown: 0,
            changes: 0,
            rest: (0, 0),
        }
    }
}

impl Breadth {
    /// How many.
    pub(super) fn limit(&self) -> usize {
        self.tried.unwrap_or(self.kept)
    }

    /// A call with so many bytes begins as one of so many.
    pub(super) fn begin(&self, path: &str, bytes: usize, at_once: usize) -> Begun {
        let kind = LEARNED.iter().position(|learned| *learned == path);
        Begun { kind: kind.map(|path| (path, bytes.max(1).ilog2())), at_once, changes: self.changes }
    }

    /// A call was answered.
    pub(super) fn answered(&mut self, took: Duration, begun: Begun) {
        let Some(kind) = begun.kind else { return };
        if begun.at_once < self.limit() || begun.changes != self.changes {
            return;
        }
        let usual = self.usual.mean(kind);
        if self.tried.is_some() && usual.is_none() {
            return self.unknown();
        }
        let most = usual.map_or(f64::MAX, |usual| usual * MAX_USUAL);
        self.seen.add(kind, took.as_secs_f64().clamp(1e-6, most));
        if self.seen.calls() >= count(JUDGED_BY * self.limit()) {
            let limit = self.limit();
            self.judge();
            self.changes = self.changes.wrapping_add(u32::from(self.limit() != limit));
        }
    }

    /// A call of a kind that was not seen with the number that is kept: of too many of them nothing can be said.
    fn unknown(&mut self) {
        self.unknown += 1;
        if self.unknown >= JUDGED_BY * self.limit() {
            *self = Self {
                kept: self.kept,
                changes: self.changes.wrapping_add(1),
                is_upwards: !self.is_upwards,
                rest: self.rest,
                ..Self::default()
            };
        }
    }

    /// Enough was seen of the number that is kept, or of the one that is tried.
    fn judge(&mut self) {
        let seen = std::mem::take(&mut self.seen);
        self.unknown = 0;
        match self.tried.take() {
            None => {
                self.usual = seen;
                match self.rest.0.checked_sub(1) {
                    Some(rest) => self.rest.0 = rest,
                    None => self.try_next(),
                }
            }
            Some(tried) if self.is_better(tried, &seen) => {
                (self.kept, self.usual, self.rest) = (tried, seen, (0, 0));
                self.try_next();
            }
            Some(_) => {
                self.is_upwards = !self.is_upwards;
                self.rest = (self.rest.1, (2 * self.rest.1).clamp(1, MAX_REST));
            }
        }
    }

    /// True when more calls are carried out with the number that was tried, by enough; of a lower one, not fewer by so
    /// much.
    fn is_better(&self, tried: usize, seen: &Took) -> bool {
        let gain = seen.swifter_than(&self.usual) * count(tried) / count(self.kept);
        if tried > self.kept {
            gain >= 1.0 + PAYS / count(self.kept)
        } else {
            1.0 / gain < 1.0 + PAYS / count(tried)
        }
    }

    /// Tries the next number in the direction there is one in.
    fn try_next(&mut self) {
        self.is_upwards = self.kept == LEAST || (self.is_upwards && self.kept < MAX_CONNECTIONS);
        self.tried = Some(if self.is_upwards { self.kept + 1 } else { self.kept - 1 });
    }
}

#[expect(clippy::cast_precision_loss, reason = "a handful of calls")]
fn count(number: usize) -> f64 {
    number as f64
}

impl Took {
    fn add(&mut self, kind: Kind, seconds: f64) {
        let (calls, sum) = self.0.entry(kind).or_default();
        *calls += 1.0;
        *sum += seconds;
    }

    fn calls(&self) -> f64 {
        self.0.values().map(|(calls, _)| calls).sum()
    }

    fn mean(&self, kind: Kind) -> Option<f64> {
        self.0.get(&kind).map(|(calls, sum)| sum / calls)
    }

    /// What these calls would have taken at the means of others, by what they took.
    fn swifter_than(&self, others: &Self) -> f64 {
        let known = self
            .0
            .iter()
            .filter_map(|(kind, (calls, sum))| others.mean(*kind).map(|mean| (calls * mean, *sum)));
        let (there, here) = known.fold((0.0, 0.0), |(there, here), (mean, sum)| (there + mean, here + sum));
        if here > 0.0 { there / here } else { 1.0 }
    }
}

#[cfg(test)]
mod tests;
