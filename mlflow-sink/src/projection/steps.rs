//! Which steps of which metrics an MLflow run already has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Point;

/// A set of steps as inclusive ranges in order, none touching the next: a series without gaps is one range.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepSet(Vec<(i64, i64)>);

impl StepSet {
    /// Adds a step; true when it was not there.
    pub fn insert(&mut self, step: i64) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= step);
        let touches_left = after > 0 && self.0[after - 1].1 >= step.saturating_sub(1);
        if touches_left && self.0[after - 1].1 >= step {
            return false;
        }
        let touches_right = self.0.get(after).is_some_and(|(first, _)| *first == step.saturating_add(1));
        match (touches_left, touches_right) {
            (true, true) => {
                self.0[after - 1].1 = self.0[after].1;
                self.0.remove(after);
            }
            (true, false) => self.0[after - 1].1 = step,
            (false, true) => self.0[after].0 = step,
            (false, false) => self.0.insert(after, (step, step)),
        }
        true
    }

    /// True when the step is in the set.
    pub fn contains(&self, step: i64) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= step);
        after > 0 && self.0[after - 1].1 >= step
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps so many ranges, the lowest, and says how many are gone.
    pub fn keep_first(&mut self, count: usize) -> usize {
        let gone = self.0.len().saturating_sub(count);
        self.0.truncate(count);
        gone
    }

    /// The highest step.
    pub fn last(&self) -> Option<i64> {
        self.0.last().map(|(_, last)| *last)
    }
}

/// One metric of an MLflow run: the steps of its intermediate values, the last of them, and the final value, which
/// has no step of its own and stands behind them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Series {
    steps: StepSet,
    last: Option<Value>,
    end: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Value {
    step: i64,
    value: f64,
    timestamp: i64,
}

impl Series {
    /// Records an intermediate value; true when its step is new.
    fn insert(&mut self, value: Value) -> bool {
        let is_new = self.steps.insert(value.step);
        self.stand_behind(value);
        is_new
    }

    /// Notes a value behind which a final one stands.
    fn stand_behind(&mut self, value: Value) {
        if self.last.is_none_or(|known| known.step <= value.step) {
            self.last = Some(value);
        }
    }

    /// Its values are written anew; a final one still stands behind everything there is.
    fn begin_again(&mut self) {
        self.steps = StepSet::default();
        if let Some(end) = self.end.take() {
            self.stand_behind(end);
        }
    }

    /// Records a final value.
    fn insert_end(&mut self, value: Value) {
        if self.end.is_none_or(|known| known.step <= value.step) {
            self.end = Some(value);
        }
    }

    /// Where a final value stands now: behind everything. `None` when it stands there already.
    fn place(&mut self, value: f64, timestamp: i64) -> Option<Value> {
        let behind = [self.last, self.end].into_iter().flatten().max_by_key(|known| known.step);
        if behind.is_some_and(|known| (known.value, known.timestamp) == (value, timestamp)) {
            return None;
        }
        let placed = Value { step: behind.map_or(0, |known| known.step.saturating_add(1)), value, timestamp };
        self.end = Some(placed);
        Some(placed)
    }
}

/// The values of every metric of one MLflow run, as far as they are known.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Steps {
    /// True when a metric that is not listed has no values: we saw the run from its creation on.
    is_complete: bool,
    /// True when the trial is trained again: what the server has is of an earlier time, or written once more.
    #[serde(default)]
    has_begun_again: bool,
    /// By legal name.
    metrics: BTreeMap<String, Series>,
}

impl Steps {
    /// Of a run that was just created.
    pub fn of_a_new_run() -> Self {
        Self { is_complete: true, ..Self::default() }
    }

    /// True when the server has to be asked before this metric can be written.
    pub fn must_be_asked(&self, key: &str) -> bool {
        !self.is_complete && !self.metrics.contains_key(key)
    }

    /// Takes what the server has of a metric. Values of the moment the run ended are its final ones.
    pub fn learn(&mut self, key: &str, points: impl Iterator<Item = Point>, ended_at: Option<i64>) {
        let series = self.metrics.entry(key.to_owned()).or_default();
        for point in points {
            let value = value_of(&point);
            if self.has_begun_again {
                series.stand_behind(value);
            } else if ended_at == Some(point.timestamp) {
                series.insert_end(value);
            } else {
                series.insert(value);
            }
        }
    }

    /// Records an intermediate value as written; true when the metric had none at this step.
    pub fn insert(&mut self, point: &Point) -> bool {
        match self.metrics.get_mut(&point.key) {
            Some(series) => series.insert(value_of(point)),
            None => self.metrics.entry(point.key.clone()).or_default().insert(value_of(point)),
        }
    }

    /// Records the final value of a metric and gives the point to write; `None` when it is the last one already.
    pub fn finish(&mut self, key: String, value: f64, timestamp: i64) -> Option<Point> {
        let placed = self.metrics.entry(key.clone()).or_default().place(value, timestamp)?;
        Some(Point { key, value, timestamp, step: placed.step })
    }

