//! Best so far over the finished trials of a run: the curve `best_<objective>` on the parent.
//!
//! The point at step `k` is the best objective among the first `k` trials by number, and its time is when the last of
//! these finished. Both follow from the trials alone, so any order of arrival and any redelivery draws the same curve.

use std::collections::BTreeMap;

use schemas::event::Direction;
use serde::{Deserialize, Serialize};

/// Trials that may wait for one of a lower number: the most that can train at once. Beyond it the gap is a trial that
/// never comes, and the curve goes on without it.
const MAX_WAITING: usize = 1024;

/// A trial that ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// Its objective; `None` unless it succeeded with a finite one.
    pub objective: Option<f64>,
    /// When, in milliseconds since 1970.
    pub at: i64,
}

/// A point of the curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Best {
    /// Trials that have finished.
    pub step: i64,
    /// The best objective among them.
    pub value: f64,
    /// When the last of them did, in milliseconds since 1970.
    pub at: i64,
    /// The step was drawn already: a trial behind it was trained again and became the best.
    pub is_again: bool,
}

/// How far the curve is drawn.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Curve {
    /// Number of the first trial that is not in the curve.
    next: u32,
    best: Option<f64>,
    clock: i64,
    waiting: BTreeMap<u32, Finished>,
}

impl Curve {
    /// Takes a trial and gives the points that can be drawn now.
    pub fn feed(&mut self, number: u32, finished: Finished, direction: Direction) -> Vec<Best> {
        if number < self.next {
            // Known already; or trained again, or a gap that was given up: then the last point is drawn once more.
            if !self.improve(finished.objective, direction) {
                return Vec::new();
            }
            self.clock = self.clock.max(finished.at);
            return self.point(self.next, true).into_iter().collect();
        }
        self.waiting.insert(number, finished);
        let mut points = Vec::new();
        while self.waiting.contains_key(&self.next) || self.waiting.len() > MAX_WAITING {
            points.extend(self.advance(direction));
        }
        points
    }

    /// The run is over: draws what waits, gaps left out.
    pub fn finish(&mut self, direction: Direction) -> Vec<Best> {
        let mut points = Vec::new();
        while !self.waiting.is_empty() {
            points.extend(self.advance(direction));
        }
        points
    }

    /// Puts the waiting trial of the lowest number into the curve.
    fn advance(&mut self, direction: Direction) -> Option<Best> {
        let (number, finished) = self.waiting.pop_first()?;
        self.next = number.saturating_add(1);
        self.clock = self.clock.max(finished.at);
        self.improve(finished.objective, direction);
        self.point(self.next, false)
    }

    fn point(&self, step: u32, is_again: bool) -> Option<Best> {
        self.best.map(|value| Best { step: step.into(), value, at: self.clock, is_again })
    }

    /// True when it is better than what there was.
    fn improve(&mut self, objective: Option<f64>, direction: Direction) -> bool {
        let Some(value) = objective else { return false };
        let is_better = |best: f64| match direction {
            Direction::Maximize => value > best,
            Direction::Minimize => value < best,
        };
        let has_improved = self.best.is_none_or(is_better);
        if has_improved {
            self.best = Some(value);
        }
        has_improved
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(number: u32, objective: Option<f64>) -> Finished {
        Finished { objective, at: i64::from(number) * 10 }
    }

    #[test]
    fn the_best_never_falls_and_a_failed_trial_counts_as_finished() {
        let mut curve = Curve::default();
        let mut points = Vec::new();
        for (number, objective) in [(0, None), (1, Some(0.5)), (2, Some(0.4)), (3, None), (4, Some(0.6))] {
            points.extend(curve.feed(number, at(number, objective), Direction::Maximize));
        }
        let drawn: Vec<_> = points.iter().map(|point| (point.step, point.value, point.at)).collect();
        assert_eq!(drawn, [(2, 0.5, 10), (3, 0.5, 20), (4, 0.5, 30), (5, 0.6, 40)]);
    }

    #[test]
    fn a_loss_is_better_when_it_is_smaller() {
        let mut curve = Curve::default();
        curve.feed(0, at(0, Some(2.0)), Direction::Minimize);
        assert_eq!(curve.feed(1, at(1, Some(1.0)), Direction::Minimize)[0].value, 1.0);
    }

    #[test]
    fn a_trial_that_never_comes_holds_the_curve_up_only_so_long() {
        let mut curve = Curve::default();
        let count = u32::try_from(MAX_WAITING).unwrap() + 1;
        let points: usize = (1..=count)
            .map(|number| curve.feed(number, at(number, Some(1.0)), Direction::Maximize).len())
            .sum();
        assert_eq!(points, MAX_WAITING + 1);
        let late = curve.feed(0, at(0, Some(9.0)), Direction::Maximize);
        let last = i64::from(count) + 1;
        assert_eq!(late, [Best { step: last, value: 9.0, at: 10 * (last - 1), is_again: true }]);
        assert_eq!(curve.feed(0, at(0, Some(9.0)), Direction::Maximize), [], "it is known");
        assert_eq!(curve.feed(count + 1, at(count + 1, None), Direction::Maximize)[0].value, 9.0);
    }

    proptest! {
        #[test]
        fn order_and_redelivery_do_not_change_the_curve(
            objectives in prop::collection::vec(prop::option::of(-1.0..1.0_f64), 1..20),
            again in prop::collection::vec(0_usize..20, 0..20),
            seed in any::<u64>(),
        ) {
            let trial = |number: usize| (u32::try_from(number).unwrap(), objectives[number]);
            let mut order: Vec<usize> = (0..objectives.len()).collect();
            order.extend(again.iter().map(|index| index % objectives.len()));
            order.sort_by_key(|index| (*index as u64 + 1).wrapping_mul(seed | 1).rotate_left(17));
            let draw = |order: &mut dyn Iterator<Item = usize>| {
                let mut curve = Curve::default();
                let mut points = Vec::new();
                for (number, objective) in order.map(trial) {
                    points.extend(curve.feed(number, at(number, objective), Direction::Maximize));
                }
                points.extend(curve.finish(Direction::Maximize));
                points
            };
            prop_assert_eq!(draw(&mut order.into_iter()), draw(&mut (0..objectives.len())));
        }
    }
}
