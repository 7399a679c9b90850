//! How many calls are under way at once: as many as the server carries out, and one or two that wait for it there.
//!
//! What is found out by what calls take, as TCP Vegas does it (Brakmo and Peterson, 1995): of `n` calls under way that take
//! `r` each, where one alone takes `m`, about `n * (1 - m / r)` only wait. A server with one interpreter gets two or three
//! at once: more are no faster, and make its threads fight for it. One with several workers, or far away, gets all there
//! may be. What one alone takes is looked at from time to time: both the server and what it holds change.
//!
//! Pure. Learned from calls that are always of the same size, and only while there are as many as there may be.

use std::time::Duration;

use super::MAX_CONNECTIONS;

/// At least so many: while one answer is on its way, the server has something to do.
const LEAST: usize = 2;
/// As many as are tried first.
const AT_FIRST: usize = 4;
/// Calls that may wait at the server: fewer, and one more is tried; more, and one less is.
const WAITING: (f64, f64) = (1.0, 2.0);
/// Calls looked at before the number changes, for each that may be under way.
const LOOKED_AT: usize = 4;
/// The calls that are learned from.
const ALIKE: [&str; 2] = ["runs/create", "runs/update"];
/// Of these, so many are made before one alone is looked at: the first time, and again. Fewer would not tell: a new
/// connection acknowledges at once what an older one is late with.
const LOOK_AFTER: (usize, usize) = (100, 1000);
/// So many calls are made alone, at most and of the kinds that are learned from.
const LOOK: (usize, usize) = (16, 8);

/// How many calls may be under way.
#[derive(Debug)]
pub(super) struct Breadth {
    limit: usize,
    /// What a call takes alone, in seconds, of each that is learned from, as far as it is known.
    alone: [Option<f64>; ALIKE.len()],
    look: Option<Look>,
    /// Calls that can be learned from until the next look.
    until_look: usize,
    /// Calls since the number changed, and the sum of `m / r` over them.
    seen: usize,
    swiftness: f64,
}

/// Calls are made one by one.
#[derive(Debug, Default)]
struct Look {
    calls: usize,
    alike: [Vec<f64>; ALIKE.len()],
}

impl Default for Breadth {
    fn default() -> Self {
        Self {
            limit: AT_FIRST,
            alone: [None; ALIKE.len()],
            look: None,
            until_look: LOOK_AFTER.0,
            seen: 0,
            swiftness: 0.0,
        }
    }
}

impl Breadth {
    /// How many.
    pub(super) fn limit(&self) -> usize {
        if self.look.is_some() { 1 } else { self.limit }
    }

    /// A call was answered that had begun as one of `at_once`.
    pub(super) fn answered(&mut self, path: &str, took: Duration, at_once: usize) {
        let kind = ALIKE.iter().position(|alike| *alike == path);
        let took = took.as_secs_f64().max(1e-6);
        match (&mut self.look, kind) {
            (Some(look), _) => {
                if look.is_over_with(kind.filter(|_| at_once == 1), took) {
                    self.take_in();
                }
            }
            (None, Some(kind)) if at_once >= self.limit => self.learn(kind, took),
            (None, _) => {}
        }
    }

    /// Takes in what a look has shown: of each kind what it took as a rule.
    fn take_in(&mut self) {
        let Some(look) = self.look.take() else { return };
        for (alone, mut seen) in self.alone.iter_mut().zip(look.alike) {
            seen.sort_by(f64::total_cmp);
            *alone = seen.get(seen.len() / 2).copied().or(*alone);
        }
    }

