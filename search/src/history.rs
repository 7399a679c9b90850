//! The course of a search, summed up per generation.
//!
//! Nothing waits for a generation to end; a generation is only a unit of telling: `population_size` consecutive
//! trial numbers. Results are folded in by number, so that the sums are the same to the last bit on every run.

use serde::Serialize;

use crate::objective::Direction;
use crate::strategy::Evaluation;

/// What one generation achieved.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Generation {
    /// Counted from 0; holds the trials from `generation * population_size` on.
    pub generation: u64,
    /// The best objective so far, this generation included; `None` while nothing succeeded.
    pub best: Option<f64>,
    /// Mean objective of its succeeded trials; `None` without any.
    pub mean: Option<f64>,
    /// Population standard deviation of the same.
    pub std: Option<f64>,
    /// How many of its trials succeeded with a usable objective.
    pub size: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct History {
    direction: Direction,
    population_size: u64,
    best: Option<f64>,
    closed: Vec<Generation>,
    open: Sums,
}

/// Welford's running mean and variance of the generation that is being folded.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    seen: bool,
    size: u64,
    mean: f64,
    squares: f64,
}

impl History {
    pub(crate) fn new(direction: Direction, population_size: u32) -> Self {
        let population_size = population_size.max(1).into();
        Self { direction, population_size, best: None, closed: Vec::new(), open: Sums::default() }
    }

    /// Folds in the next result; numbers must ascend.
    pub(crate) fn fold(&mut self, number: u64, evaluation: &Evaluation) {
        while number / self.population_size > self.closed.len() as u64 {
            self.close();
        }
        self.open.seen = true;
        if let Some(objective) = evaluation.usable_objective() {
            self.open.add(objective);
            if self.best.is_none_or(|best| self.direction.is_better(objective, best)) {
                self.best = Some(objective);
            }
        }
    }

    /// The generations so far, the unfinished one included.
    pub(crate) fn into_generations(mut self) -> Vec<Generation> {
        if self.open.seen {
            self.close();
        }
        self.closed
    }

    fn close(&mut self) {
        let sums = std::mem::take(&mut self.open);
        // Objectives near the largest double overflow their sums; what is not a number is then left out.
        let number = |x: f64| Some(x).filter(|x| sums.size > 0 && x.is_finite());
        self.closed.push(Generation {
            generation: self.closed.len() as u64,
            best: self.best,
            mean: number(sums.mean),
            std: number((sums.squares / sums.size as f64).max(0.0).sqrt()),
            size: sums.size,
        });
    }
}

impl Sums {
    fn add(&mut self, objective: f64) {
        self.size += 1;
        let delta = objective - self.mean;
        self.mean += delta / self.size as f64;
        self.squares += delta * (objective - self.mean);
    }
}
