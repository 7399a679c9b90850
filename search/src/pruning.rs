//! Pruning: whether a trial that reports on its way is worth going on with.
//!
//! Invariants
//! - A verdict about trial `n` at step `s` is a function of the settings, the lag, the reports of its peers (the trials
//!   up to `n - lag`) and its own reports up to `s`. The peers are over when `n` is proposed, so that the same seed
//!   prunes the same trials whatever finishes first, whoever crashes and however often the run is resumed.
//! - The first value of a trial and step counts, later ones are ignored; apart from that the order of recording makes
//!   no difference, neither between trials nor between the steps of one.
//! - Who has no peers is never pruned: the first `lag` trials go on to their end.
//! - NaN is worse than everything, negative infinity (of fitness) included. Only who is strictly worse is pruned.
//! - A peer counts with the reports it made, however it ended: pruned and failed trials are peers as well.
//! - Memory is bounded: see [`MAX_STEPS`] and [`MAX_PEERS`] for the median, a value per trial and rung for halving.
//!
//! What it asks of the worker: record the objective of every report, live or from the events of earlier attempts in
//! the order of the stream, before the result of the trial goes to the [`Search`](crate::Search); and leave out
//! those of a trial whose result does not count any more. A trial that reports its steps backwards and is trained again
//! after a crash is judged with what it had reported before.
//!
//! What it deliberately does not do: stop anything, or say what the search learns from a pruned trial (nothing; see
//! [`Status::Pruned`](crate::Status)).
//!
//! ```
//! use search::{Direction, MedianPruner, Pruning, PruningSettings, Verdict};
//!
//! let settings = PruningSettings::Median(MedianPruner { startup_trials: 1, ..MedianPruner::default() });
//! let mut pruning = Pruning::new(&settings, Direction::Maximize, 1);
//! pruning.record(0, 1, 0.9);
//! pruning.record(1, 1, 0.2);
//! assert_eq!(pruning.verdict(0, 1), Verdict::GoOn);
//! assert_eq!(pruning.verdict(1, 1), Verdict::Prune);
//! ```

mod curve;
mod fitness;
mod halving;
mod median;
mod settings;

use crate::objective::Direction;
use crate::settings::MAX_TRIALS;

pub use curve::MAX_STEPS;
pub use median::MAX_PEERS;
pub use settings::{HalvingPruner, MedianPruner, PRUNERS, PruningSettings};

/// What to do with a trial that has reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Let it train.
    GoOn,
    /// Stop it; it is not promising.
    Prune,
}

/// The reports of one run, and the verdicts that follow from them.
#[derive(Debug, Clone)]
pub struct Pruning {
    rule: Rule,
    direction: Direction,
    lag: u64,
}

#[derive(Debug, Clone)]
enum Rule {
    None,
    Median(median::Median),
    Halving(halving::Halving),
}

impl Pruning {
    /// Without reports. The settings are taken as valid ([`PruningSettings::validate`]); `direction` and `lag` are those
    /// of the [`Plan`](crate::Plan).
    pub fn new(settings: &PruningSettings, direction: Direction, lag: u64) -> Self {
        let rule = match settings {
            PruningSettings::None => Rule::None,
            PruningSettings::Median(pruner) => Rule::Median(median::Median::new(pruner.clone(), lag)),
            PruningSettings::Halving(pruner) => Rule::Halving(halving::Halving::new(pruner)),
        };
        Self { rule, direction, lag }
    }

    /// Whether anything can be pruned. Otherwise there is no need to record, nor to read the reports of a run that is
    /// resumed.
    pub fn is_active(&self) -> bool {
        match self.rule {
            Rule::None => false,
            Rule::Median(_) | Rule::Halving(_) => true,
        }
    }

    /// Takes the value of the objective that a trial has reported at a step. A second value for the same trial and
    /// step is ignored, and so is a trial no run can have.
    pub fn record(&mut self, trial: u64, step: i64, value: f64) {
        if trial >= MAX_TRIALS {
            return;
        }
        let fitness = self.direction.fitness(value);
        match &mut self.rule {
            Rule::None => {}
            Rule::Median(median) => median.record(trial, step, fitness),
            Rule::Halving(halving) => halving.record(trial, step, fitness),
        }
    }

    /// Whether the trial is to go on after its report at this step, which is recorded; at a step without recorded
    /// report it is.
    pub fn verdict(&self, trial: u64, step: i64) -> Verdict {
        // The trials below this number are over, as the driver has it.
        let visible = trial.saturating_add(1).saturating_sub(self.lag).min(trial);
        let is_worse = match &self.rule {
            Rule::None => false,
            Rule::Median(median) => median.is_worse(trial, step, visible),
            Rule::Halving(halving) => halving.is_worse(trial, step, visible),
        };
        if is_worse { Verdict::Prune } else { Verdict::GoOn }
    }
}
