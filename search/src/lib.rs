//! The search itself: which candidate to train next, given what is known.
//!
//! A [`SearchSpace`] says what may be tried, a [`Strategy`] picks from it, and [`Search`] drives the two: it hands
//! out [`Proposal`]s, takes [`Evaluation`]s in whatever order they arrive, and keeps the best. [`Pruning`] says which
//! trials are not worth going on with, by what they report on their way.
//!
//! Invariants
//! - Candidates are a function of the plan and the results alone. Which trial finished first, how many slots were
//!   in use, and whether the machine stopped in between make no difference: the result of trial `n` becomes visible
//!   to the strategy in the order of trial numbers, and trial `n` is proposed only when everything up to `n - lag`
//!   is known.
//! - Every proposed candidate lies inside the space; exactly `max_trials` of them are ever proposed.
//! - The best so far never gets worse, and every succeeded trial with a finite objective counts for it.
//! - Memory is bounded: the population, a window of remembered proposals, the results not yet told to the strategy,
//!   and one summary per generation. Parameters of a trial are dropped once the strategy has learned from it.
//!
//! What it deliberately does not do: read a clock, touch a file, spawn anything, or know what an event is. Time
//! limits, failure limits and retries belong to the worker that owns the clock. All randomness is seeded.
//!
//! ```
//! use search::{Direction, Evaluation, Plan, Search, SearchSpace, Settings};
//!
//! let space = serde_json::json!({"layers": [64, 128], "activation": ["relu", "tanh"]});
//! let mut search = Search::new(Plan {
//!     space: SearchSpace::parse(&space, "mlp")?,
//!     strategy: "ga".to_owned(),
//!     settings: Settings { population_size: 4, ..Settings::new(42, Direction::Maximize) },
//!     max_trials: 12,
//!     lag: 2,
//! })?;
//! while let Some(trial) = search.propose() {
//!     let depth = trial.candidate.parameters["layers"].as_array().map_or(0, Vec::len);
//!     let result = Evaluation::succeeded(1.0 / depth as f64, trial.candidate.parameters);
//!     let _ = search.record(trial.number, result)?;
//! }
//! assert_eq!(search.best().map(|best| best.objective), Some(1.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod candidate;
mod driver;
mod genome;
mod history;
mod nearest;
mod objective;
mod plan;
mod pruning;
mod seed;
mod settings;
mod space;
mod strategy;

pub use candidate::{Candidate, candidate_id};
pub use driver::{Best, Counts, Proposal, Recorded, Search, UnknownTrial};
pub use history::Generation;
pub use objective::{Direction, direction_of};
pub use plan::{Plan, PlanError};
pub use pruning::{
    HalvingPruner, MAX_PEERS, MAX_STEPS, MedianPruner, PRUNERS, Pruning, PruningSettings, Verdict,
};
pub use seed::{seed_from_run_id, trial_seed};
pub use settings::{MAX_TRIALS, SettingError, Settings};
pub use space::{SearchSpace, SpaceError, TRAINERS};
pub use strategy::{Evaluation, STRATEGIES, Status, Strategy, UnknownStrategy, build_strategy};
