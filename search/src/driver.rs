//! The driver: numbers the trials, decides when the next one may be proposed, and keeps the best.
//!
//! The rule that makes a search repeatable under parallel trials: trial `n` is proposed only when the results of all
//! trials up to `n - lag` are recorded, and the strategy has then been told exactly those, by number. With `lag`
//! equal to the parallelism of the run, `lag` trials can always be in flight.
//!
//! A resumed run records what its events say, in any order and before anything is proposed; the driver then walks
//! the strategy through those numbers as if it had proposed them, and proposes only what is missing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::candidate::Candidate;
use crate::history::{Generation, History};
use crate::objective::Direction;
use crate::plan::{Plan, PlanError};
use crate::seed::trial_seed;
use crate::settings::validate_budget;
use crate::strategy::{Evaluation, Status, Strategy, build_strategy};

/// A trial to be trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// Counted from 0, without gaps.
    pub number: u64,
    /// What to train.
    pub candidate: Candidate,
    /// The trainer's seed for this trial.
    pub seed: u32,
}

/// The best trial so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Best {
    /// Its number; of equally good trials, the lowest.
    pub number: u64,
    /// What it achieved.
    pub objective: f64,
    /// What was trained.
    pub parameters: Map<String, Value>,
}

/// What became of a recorded result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Recorded {
    /// It counts.
    New,
    /// The trial had a result already; this one was ignored.
    Duplicate,
}

/// A result for a trial that is not part of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("trial {number}: expected a number below max_trials, {max_trials}")]
pub struct UnknownTrial {
    /// The number of the result.
    pub number: u64,
    /// The plan's limit.
    pub max_trials: u64,
}

/// How many trials are where. `recorded` is the sum of the five endings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Proposed and not yet recorded.
    pub in_flight: u64,
    /// Ended, in whatever way.
    pub recorded: u64,
    /// Ended as succeeded.
    pub succeeded: u64,
    /// Ended as failed.
    pub failed: u64,
    /// Ended as skipped.
    pub skipped: u64,
    /// Ended as cancelled.
    pub cancelled: u64,
    /// Ended as pruned.
    pub pruned: u64,
}

/// One run's search.
pub struct Search {
    strategy: Box<dyn Strategy>,
    seed: u64,
    direction: Direction,
    max_trials: u64,
    lag: u64,
    /// The next number to ask the strategy for.
    next: u64,
    /// The strategy was told the results of all trials below this number.
    told: u64,
    /// Results from `told` on.
    untold: BTreeMap<u64, Evaluation>,
    /// Proposed and not recorded.
    in_flight: BTreeSet<u64>,
    counts: Counts,
    best: Option<Best>,
    /// Folded up to `told`.
    history: History,
}

impl Search {
    /// Starts a search; resuming is recording the known results before the first proposal.
    ///
    /// # Errors
    /// A setting, `max_trials` or `lag` outside its limits, or an unknown strategy.
    pub fn new(plan: Plan) -> Result<Self, PlanError> {
        plan.settings.validate()?;
        validate_budget(plan.max_trials, plan.lag)?;
        let strategy = build_strategy(&plan.strategy, plan.space, &plan.settings)?;
        Ok(Self {
            strategy,
            seed: plan.settings.seed,
            direction: plan.settings.direction,
            max_trials: plan.max_trials,
            lag: plan.lag,
            next: 0,
            told: 0,
            untold: BTreeMap::new(),
            in_flight: BTreeSet::new(),
            counts: Counts::default(),
            best: None,
            history: History::new(plan.settings.direction, plan.settings.population_size),
        })
    }

    /// The next trial to train, or nothing until another result is recorded (or for ever, once
    /// [`is_exhausted`](Self::is_exhausted)).
    pub fn propose(&mut self) -> Option<Proposal> {
        while self.next < self.max_trials {
            self.tell_up_to(self.next)?;
            let number = self.next;
            self.next += 1;
            let candidate = self.strategy.ask(number);
            if !self.is_recorded(number) {
                self.in_flight.insert(number);
                return Some(Proposal { number, candidate, seed: trial_seed(self.seed, number) });
            }
        }
        None
    }

    /// Records the result of a trial, in any order, proposed by this search or by an earlier one of the same plan.
    ///
    /// # Errors
    /// The number is not below `max_trials`.
    pub fn record(&mut self, number: u64, evaluation: Evaluation) -> Result<Recorded, UnknownTrial> {
        if number >= self.max_trials {
            return Err(UnknownTrial { number, max_trials: self.max_trials });
        }
        if self.is_recorded(number) {
            return Ok(Recorded::Duplicate);
        }
        self.in_flight.remove(&number);
        self.counts.count(evaluation.status);
        self.consider(number, &evaluation);
        self.untold.insert(number, evaluation);
        Ok(Recorded::New)
    }

    /// The best trial recorded so far.
    pub fn best(&self) -> Option<&Best> {
        self.best.as_ref()
    }

    /// Whether the trial has a result.
    pub fn is_recorded(&self, number: u64) -> bool {
        number < self.told || self.untold.contains_key(&number)
    }

    /// Whether every trial was proposed or recorded: nothing will ever be proposed again.
    pub fn is_exhausted(&self) -> bool {
        self.counts.recorded + self.in_flight.len() as u64 == self.max_trials
    }

    /// Whether every trial has a result.
    pub fn is_finished(&self) -> bool {
        self.counts.recorded == self.max_trials
    }

    /// The numbers that were proposed and have no result yet, ascending; at most `lag` of them.
    pub fn in_flight(&self) -> impl Iterator<Item = u64> {
        self.in_flight.iter().copied()
    }

    /// How many trials are where.
    pub fn counts(&self) -> Counts {
        Counts { in_flight: self.in_flight.len() as u64, ..self.counts }
    }

    /// The course of the search so far, one entry per `population_size` consecutive trial numbers.
    pub fn history(&self) -> Vec<Generation> {
        let mut history = self.history.clone();
        for (number, evaluation) in &self.untold {
            history.fold(*number, evaluation);
        }
        history.into_generations()
    }

    /// Tells the strategy what it may know when it is asked for `number`; nothing if that is not all recorded.
    fn tell_up_to(&mut self, number: u64) -> Option<()> {
        let visible = (number + 1).saturating_sub(self.lag);
        while self.told < visible {
            let evaluation = self.untold.remove(&self.told)?;
            self.strategy.tell(self.told, &evaluation);
            self.history.fold(self.told, &evaluation);
            self.told += 1;
        }
        Some(())
    }

    fn consider(&mut self, number: u64, evaluation: &Evaluation) {
        let Some(objective) = evaluation.usable_objective() else { return };
        let wins = self.best.as_ref().is_none_or(|best| {
            let ties = objective == best.objective && number < best.number;
            ties || self.direction.is_better(objective, best.objective)
        });
        if wins {
            self.best = Some(Best { number, objective, parameters: evaluation.parameters.clone() });
        }
    }
}

impl Counts {
    fn count(&mut self, status: Status) {
        self.recorded += 1;
        match status {
            Status::Succeeded => self.succeeded += 1,
            Status::Failed => self.failed += 1,
            Status::Skipped => self.skipped += 1,
            Status::Cancelled => self.cancelled += 1,
            Status::Pruned => self.pruned += 1,
        }
    }
}
