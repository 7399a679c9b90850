//! What one proposal costs after many results: `cargo run --release -p search --example ask_cost`.
//!
//! A program rather than a test, because a clock in a test fails on a busy machine and proves nothing on an idle one.
#![allow(clippy::print_stdout, reason = "printing the measurement is its purpose")]

use std::time::{Duration, Instant};

use search::{Direction, Evaluation, Plan, STRATEGIES, Search, SearchSpace, Settings};
use serde_json::Value;

const TRIALS: u64 = 20_000;
const WARM: u64 = 10_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{:<8} {:>11} {:>12} {:>12}", "strategy", "population", "p50", "p99");
    for strategy in STRATEGIES {
        for population_size in [20, 1_000] {
            let mut costs = measure(strategy, population_size)?;
            costs.sort();
            let (p50, p99) = (costs[costs.len() / 2], costs[costs.len() * 99 / 100]);
            println!("{strategy:<8} {population_size:>11} {p50:>12.1?} {p99:>12.1?}");
        }
    }
    Ok(())
}

/// The cost of recording one result and proposing the next trial, each time after [`WARM`] recorded trials.
fn measure(strategy: &str, population_size: u32) -> Result<Vec<Duration>, Box<dyn std::error::Error>> {
    let mut search = Search::new(Plan {
        space: SearchSpace::parse(&Value::Null, "mlp")?,
        strategy: strategy.to_owned(),
        settings: Settings { population_size, ..Settings::new(1, Direction::Maximize) },
        max_trials: TRIALS,
        lag: 1,
    })?;
    let mut costs = Vec::new();
    let mut proposal = search.propose();
    while let Some(trial) = proposal {
        let objective = f64::from(trial.seed) / f64::from(u32::MAX);
        let evaluation = Evaluation::succeeded(objective, trial.candidate.parameters);
        let start = Instant::now();
        let _ = search.record(trial.number, evaluation)?;
        proposal = search.propose();
        if trial.number >= WARM {
            costs.push(start.elapsed());
        }
    }
    Ok(costs)
}
