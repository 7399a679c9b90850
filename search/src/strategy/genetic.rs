//! The genetic search: steady state, over whatever results are visible.
//!
//! There is no generation barrier: each candidate is bred the moment it is asked for, from the population of that
//! moment, so parallel slots never wait for the slowest trial of a generation. The first `population_size`
//! candidates are drawn at random, and so is any that is asked for before a result is visible.
//!
//! Invariants: a parent is a succeeded trial with a finite objective and parameters inside the space; breeding never
//! changes a parent; a candidate that was proposed before is mutated further, a bounded number of times.

mod breeding;
mod population;

use std::collections::{BTreeSet, VecDeque};

use rand::{Rng, RngExt};

use crate::candidate::Candidate;
use crate::genome::Genome;
use crate::seed::candidate_rng;
use crate::settings::Settings;
use crate::space::SearchSpace;
use crate::strategy::{Evaluation, Strategy};
use breeding::{crossover, mutate, mutate_once};
use population::Population;

/// How often a repeated candidate is mutated further before it is proposed again after all: a small space is
/// exhausted long before a large budget.
const MAX_REMUTATIONS: usize = 16;

/// How many proposals are remembered; more than any search profits from, and a bound on memory.
const MAX_REMEMBERED: usize = 1 << 14;

pub(super) struct Genetic {
    space: SearchSpace,
    settings: Settings,
    population: Population,
    proposed: Proposed,
}

impl Genetic {
    pub(super) fn new(space: SearchSpace, settings: Settings) -> Self {
        let population = Population::new(settings.population_size, settings.elite_size);
        Self { space, settings, population, proposed: Proposed::default() }
    }

    fn breed(&self, rng: &mut impl Rng) -> (Genome, Vec<u64>) {
        let tau = self.settings.tau;
        let Some(first) = self.population.tournament(tau, None, rng) else {
            return (Genome::random(&self.space, rng), Vec::new());
        };
        let crosses = rng.random_bool(self.settings.crossover_rate);
        let second = crosses.then(|| self.population.tournament(tau, Some(first.number), rng)).flatten();
        let (child, parents) = match second {
            Some(second) => {
                (crossover(&first.genome, &second.genome, rng), vec![first.number, second.number])
            }
            None => (first.genome.clone(), vec![first.number]),
        };
        (mutate(&self.space, &child, self.settings.mutation_rate, rng), parents)
    }
}

impl Strategy for Genetic {
    fn ask(&mut self, number: u64) -> Candidate {
        let rng = &mut candidate_rng(self.settings.seed, number);
        let (mut genome, parents) = if number < u64::from(self.settings.population_size) {
            (Genome::random(&self.space, rng), Vec::new())
        } else {
            self.breed(rng)
        };
        let mut candidate = Candidate::new(genome.parameters(&self.space), parents);
        for _ in 0..MAX_REMUTATIONS {
            if !self.proposed.contains(&candidate.id) {
                break;
            }
            genome = mutate_once(&self.space, &genome, rng);
            candidate = Candidate::new(genome.parameters(&self.space), candidate.parents);
        }
        self.proposed.remember(&candidate.id);
        candidate
    }

    fn tell(&mut self, number: u64, evaluation: &Evaluation) {
        let Some(objective) = evaluation.usable_objective() else { return };
        // A trial reported from elsewhere may lie outside the space: it counts for the best, but breeding from it
        // would lead out of the space.
        let Some(genome) = Genome::from_parameters(&self.space, &evaluation.parameters) else { return };
        self.population.insert(number, self.settings.direction.fitness(objective), genome);
    }
}

/// The ids of the most recent proposals.
#[derive(Default)]
struct Proposed {
    ids: BTreeSet<String>,
    oldest_first: VecDeque<String>,
}

impl Proposed {
    fn contains(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    fn remember(&mut self, id: &str) {
        if !self.ids.insert(id.to_owned()) {
            return;
        }
        self.oldest_first.push_back(id.to_owned());
        if self.oldest_first.len() > MAX_REMEMBERED
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}
