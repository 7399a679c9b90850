//! The course of a search over its trials: the best so far (`best/<objective>`) and how many of them ended how
//! (`trials_finished`, `trials_failed`, `trials_pruned`), on the parent.
//!
//! The point at step `k` speaks of the first `k` trials by number, and its time is when the last of these ended. Both
//! follow from the trials alone, so any order of arrival and any redelivery draws the same curves.

use std::collections::BTreeMap;

use schemas::event::{Direction, TrialReported, TrialStatus};
use serde::{Deserialize, Serialize};

use super::parent::{FAILED_METRIC, FINISHED_METRIC, PRUNED_METRIC};
use super::steps::{StepSet, Steps};
use super::{Point, Seen, millis};

/// Trials that may wait for one of a lower number: the most that can train at once. Beyond it the gap is a trial that
/// never comes, and the curve goes on without it.
const MAX_WAITING: usize = 1024;

/// How a trial ended, as far as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Outcome {
    /// It has a result.
    Finished,
    /// It has none.
    Failed,
    /// It was stopped early, because others were better.
    Pruned,
    /// It was cancelled or skipped: nobody counts these.
    #[default]
    Other,
}

impl From<TrialStatus> for Outcome {
    fn from(status: TrialStatus) -> Self {
        match status {
            TrialStatus::Succeeded => Self::Finished,
            TrialStatus::Failed => Self::Failed,
            TrialStatus::Pruned => Self::Pruned,
            TrialStatus::Cancelled | TrialStatus::Skipped => Self::Other,
        }
    }
}

/// A trial that ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// Its objective; `None` unless it succeeded with a finite one.
    pub objective: Option<f64>,
    /// How it ended.
    #[serde(default)]
    pub outcome: Outcome,
    /// Attempt of the run that trained it, 0 when nobody says.
    #[serde(default)]
    pub attempt: u32,
    /// When, in milliseconds since 1970.
    pub at: i64,
}

impl Finished {
    /// What a report says. One MLflow did not take is over, and its values are not there.
    pub fn of(report: &TrialReported, seen: &Seen, objective: &str, is_written: bool) -> Self {
        let value = report.metrics.get(objective).and_then(|value| value.finite());
        Self {
            objective: value.filter(|_| is_written && report.status == TrialStatus::Succeeded),
            outcome: report.status.into(),
            attempt: report.attempt.unwrap_or(0),
            at: millis(report.finished_at.unwrap_or(seen.at)),
        }
    }
}

/// How many trials ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Counts {
    pub finished: u32,
    pub failed: u32,
    pub pruned: u32,
}

impl Counts {
    fn of(&mut self, outcome: Outcome) -> Option<&mut u32> {
        match outcome {
            Outcome::Finished => Some(&mut self.finished),
            Outcome::Failed => Some(&mut self.failed),
            Outcome::Pruned => Some(&mut self.pruned),
            Outcome::Other => None,
        }
    }
}

/// A point of the curves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Best {
    /// Trials that have ended.
    pub step: i64,
    /// The best objective among them; `None` while there is none.
    pub value: Option<f64>,
    /// How they ended.
    pub counts: Counts,
    /// When the last of them did, in milliseconds since 1970.
    pub at: i64,
    /// The step was drawn already: a trial before it was trained again. What has not changed is not told again.
    pub is_again: bool,
}

/// How far the curves are drawn.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Curve {
    /// Number of the first trial that is not in the curve.
    next: u32,
    best: Option<f64>,
    clock: i64,
    waiting: BTreeMap<u32, Finished>,
    #[serde(default)]
    counts: Counts,
    /// Numbers of the trials that are counted.
    #[serde(default)]
    counted: StepSet,
    /// Those of them that have no result: they may be trained again.
    #[serde(default)]
    open: BTreeMap<u32, (u32, Outcome)>,
}

