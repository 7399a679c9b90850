use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;

fn population(capacity: u32, elites: u32, fitness: &[f64]) -> Population {
    let mut population = Population::new(capacity, elites);
    for (number, fitness) in fitness.iter().enumerate() {
        population.insert(number as u64, *fitness, Genome { layers: Vec::new(), genes: Vec::new() });
    }
    population
}

fn numbers(population: &Population) -> Vec<u64> {
    population.ranked.iter().map(|member| member.number).collect()
}

fn wins(population: &Population, tau: f64, number: u64) -> usize {
    let rng = &mut ChaCha8Rng::seed_from_u64(5);
    (0..1_000).filter(|_| population.tournament(tau, None, rng).unwrap().number == number).count()
}

#[test]
fn elites_stay_and_the_rest_age() {
    let population = population(4, 2, &[9.0, 8.0, 1.0, 2.0, 3.0, 0.0]);
    assert_eq!(numbers(&population), [0, 1, 4, 5]);
}

#[test]
fn a_population_of_elites_is_the_best() {
    assert_eq!(numbers(&population(3, 3, &[5.0, 1.0, 9.0, 7.0, 0.0])), [2, 3, 0]);
}

#[test]
fn a_population_without_elites_is_the_most_recent() {
    assert_eq!(numbers(&population(2, 0, &[9.0, 8.0, 1.0, 2.0])), [3, 2]);
}

#[test]
fn of_equals_the_earlier_ranks_first() {
    assert_eq!(numbers(&population(3, 1, &[1.0, 1.0, 1.0])), [0, 1, 2]);
}

#[test]
fn temperature_decides_how_often_the_best_wins() {
    let population = population(3, 0, &[1.0, 2.0, 3.0]);
    assert_eq!(wins(&population, 1e-300, 2), 1_000);
    assert!((740..860).contains(&wins(&population, 1.0, 2)));
    assert!((270..400).contains(&wins(&population, 1e9, 2)));
}

#[test]
fn neither_the_unit_nor_a_diverged_trial_changes_who_wins() {
    assert_eq!(
        wins(&population(3, 0, &[1.0, 2.0, 3.0]), 1.0, 2),
        wins(&population(3, 0, &[1e6, 2e6, 3e6]), 1.0, 2)
    );
    let diverged = population(3, 0, &[-f64::MAX, 2.0, f64::MAX]);
    assert!((740..860).contains(&wins(&diverged, 1.0, 2)));
}

#[test]
fn the_excepted_trial_never_enters() {
    let population = population(5, 0, &[1.0, 2.0, 3.0, 4.0, 5.0]);
    let rng = &mut ChaCha8Rng::seed_from_u64(5);
    assert!((0..1_000).all(|_| population.tournament(1.0, Some(4), rng).unwrap().number != 4));
}

#[test]
fn a_tournament_needs_somebody_to_enter() {
    let rng = &mut ChaCha8Rng::seed_from_u64(5);
    assert!(population(3, 0, &[]).tournament(1.0, None, rng).is_none());
    assert!(population(3, 0, &[1.0]).tournament(1.0, Some(0), rng).is_none());
}
