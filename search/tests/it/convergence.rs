//! The genetic search earns its keep: on smooth problems it beats random search at equal budget.

use search::{Direction, Evaluation, Plan, Proposal, SearchSpace, Settings};
use serde_json::{Map, Value};

use crate::simulation::{Weather, run};

const SEEDS: u64 = 40;
const TRIALS: u64 = 120;

/// Best for two layers of 96, tanh, a learning rate of 0.003 and a weight decay of 0.0001; falls off smoothly.
fn distance_from_the_optimum(parameters: &Map<String, Value>) -> f64 {
    let number = |name: &str| parameters[name].as_f64().unwrap();
    let layers = parameters["layers"].as_array().unwrap();
    let width: f64 = layers.iter().map(|size| (size.as_f64().unwrap() / 96.0).log2().powi(2)).sum();
    (layers.len() as f64 - 2.0).powi(2)
        + width / layers.len() as f64
        + 2.0 * (number("learning_rate") / 0.003).log10().powi(2)
        + 0.5 * (number("alpha") / 1e-4).log10().powi(2)
        + if parameters["activation"] == "tanh" { 0.0 } else { 1.0 }
}

fn best(strategy: &str, seed: u64, direction: Direction, slots: usize) -> f64 {
    let plan = Plan {
        space: SearchSpace::parse(&Value::Null, "mlp").unwrap(),
        strategy: strategy.to_owned(),
        settings: Settings::new(seed, direction),
        max_trials: TRIALS,
        lag: slots as u64,
    };
    let sign = if direction == Direction::Minimize { 1.0 } else { -1.0 };
    let evaluate = |proposal: &Proposal| {
        let parameters = proposal.candidate.parameters.clone();
        Evaluation::succeeded(sign * distance_from_the_optimum(&parameters), parameters)
    };
    let outcome = run(&plan, &Weather { slots, order: seed, crash_after: None }, evaluate);
    sign * outcome.search.best().unwrap().objective
}

fn wins(direction: Direction, slots: usize) -> usize {
    let wins = |seed: &u64| best("ga", *seed, direction, slots) < best("random", *seed, direction, slots);
    (0..SEEDS).filter(wins).count()
}

#[test]
fn the_genetic_search_beats_random_on_most_seeds() {
    let wins = wins(Direction::Minimize, 1);
    assert!(wins >= 34, "won {wins} of {SEEDS}");
}

#[test]
fn it_does_so_with_parallel_trials_and_in_the_other_direction_too() {
    let wins = wins(Direction::Maximize, 8);
    assert!(wins >= 32, "won {wins} of {SEEDS}");
}
