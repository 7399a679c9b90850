//! Random moments that can be had again: the same seed gives the same ones.

use std::time::Duration;

/// A small generator of random numbers (SplitMix64).
#[derive(Debug, Clone)]
pub(super) struct Moments(u64);

impl Moments {
    /// One sequence of many: `stream` tells those of the same seed apart.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut moments = Self(seed ^ stream.wrapping_mul(0xD1B5_4A32_D192_ED03));
        moments.next();
        moments
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0 and so small that the bias of a remainder does not matter.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % limit).unwrap_or(0)
    }

    /// A duration up to `longest`.
    pub(super) fn within(&mut self, longest: Duration) -> Duration {
        let micros = usize::try_from(longest.as_micros()).unwrap_or(usize::MAX);
        Duration::from_micros(u64::try_from(self.below(micros)).unwrap_or(u64::MAX))
    }

    /// So many different numbers below `limit`, ascending; all of them when there are not that many.
    pub(super) fn distinct(&mut self, count: usize, limit: usize) -> Vec<usize> {
        let mut left: Vec<usize> = (0..limit).collect();
        while left.len() > count {
            let one = self.below(left.len());
            left.remove(one);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_moments_and_another_stream_others() {
        let some = |stream| Moments::new(7, stream).distinct(20, 40);
        assert_eq!(some(1), some(1));
        assert_ne!(some(1), some(2));
    }

    #[test]
    fn distinct_numbers_ascend_below_their_limit() {
        let numbers = Moments::new(1, 0).distinct(20, 37);
        assert_eq!(numbers.len(), 20);
        assert!(
            numbers.is_sorted_by(|left, right| left < right) && numbers.iter().all(|number| *number < 37)
        );
        assert_eq!(Moments::new(1, 0).distinct(5, 3), [0, 1, 2]);
    }

    #[test]
    fn a_moment_is_within_its_limit() {
        let mut moments = Moments::new(3, 0);
        assert!((0..100).all(|_| moments.within(Duration::from_millis(5)) < Duration::from_millis(5)));
    }
}
