//! Random search: every candidate drawn independently. The measure every other strategy has to beat.

use crate::candidate::Candidate;
use crate::genome::Genome;
use crate::seed::candidate_rng;
use crate::space::SearchSpace;
use crate::strategy::{Evaluation, Strategy};

pub(super) struct Random {
    space: SearchSpace,
    seed: u64,
}

impl Random {
    pub(super) fn new(space: SearchSpace, seed: u64) -> Self {
        Self { space, seed }
    }
}

impl Strategy for Random {
    fn ask(&mut self, number: u64) -> Candidate {
        let genome = Genome::random(&self.space, &mut candidate_rng(self.seed, number));
        Candidate::new(genome.parameters(&self.space), Vec::new())
    }

    fn tell(&mut self, _number: u64, _evaluation: &Evaluation) {
        // Nothing is learned: that is what makes it the baseline.
    }
}