    fn learn(&mut self, kind: usize, took: f64) {
        self.until_look -= 1;
        if self.until_look == 0 {
            (self.until_look, self.look) = (LOOK_AFTER.1, Some(Look::default()));
        }
        let Some(alone) = self.alone[kind] else { return };
        self.seen += 1;
        self.swiftness += (alone / took).min(1.0);
        if self.seen >= LOOKED_AT * self.limit {
            self.change();
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a handful of calls")]
    fn change(&mut self) {
        let waiting = self.limit as f64 * (1.0 - self.swiftness / self.seen as f64);
        if waiting < WAITING.0 {
            self.limit = (self.limit + 1).min(MAX_CONNECTIONS);
        } else if waiting > WAITING.1 {
            self.limit = (self.limit - 1).max(LEAST);
        }
        (self.seen, self.swiftness) = (0, 0.0);
    }
}

impl Look {
    /// A call was answered; `kind` of one that was alone and can be learned from. True with the last one.
    fn is_over_with(&mut self, kind: Option<usize>, took: f64) -> bool {
        self.calls += 1;
        if let Some(kind) = kind {
            self.alike[kind].push(took);
        }
        self.calls >= LOOK.0 || self.alike.iter().map(Vec::len).sum::<usize>() >= LOOK.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls of a server, each of which takes what `millis` says of so many at once; the least and the most there came to
    /// be of them in the last hundred, looks aside.
    fn after(breadth: &mut Breadth, calls: usize, millis: impl Fn(usize) -> u64) -> (usize, usize) {
        for call in 0..calls {
            let at_once = breadth.limit();
            breadth.answered(ALIKE[call % ALIKE.len()], Duration::from_millis(millis(at_once)), at_once);
        }
        let mut limits = Vec::new();
        for call in 0..100 {
            let at_once = breadth.limit();
            breadth.answered(ALIKE[call % ALIKE.len()], Duration::from_millis(millis(at_once)), at_once);
            limits.extend((at_once > 1).then_some(at_once));
        }
        (limits.iter().copied().min().unwrap(), limits.iter().copied().max().unwrap())
    }

    #[test]
    fn a_server_that_carries_out_one_call_after_the_other_gets_two_or_three_at_once() {
        let mut breadth = Breadth::default();
        for calls in [400, 10_000] {
            let (least, most) = after(&mut breadth, calls, |at_once| 8 * at_once as u64);
            assert!(most <= 3, "{least} to {most} after {calls}");
        }
    }

    #[test]
    fn one_call_that_was_fast_by_luck_while_it_was_looked_makes_nobody_hold_back() {
        let mut breadth = Breadth::default();
        let late = Duration::from_millis(48);
        let mut fast = 2;
        for call in 0..600 {
            let at_once = breadth.limit();
            let is_lucky = breadth.look.is_some() && fast > 0;
            fast -= usize::from(is_lucky);
            let took = if is_lucky { Duration::from_millis(8) } else { late };
            breadth.answered(ALIKE[call % ALIKE.len()], took, at_once);
        }
        assert_eq!((breadth.limit(), fast), (MAX_CONNECTIONS, 0));
    }

    #[test]
    fn a_server_that_answers_late_gets_all_there_may_be() {
        let mut breadth = Breadth::default();
        assert_eq!(after(&mut breadth, 400, |_| 48), (MAX_CONNECTIONS, MAX_CONNECTIONS));
        let (least, _) = after(&mut breadth, 5000, |at_once| if at_once < 7 { 48 } else { 60 });
        assert!(least >= 6, "{least}");
    }

    #[test]
    fn a_server_that_has_become_slower_is_held_for_busy_no_longer_than_until_the_next_look() {
        let mut breadth = Breadth::default();
        after(&mut breadth, 400, |_| 10);
        assert_eq!(after(&mut breadth, 200, |_| 40).0, LEAST);
        assert_eq!(after(&mut breadth, LOOK_AFTER.1 + 300, |_| 40), (MAX_CONNECTIONS, MAX_CONNECTIONS));
    }

    #[test]
    fn calls_of_any_size_teach_nothing_and_do_not_stay_alone() {
        let mut breadth = Breadth::default();
        for call in 0..1000 {
            let at_once = breadth.limit();
            breadth.answered("runs/log-batch", Duration::from_millis(call), at_once);
        }
        assert_eq!(breadth.limit(), AT_FIRST);
    }

    #[test]
    fn a_few_calls_at_once_teach_nothing_while_there_may_be_more() {
        let mut breadth = Breadth::default();
        after(&mut breadth, 10, |_| 8);
        let before = breadth.limit();
        (0..1000).for_each(|_| breadth.answered(ALIKE[0], Duration::from_millis(500), 1));
        assert_eq!(breadth.limit(), before);
    }
}
