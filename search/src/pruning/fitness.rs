//! The order of reported values: fitness, larger is better, with NaN below everything.

use std::cmp::Ordering;

/// Ascending; a total order in which all NaN are equal, and both zeros.
pub(super) fn compare(a: &f64, b: &f64) -> Ordering {
    a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

pub(super) fn is_worse(a: f64, b: f64) -> bool {
    compare(&a, &b).is_lt()
}

/// The better of the two; the first when they are equal.
pub(super) fn better(a: f64, b: f64) -> f64 {
    if is_worse(a, b) { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_below_negative_infinity_and_equal_to_itself() {
        let ascending = [f64::NAN, f64::NEG_INFINITY, -1.0, 0.0, 1.0, f64::INFINITY];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} {b}");
            }
        }
        assert_eq!(compare(&f64::NAN, &-f64::NAN), Ordering::Equal);
        assert_eq!(compare(&0.0, &-0.0), Ordering::Equal);
        assert_eq!(better(f64::NAN, -1.0), -1.0);
    }
}
