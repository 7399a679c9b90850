//! How children are made: crossover and mutation. Parents come in by reference and leave as they came.

use rand::{Rng, RngExt};

use crate::genome::Genome;
use crate::space::{LayerSpace, SearchSpace};

/// A child of two: its layers are the first of one parent and, from a single point on, the rest of the other; every
/// other gene comes from either.
pub(super) fn crossover(first: &Genome, second: &Genome, rng: &mut impl Rng) -> Genome {
    // The child is as deep as the second parent, so its depth is an allowed one.
    let point = rng.random_range(0..=first.layers.len().min(second.layers.len()));
    let layers = first.layers[..point].iter().chain(&second.layers[point..]).cloned().collect();
    let pairs = first.genes.iter().zip(&second.genes);
    let genes = pairs.map(|(a, b)| if rng.random_bool(0.5) { a.clone() } else { b.clone() }).collect();
    Genome { layers, genes }
}

/// A copy in which every aspect changed with probability `rate`: each layer's size, each parameter, and the
/// structure itself, which may grow or shrink by one allowed depth.
pub(super) fn mutate(space: &SearchSpace, parent: &Genome, rate: f64, rng: &mut impl Rng) -> Genome {
    let mut child = parent.clone();
    for aspect in aspects(space, parent) {
        if rng.random_bool(rate) {
            change(space, &mut child, aspect, rng);
        }
    }
    child
}

/// A copy in which exactly one aspect changed, or none when the space holds a single candidate.
pub(super) fn mutate_once(space: &SearchSpace, parent: &Genome, rng: &mut impl Rng) -> Genome {
    let mut child = parent.clone();
    let aspects = aspects(space, parent);
    if !aspects.is_empty() {
        change(space, &mut child, aspects[rng.random_range(0..aspects.len())], rng);
    }
    child
}

/// Something about a genome that can change.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Aspect {
    Size(usize),
    Grow,
    Shrink,
    Gene(usize),
}

/// What can change about `genome`. Sizes come first: their positions hold only until the structure changes.
fn aspects(space: &SearchSpace, genome: &Genome) -> Vec<Aspect> {
    let mut aspects = Vec::new();
    if let Some(layers) = space.layers() {
        let depth = genome.layers.len();
        if !layers.sizes.is_fixed() {
            aspects.extend((0..depth).map(Aspect::Size));
        }
        aspects.extend(layers.deeper_than(depth).map(|_| Aspect::Grow));
        aspects.extend(layers.shallower_than(depth).map(|_| Aspect::Shrink));
    }
    let genes = space.parameters().iter().enumerate();
    aspects.extend(genes.filter(|(_, (_, domain))| !domain.is_fixed()).map(|(index, _)| Aspect::Gene(index)));
    aspects
}

fn change(space: &SearchSpace, child: &mut Genome, aspect: Aspect, rng: &mut impl Rng) {
    match (aspect, space.layers()) {
        (Aspect::Gene(index), _) => {
            child.genes[index] = space.parameters()[index].1.mutate(&child.genes[index], rng);
        }
        (Aspect::Size(index), Some(layers)) => {
            child.layers[index] = layers.sizes.mutate(&child.layers[index], rng);
        }
        (Aspect::Grow, Some(layers)) => grow(layers, child, rng),
        (Aspect::Shrink, Some(layers)) => shrink(layers, child, rng),
        // A space without layers has no such aspects.
        (Aspect::Size(_) | Aspect::Grow | Aspect::Shrink, None) => {}
    }
}

/// Adds layers anywhere, up to the next allowed depth.
fn grow(layers: &LayerSpace, child: &mut Genome, rng: &mut impl Rng) {
    let depth = layers.deeper_than(child.layers.len()).unwrap_or(child.layers.len());
    while child.layers.len() < depth {
        let at = rng.random_range(0..=child.layers.len());
        child.layers.insert(at, layers.sizes.random(rng));
    }
}

/// Removes layers anywhere, down to the next allowed depth.
fn shrink(layers: &LayerSpace, child: &mut Genome, rng: &mut impl Rng) {
    let depth = layers.shallower_than(child.layers.len()).unwrap_or(child.layers.len());
    while child.layers.len() > depth {
        let at = rng.random_range(0..child.layers.len());
        child.layers.remove(at);
    }
}

#[cfg(test)]
mod tests;
