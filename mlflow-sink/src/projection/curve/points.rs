//! The points of the curves as MLflow gets them.

use super::super::Point;
use super::super::parent::{FAILED_METRIC, FINISHED_METRIC, PRUNED_METRIC};
use super::super::steps::Steps;
use super::Best;

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