impl Curve {
    /// Takes a trial and gives the points that can be drawn now. Without a direction nothing is best.
    pub fn feed(&mut self, number: u32, finished: Finished, direction: Option<Direction>) -> Vec<Best> {
        if number < self.next {
            // Known already; or trained again, or a gap that was given up: then the last point is drawn once more.
            let has_improved = self.improve(finished.objective, direction);
            let is_counted_anew = self.count(number, finished);
            if !has_improved && !is_counted_anew {
                return Vec::new();
            }
            self.clock = self.clock.max(finished.at);
            let value = self.best.filter(|_| has_improved);
            return vec![Best { value, is_again: true, ..self.point(self.next) }];
        }
        self.waiting.entry(number).and_modify(|known| *known = later(*known, finished)).or_insert(finished);
        let mut points = Vec::new();
        while self.waiting.contains_key(&self.next) || self.waiting.len() > MAX_WAITING {
            points.extend(self.advance(direction));
        }
        points
    }

    /// The run is over: draws what waits, gaps left out.
    pub fn finish(&mut self, direction: Option<Direction>) -> Vec<Best> {
        let mut points = Vec::new();
        while !self.waiting.is_empty() {
            points.extend(self.advance(direction));
        }
        points
    }

    /// Puts the waiting trial of the lowest number into the curve.
    fn advance(&mut self, direction: Option<Direction>) -> Option<Best> {
        let (number, finished) = self.waiting.pop_first()?;
        self.next = number.saturating_add(1);
        self.clock = self.clock.max(finished.at);
        self.improve(finished.objective, direction);
        self.count(number, finished);
        Some(self.point(self.next))
    }

    fn point(&self, step: u32) -> Best {
        Best { step: step.into(), value: self.best, counts: self.counts, at: self.clock, is_again: false }
    }

    /// Counts how a trial ended; true when that is news. A result stays one, and else the latest attempt decides.
    fn count(&mut self, number: u32, finished: Finished) -> bool {
        let is_first = self.counted.insert(number.into());
        let before = self.open.get(&number).copied();
        let is_news = match before {
            _ if is_first => true,
            Some((attempt, outcome)) => {
                finished.outcome == Outcome::Finished
                    || (finished.attempt >= attempt && finished.outcome != outcome)
            }
            None => false,
        };
        if !is_news {
            return false;
        }
        if let Some(count) = before.and_then(|(_, outcome)| self.counts.of(outcome)) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = self.counts.of(finished.outcome) {
            *count += 1;
        }
        if finished.outcome == Outcome::Finished {
            self.open.remove(&number);
        } else {
            self.open.insert(number, (finished.attempt, finished.outcome));
        }
        true
    }

