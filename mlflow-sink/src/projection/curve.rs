//! The course of a search over its trials: the best so far (`best/<objective>`) and how many of them ended how
//! (`trials_finished`, `trials_failed`, `trials_pruned`), on the parent.
//!
//! The point at step `k` speaks of the first `k` trials by number, and its time is when the last of these ended. Both
//! follow from the trials alone, so any order of arrival and any redelivery draws the same curves.

mod outcome;
mod points;

use std::collections::BTreeMap;

use schemas::event::Direction;
use serde::{Deserialize, Serialize};

use super::steps::StepSet;
use outcome::later;
pub use outcome::{Counts, Finished, Outcome};
pub use points::drawn;

/// Trials that may wait for one of a lower number: the most that can train at once. Beyond it the gap is a trial that
/// never comes, and the curve goes on without it.
const MAX_WAITING: usize = 1024;

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

#[cfg(test)]
mod tests;
