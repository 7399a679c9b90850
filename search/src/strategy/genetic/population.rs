//! The possible parents: the elites, and the most recent of the rest.
//!
//! Ageing keeps a search from circling round one lucky early result; the elites keep it from forgetting a good one.
//! With `elite_size` equal to the population size nothing ages and the population is simply the best.

use std::cmp::Ordering;

use rand::{Rng, RngExt};

use crate::genome::Genome;

/// Entrants of one tournament.
const ENTRANTS: usize = 3;

/// Selection pressure at temperature 1: the best of three evenly spaced entrants wins about 4 times in 5.
const PRESSURE: f64 = 3.0;

pub(super) struct Member {
    pub(super) number: u64,
    /// Larger is better; finite.
    fitness: f64,
    pub(super) genome: Genome,
}

pub(super) struct Population {
    capacity: usize,
    elites: usize,
    /// Best first; of equals, the earlier trial first.
    ranked: Vec<Member>,
}

impl Population {
    pub(super) fn new(capacity: u32, elites: u32) -> Self {
        Self { capacity: capacity as usize, elites: elites as usize, ranked: Vec::new() }
    }

    pub(super) fn insert(&mut self, number: u64, fitness: f64, genome: Genome) {
        let member = Member { number, fitness, genome };
        let at = self.ranked.partition_point(|other| other.outranks(&member));
        self.ranked.insert(at, member);
        if self.ranked.len() > self.capacity {
            self.evict();
        }
    }

    /// The winner of a tournament, or nothing when there is no one to enter. `except` keeps a trial from being
    /// both parents of a child.
    pub(super) fn tournament(&self, tau: f64, except: Option<u64>, rng: &mut impl Rng) -> Option<&Member> {
        let skipped = except.and_then(|number| self.ranked.iter().position(|member| member.number == number));
        let eligible = self.ranked.len() - usize::from(skipped.is_some());
        let mut entrants: Vec<&Member> = distinct_indices(eligible, ENTRANTS, rng)
            .into_iter()
            .map(|index| index + usize::from(skipped.is_some_and(|skipped| index >= skipped)))
            .map(|index| &self.ranked[index])
            .collect();
        entrants.sort_by(|a, b| a.rank(b));
        let (best, worst) = (entrants.first()?.fitness, entrants.last()?.fitness);
        let weights: Vec<f64> =
            entrants.iter().map(|member| softmax_weight(member.fitness, best, worst, tau)).collect();
        Some(entrants[weighted_index(&weights, rng)])
    }

    /// Removes the oldest member that is not an elite.
    fn evict(&mut self) {
        let ageing = self.ranked.iter().enumerate().skip(self.elites);
        if let Some((index, _)) = ageing.min_by_key(|(_, member)| member.number) {
            self.ranked.remove(index);
        }
    }
}

impl Member {
    fn outranks(&self, other: &Self) -> bool {
        self.rank(other) == Ordering::Less
    }

    fn rank(&self, other: &Self) -> Ordering {
        other.fitness.total_cmp(&self.fitness).then(self.number.cmp(&other.number))
    }
}

/// The weight of an entrant, 1 for the best. Fitness is measured in spreads of this tournament, so that neither the
/// unit of the objective nor one diverged trial changes the pressure; halves keep the spread of huge values finite.
fn softmax_weight(fitness: f64, best: f64, worst: f64, tau: f64) -> f64 {
    let spread = best / 2.0 - worst / 2.0;
    let behind = if spread > 0.0 { (best / 2.0 - fitness / 2.0) / spread } else { 0.0 };
    (-PRESSURE * behind / tau).exp()
}

fn weighted_index(weights: &[f64], rng: &mut impl Rng) -> usize {
    let mut left = rng.random::<f64>() * weights.iter().sum::<f64>();
    for (index, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return index;
        }
    }
    // Only rounding leads here; the first entrant is the best.
    0
}

/// Up to `wanted` different numbers below `below` (Floyd's way: no draw is wasted).
fn distinct_indices(below: usize, wanted: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut chosen = Vec::with_capacity(wanted);
    for last in below.saturating_sub(wanted)..below {
        let drawn = rng.random_range(0..=last);
        chosen.push(if chosen.contains(&drawn) { last } else { drawn });
    }
    chosen
}

#[cfg(test)]
mod tests;
