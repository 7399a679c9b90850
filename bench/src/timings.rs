//! Durations as a distribution.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Longest duration that is told apart from a longer one: ten minutes, in nanoseconds.
const LONGEST_NANOS: u64 = 600_000_000_000;
/// Decimal digits kept of every value.
const DIGITS: u8 = 3;

/// Durations that were measured, with a tenth of a percent of precision.
#[derive(Debug, Clone)]
pub(crate) struct Timings(Histogram<u64>);

impl Timings {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_NANOS, DIGITS).expect("the bounds are constants in range"))
    }

    /// Adds one.
    pub(crate) fn record(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(nanos.clamp(1, LONGEST_NANOS));
    }

    /// Adds all of another one.
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all timings have the same bounds");
    }

    /// The duration that a share of all did not exceed.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(share))
    }

    /// The median.
    pub(crate) fn p50(&self) -> Duration {
        self.quantile(0.5)
    }

    /// The mean.
    pub(crate) fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.0.mean() / 1e9)
    }

    /// All but the slowest hundredth took at most this.
    pub(crate) fn p99(&self) -> Duration {
        self.quantile(0.99)
    }
}

/// The median of some numbers; the upper one of two in the middle. None of none.
pub(crate) fn median(numbers: &[f64]) -> Option<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut timings = Timings::new();
        (1..=100).for_each(|micros| timings.record(Duration::from_micros(micros)));
        let near = |found: Duration, micros: u64| {
            found.abs_diff(Duration::from_micros(micros)) < Duration::from_nanos(200)
        };
        assert!(near(timings.p50(), 50), "{:?}", timings.p50());
        assert!(near(timings.p99(), 99), "{:?}", timings.p99());
    }

    #[test]
    fn a_duration_beyond_the_range_counts_as_the_longest() {
        let mut timings = Timings::new();
        timings.record(Duration::MAX);
        timings.record(Duration::ZERO);
        assert!(timings.quantile(1.0) >= Duration::from_nanos(LONGEST_NANOS));
    }

    #[test]
    fn a_median_does_not_depend_on_the_order() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }
}
