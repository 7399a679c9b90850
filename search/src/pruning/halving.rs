//! Asynchronous successive halving: at every rung only the best of those that reached it go on.
//!
//! The rungs are at the steps `min_resource * reduction_factor^(min_early_stopping_rate + k)`. A trial reaches a rung with
//! its first report at or behind it, and goes on when that value is among the best `1 / reduction_factor` of its own and
//! those with which its peers have reached the rung. Of fewer than `reduction_factor` competitors the best one goes on,
//! and equals of the last that goes on go on too: both as in Optuna's `SuccessiveHalvingPruner`. Other than there, NaN
//! competes like every value, as the worst.

use super::fitness::is_worse;
use super::settings::HalvingPruner;

#[derive(Debug, Clone)]
pub(super) struct Halving {
    reduction_factor: usize,
    /// Ascending by step.
    rungs: Vec<Rung>,
}

#[derive(Debug, Clone)]
struct Rung {
    /// First step that reaches it.
    step: i64,
    /// Who has reached it, ascending by trial.
    reached: Vec<Reached>,
}

/// The first report of a trial at or behind a rung.
#[derive(Debug, Clone, Copy)]
struct Reached {
    trial: u64,
    step: i64,
    fitness: f64,
}

impl Halving {
    pub(super) fn new(pruner: &HalvingPruner) -> Self {
        let factor = i64::from(pruner.reduction_factor);
        let first = (0..pruner.min_early_stopping_rate)
            .try_fold(i64::from(pruner.min_resource), |step, _| step.checked_mul(factor));
        let steps = std::iter::successors(first, |step| step.checked_mul(factor));
        let rungs = steps.map(|step| Rung { step, reached: Vec::new() }).collect();
        Self { reduction_factor: pruner.reduction_factor as usize, rungs }
    }

    pub(super) fn record(&mut self, trial: u64, step: i64, fitness: f64) {
        for rung in self.rungs.iter_mut().take_while(|rung| rung.step <= step) {
            let report = Reached { trial, step, fitness };
            match rung.find(trial) {
                Err(place) => rung.reached.insert(place, report),
                Ok(place) if step < rung.reached[place].step => rung.reached[place] = report,
                Ok(_) => {}
            }
        }
    }

    /// Whether the trial has reached a rung with this step and is not among the best there; its competitors are the
    /// trials below `visible`.
    pub(super) fn is_worse(&self, trial: u64, step: i64, visible: u64) -> bool {
        self.rungs
            .iter()
            .take_while(|rung| rung.step <= step)
            .any(|rung| rung.has_lost(trial, step, visible, self.reduction_factor))
    }
}

impl Rung {
    fn has_lost(&self, trial: u64, step: i64, visible: u64, reduction_factor: usize) -> bool {
        let Ok(place) = self.find(trial) else { return false };
        let own = self.reached[place];
        if own.step != step {
            return false;
        }
        let peers = &self.reached[..self.reached.partition_point(|peer| peer.trial < visible)];
        let go_on = ((peers.len() + 1) / reduction_factor).max(1);
        peers.iter().filter(|peer| is_worse(own.fitness, peer.fitness)).count() >= go_on
    }

    fn find(&self, trial: u64) -> Result<usize, usize> {
        match self.reached.last() {
            // Nearly every report is of a young trial.
            Some(last) if last.trial < trial => Err(self.reached.len()),
            _ => self.reached.binary_search_by_key(&trial, |reached| reached.trial),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rungs_are_at_the_powers_of_the_factor_and_end_before_the_numbers_do() {
        let steps = |min_resource, reduction_factor, min_early_stopping_rate| {
            let pruner = HalvingPruner { min_resource, reduction_factor, min_early_stopping_rate };
            Halving::new(&pruner).rungs.iter().map(|rung| rung.step).collect::<Vec<_>>()
        };
        assert_eq!(steps(1, 3, 0)[..4], [1, 3, 9, 27]);
        assert_eq!(steps(2, 4, 1)[..3], [8, 32, 128]);
        assert_eq!(steps(1, 2, 0).len(), 63);
        assert_eq!(steps(1_000_000_000, 100, 20), Vec::<i64>::new(), "no step is so large");
    }
}
