//! The reports of one trial as the best value up to each step.

use super::fitness::{better, is_worse};

/// Steps that are kept of one trial, the lowest ones; reports beyond are ignored and prune nobody. Whoever has not
/// shown in so many steps whether it is promising will not show it in the next.
pub const MAX_STEPS: usize = 10_000;

/// Ascending steps, no step twice, each with the best fitness up to it. The values themselves are not needed: what
/// came before a step never changes but by getting better, and steps leave only at the end.
#[derive(Debug, Clone, Default)]
pub(super) struct Curve {
    points: Vec<(i64, f64)>,
}

impl Curve {
    /// Takes a report, unless the step has one.
    pub(super) fn record(&mut self, step: i64, fitness: f64) {
        let Err(place) = self.find(step) else { return };
        if place == MAX_STEPS {
            return;
        }
        let before = place.checked_sub(1).map(|before| self.points[before].1);
        let best = before.map_or(fitness, |before| better(before, fitness));
        self.points.insert(place, (step, best));
        self.points.truncate(MAX_STEPS);
        for (_, later) in &mut self.points[place + 1..] {
            if !is_worse(*later, best) {
                break;
            }
            *later = best;
        }
    }

    /// The best fitness up to a step, if anything was reported up to it.
    pub(super) fn best(&self, step: i64) -> Option<f64> {
        let reported = self.points.partition_point(|(known, _)| *known <= step);
        Some(self.points[reported.checked_sub(1)?].1)
    }

    /// The best fitness up to a step that was reported, if no other between `since` and it was.
    pub(super) fn best_at_first_since(&self, since: i64, step: i64) -> Option<f64> {
        let place = self.find(step).ok()?;
        let is_first = place.checked_sub(1).is_none_or(|before| self.points[before].0 < since);
        is_first.then(|| self.points[place].1)
    }

    fn find(&self, step: i64) -> Result<usize, usize> {
        match self.points.last() {
            // Nearly every report is the next step.
            Some((last, _)) if *last < step => Err(self.points.len()),
            _ => self.points.binary_search_by_key(&step, |(known, _)| *known),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(reports: &[(i64, f64)]) -> Curve {
        let mut curve = Curve::default();
        reports.iter().for_each(|(step, fitness)| curve.record(*step, *fitness));
        curve
    }

    #[test]
    fn the_best_so_far_is_the_same_in_any_order_of_reports() {
        let reports = [(1, 0.2), (2, f64::NAN), (3, 0.1), (5, 0.7), (8, 0.4)];
        let mut backwards = reports;
        backwards.reverse();
        for reports in [reports, backwards, [reports[2], reports[4], reports[0], reports[3], reports[1]]] {
            let curve = curve(&reports);
            let bests = [0, 1, 2, 4, 5, 100].map(|step| curve.best(step));
            assert_eq!(bests, [None, Some(0.2), Some(0.2), Some(0.2), Some(0.7), Some(0.7)]);
        }
    }

    #[test]
    fn the_first_value_of_a_step_counts() {
        assert_eq!(curve(&[(1, 0.2), (1, 0.9)]).best(1), Some(0.2));
        assert_eq!(curve(&[(1, 0.5), (2, 0.1), (2, 0.9)]).best(2), Some(0.5));
    }

    #[test]
    fn the_lowest_steps_are_kept_whatever_came_first() {
        let limit = i64::try_from(MAX_STEPS).unwrap();
        let steps: Vec<i64> = (0..limit + 10).collect();
        let forwards = curve(&steps.iter().map(|step| (*step, *step as f64)).collect::<Vec<_>>());
        let backwards = curve(&steps.iter().rev().map(|step| (*step, *step as f64)).collect::<Vec<_>>());
        assert_eq!(forwards.points, backwards.points);
        assert_eq!(forwards.points.len(), MAX_STEPS);
        assert_eq!(forwards.best(i64::MAX), Some((limit - 1) as f64));
        assert_eq!(forwards.best_at_first_since(limit, limit), None, "it was not kept");
    }
}
