//! The median stopping rule: a trial whose best value so far is worse than the median of its peers' is pruned.
//!
//! As in Optuna's `MedianPruner` the best value of the trial is what counts, checks begin at `warmup_steps`, and one that
//! falls on a step without report is made up for at the next report. Other than there, a peer is seen with its best
//! value up to the step rather than with its value at the very step, so that peers that report at other steps, and
//! those that ended before, count too.

use std::collections::BTreeMap;

use super::curve::Curve;
use super::fitness::{compare, is_worse};
use super::settings::MedianPruner;

/// Peers a median is taken over, those of the highest numbers: a million trials would otherwise be looked through at
/// every report, and what was tried long ago says little about what is good now.
pub const MAX_PEERS: u32 = 1_000;

#[derive(Debug, Clone)]
pub(super) struct Median {
    pruner: MedianPruner,
    lag: u64,
    /// By trial; the highest number is that of the youngest trial, the lowest may still be a peer.
    curves: BTreeMap<u64, Curve>,
    /// Numbers below are nobody's peer any more.
    lowest: u64,
}

impl Median {
    pub(super) fn new(pruner: MedianPruner, lag: u64) -> Self {
        Self { pruner, lag, curves: BTreeMap::new(), lowest: 0 }
    }

    pub(super) fn record(&mut self, trial: u64, step: i64, fitness: f64) {
        // A trial with a number is proposed when everything `lag` below it is over, so that whoever still trains is
        // less than `lag` behind and has its youngest peer `lag` below itself.
        let reach = self.lag.saturating_mul(2).saturating_add(MAX_PEERS.into());
        let lowest = trial.saturating_sub(reach);
        if lowest > self.lowest {
            self.lowest = lowest;
            self.curves = self.curves.split_off(&lowest);
        }
        if trial >= self.lowest {
            self.curves.entry(trial).or_default().record(step, fitness);
        }
    }

    /// Whether the trial's best value up to the step is worse than the median of the trials below `visible`.
    pub(super) fn is_worse(&self, trial: u64, step: i64, visible: u64) -> bool {
        let MedianPruner { startup_trials, warmup_steps, interval_steps } = self.pruner;
        let (warmup, interval) = (i64::from(warmup_steps), i64::from(interval_steps));
        if step < warmup {
            return false;
        }
        let check = step - (step - warmup) % interval;
        let own = self.curves.get(&trial).and_then(|curve| curve.best_at_first_since(check, step));
        let Some(own) = own else { return false };
        let mut peers: Vec<f64> = self
            .curves
            .range(visible.saturating_sub(MAX_PEERS.into())..visible)
            .filter_map(|(_, curve)| curve.best(step))
            .collect();
        peers.len() >= startup_trials as usize
            && median(&mut peers).is_some_and(|median| is_worse(own, median))
    }
}

/// The middle value; of two middle ones the mean, or the worse one when a mean makes no sense.
fn median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    let is_even = values.len().is_multiple_of(2);
    if values.is_empty() {
        return None;
    }
    let (below, upper, _) = values.select_nth_unstable_by(middle, compare);
    let lower = below.iter().copied().max_by(compare).filter(|_| is_even).unwrap_or(*upper);
    Some(if lower.is_finite() && upper.is_finite() { lower / 2.0 + *upper / 2.0 } else { lower })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_two() {
        let of = |values: &[f64]| median(&mut values.to_vec());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(of(&[f64::MAX, f64::MAX]), Some(f64::MAX), "no sum overflows");
        assert_eq!(of(&[f64::INFINITY, 1.0]), Some(1.0));
        assert_eq!(of(&[f64::INFINITY, f64::NEG_INFINITY]), Some(f64::NEG_INFINITY));
        assert!(of(&[f64::NAN, 1.0]).unwrap().is_nan());
        assert_eq!(of(&[f64::NAN, 1.0, 2.0]), Some(1.0));
    }

    #[test]
    fn only_the_curves_of_possible_peers_are_kept() {
        let mut median = Median::new(MedianPruner::default(), 3);
        for trial in (0..5_000).chain([7]) {
            median.record(trial, 1, 0.5);
        }
        assert_eq!(median.curves.len(), MAX_PEERS as usize + 2 * 3 + 1);
        let oldest_that_may_train = 5_000 - 3;
        let its_peers = oldest_that_may_train + 1 - 3;
        assert!(*median.curves.keys().next().unwrap() <= its_peers - u64::from(MAX_PEERS));
    }
}