    /// True when it is better than what there was.
    fn improve(&mut self, objective: Option<f64>, direction: Option<Direction>) -> bool {
        let (Some(value), Some(direction)) = (objective, direction) else { return false };
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

/// The points of the curves as they are written: those that are new, and those that are told again. `best` is the name
/// of the curve of the best so far.
pub fn drawn(best: &str, points: &[Best], steps: &mut Steps) -> Vec<Point> {
    let mut written = Vec::new();
    for Best { step, value, counts, at, is_again } in points {
        let counts = [
            (FINISHED_METRIC, counts.finished),
            (FAILED_METRIC, counts.failed),
            (PRUNED_METRIC, counts.pruned),
        ];
        let counts = counts.map(|(key, count)| (key, Some(f64::from(count))));
        for (key, value) in [(best, *value)].into_iter().chain(counts) {
            let Some(value) = value else { continue };
            let point = Point { key: key.to_owned(), value, timestamp: *at, step: *step };
            if steps.insert(&point) || *is_again {
                written.push(point);
            }
        }
    }
    written
}

/// Of two reports of a trial that waits, the one that counts.
fn later(known: Finished, new: Finished) -> Finished {
    let is_result = |one: &Finished| one.outcome == Outcome::Finished;
    match (is_result(&known), is_result(&new)) {
        (true, false) => known,
        (false, true) => new,
        _ if new.attempt >= known.attempt => new,
        _ => known,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(number: u32, objective: Option<f64>) -> Finished {
        let outcome = if objective.is_some() { Outcome::Finished } else { Outcome::Failed };
        Finished { objective, outcome, attempt: 1, at: i64::from(number) * 10 }
    }

    #[test]
    fn the_best_never_falls_and_a_failed_trial_counts_as_finished() {
        let mut curve = Curve::default();
        let mut points = Vec::new();
        for (number, objective) in [(0, None), (1, Some(0.5)), (2, Some(0.4)), (3, None), (4, Some(0.6))] {
            points.extend(curve.feed(number, at(number, objective), Some(Direction::Maximize)));
        }
        let drawn: Vec<_> = points.iter().map(|point| (point.step, point.value, point.at)).collect();
        let best = |step: i64, value| (step, value, (step - 1) * 10);
        assert_eq!(
            drawn,
            [best(1, None), best(2, Some(0.5)), best(3, Some(0.5)), best(4, Some(0.5)), best(5, Some(0.6))]
        );
        assert_eq!(points[4].counts, Counts { finished: 3, failed: 2, pruned: 0 });
    }

    #[test]
    fn a_loss_is_better_when_it_is_smaller() {
        let mut curve = Curve::default();
        curve.feed(0, at(0, Some(2.0)), Some(Direction::Minimize));
        assert_eq!(curve.feed(1, at(1, Some(1.0)), Some(Direction::Minimize))[0].value, Some(1.0));
    }

    #[test]
    fn a_trial_that_never_comes_holds_the_curve_up_only_so_long() {
        let mut curve = Curve::default();
        let count = u32::try_from(MAX_WAITING).unwrap() + 1;
        let points: usize = (1..=count)
            .map(|number| curve.feed(number, at(number, Some(1.0)), Some(Direction::Maximize)).len())
            .sum();
        assert_eq!(points, MAX_WAITING + 1);
        let late = curve.feed(0, at(0, Some(9.0)), Some(Direction::Maximize));
        let last = i64::from(count) + 1;
        let counts = Counts { finished: count + 1, ..Counts::default() };
        assert_eq!(
            late,
            [Best { step: last, value: Some(9.0), counts, at: 10 * (last - 1), is_again: true }]
        );
        assert_eq!(curve.feed(0, at(0, Some(9.0)), Some(Direction::Maximize)), [], "it is known");
        assert_eq!(curve.feed(count + 1, at(count + 1, None), Some(Direction::Maximize))[0].value, Some(9.0));
    }

    #[test]
    fn a_trial_that_is_trained_again_is_counted_as_it_ended_last() {
        let mut curve = Curve::default();
        let feed = |curve: &mut Curve, outcome, attempt| {
            let objective = (outcome == Outcome::Finished).then_some(0.5);
            let finished = Finished { objective, outcome, attempt, at: 7 };
            curve.feed(0, finished, Some(Direction::Maximize)).pop().map(|best| (best.counts, best.value))
        };
        let counts = |finished, failed, pruned| Counts { finished, failed, pruned };
        assert_eq!(feed(&mut curve, Outcome::Failed, 1), Some((counts(0, 1, 0), None)));
        assert_eq!(feed(&mut curve, Outcome::Pruned, 2), Some((counts(0, 0, 1), None)));
        assert_eq!(feed(&mut curve, Outcome::Failed, 1), None, "that was before");
        assert_eq!(feed(&mut curve, Outcome::Finished, 3), Some((counts(1, 0, 0), Some(0.5))));
        assert_eq!(feed(&mut curve, Outcome::Failed, 9), None, "a result stays one");
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
                    points.extend(curve.feed(number, at(number, objective), Some(Direction::Maximize)));
                }
                points.extend(curve.finish(Some(Direction::Maximize)));
                points
            };
            prop_assert_eq!(draw(&mut order.into_iter()), draw(&mut (0..objectives.len())));
        }
    }
}