    /// The final value again, when intermediate ones that came late stand behind it: MLflow takes the value of the
    /// highest step as the one that counts.
    pub fn overtaken(&mut self, key: &str) -> Option<Point> {
        let end = self.metrics.get(key)?.end?;
        self.finish(key.to_owned(), end.value, end.timestamp)
    }

    /// True when the final value of a metric is known, so that an intermediate one comes late.
    pub fn has_final(&self, key: &str) -> bool {
        self.metrics.get(key).is_some_and(|series| series.end.is_some())
    }

    /// The trial is trained again: every step is new.
    pub fn begin_again(&mut self) {
        self.has_begun_again = true;
        self.metrics.values_mut().for_each(Series::begin_again);
    }

    /// Forgets everything: what the server has must be asked again.
    pub fn forget(&mut self) {
        *self = Self { has_begun_again: self.has_begun_again, ..Self::default() };
    }
}

fn value_of(point: &Point) -> Value {
    Value { step: point.step, value: point.value, timestamp: point.timestamp }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_step_set_is_a_set(steps in prop::collection::vec(-20_i64..20, 0..60)) {
            let mut ours = StepSet::default();
            let mut naive = BTreeSet::new();
            for step in steps {
                prop_assert_eq!(ours.insert(step), naive.insert(step));
            }
            for step in -22..22 {
                prop_assert_eq!(ours.contains(step), naive.contains(&step));
            }
            prop_assert_eq!(ours.last(), naive.last().copied());
            prop_assert!(ours.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{:?}", ours);
        }
    }

    #[test]
    fn the_ends_of_the_number_line_are_steps_too() {
        let mut steps = StepSet::default();
        assert!(steps.insert(i64::MAX) && steps.insert(i64::MIN));
        assert!(!steps.insert(i64::MAX) && !steps.insert(i64::MIN));
    }

    fn point(step: i64, value: f64) -> Point {
        Point { key: "m".into(), value, timestamp: 10 * step, step }
    }

    #[test]
    fn a_final_value_follows_the_last_one_and_is_written_once() {
        let mut steps = Steps::of_a_new_run();
        assert!(
            steps.insert(&point(0, 0.1)) && steps.insert(&point(1, 0.2)) && !steps.insert(&point(0, 0.1))
        );
        let written = steps.finish("m".into(), 0.5, 99).unwrap();
        assert_eq!(written, Point { key: "m".into(), value: 0.5, timestamp: 99, step: 2 });
        assert_eq!(steps.finish("m".into(), 0.5, 99), None);
        assert_eq!(steps.finish("only".into(), 0.5, 99).unwrap().step, 0);
    }

    #[test]
    fn what_the_server_has_is_known_whatever_order_it_is_told_in() {
        let mut steps = Steps::default();
        assert!(steps.must_be_asked("m"));
        steps.learn("m", [point(2, 0.3), point(0, 0.1), point(1, 0.2)].into_iter(), None);
        assert!(!steps.must_be_asked("m") && steps.must_be_asked("other"));
        assert_eq!(steps.finish("m".into(), 0.3, 20), None);
    }

    #[test]
    fn a_trial_that_is_trained_again_has_every_step_anew_and_its_final_value_behind_all() {
        let mut steps = Steps::of_a_new_run();
        assert!(steps.insert(&point(0, 0.1)) && steps.insert(&point(7, 0.2)));
        assert_eq!(steps.finish("m".into(), 0.3, 99).unwrap().step, 8);
        steps.begin_again();
        assert!(steps.insert(&point(0, 0.4)) && !steps.insert(&point(0, 0.4)));
        assert_eq!(steps.overtaken("m"), None, "what was final is so no longer");
        assert_eq!(steps.finish("m".into(), 0.5, 999).unwrap().step, 9);
        // The same, when it is not known what there is.
        steps.forget();
        steps.learn("m", [point(7, 0.2), point(0, 0.1)].into_iter(), Some(999));
        assert!(steps.insert(&point(0, 0.4)));
        assert_eq!(steps.finish("m".into(), 0.5, 999).unwrap().step, 8);
    }

    #[test]
    fn values_that_come_after_the_final_one_are_kept_and_do_not_count_for_more() {
        let mut steps = Steps::of_a_new_run();
        assert_eq!(steps.finish("m".into(), 0.9, 99).unwrap().step, 0);
        assert!(steps.insert(&point(0, 0.1)) && steps.insert(&point(1, 0.2)));
        assert_eq!(steps.overtaken("m"), Some(Point { key: "m".into(), value: 0.9, timestamp: 99, step: 2 }));
        assert_eq!(steps.overtaken("m"), None);
        // The same, after the ledger was lost.
        let stray = Point { key: "m".into(), value: 0.9, timestamp: 99, step: 0 };
        let mut found = Steps::default();
        found.learn("m", [stray.clone(), point(1, 0.2)].into_iter(), Some(99));
        assert!(found.insert(&point(0, 0.1)), "the final value takes nobody's step");
        assert_eq!(found.overtaken("m").unwrap().step, 2);
    }
}
