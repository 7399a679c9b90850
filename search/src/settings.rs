//! The knobs of a search, their defaults and their limits.

use serde_json::Value;

use crate::objective::Direction;
use crate::pruning::PruningSettings;
use crate::space::describe;

/// The largest number of trials a run may ask for; results are kept in memory, so there must be one.
pub const MAX_TRIALS: u64 = 1_000_000;

/// The largest population: a strategy walks through it once per result.
const MAX_POPULATION: u32 = 10_000;

const DEFAULT_POPULATION: u32 = 20;
const DEFAULT_MUTATION_RATE: f64 = 0.1;
const DEFAULT_CROSSOVER_RATE: f64 = 0.7;
const DEFAULT_ELITES: u32 = 2;
const DEFAULT_TAU: f64 = 1.0;

/// How a search behaves inside its space.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// All randomness derives from it.
    pub seed: u64,
    /// Which way the objective improves.
    pub direction: Direction,
    /// How many succeeded trials are kept as possible parents; also how many candidates are drawn at random before
    /// breeding starts (so a budget not well above it is random search), and the size of a generation in the history.
    pub population_size: u32,
    /// Probability with which each gene of a child changes.
    pub mutation_rate: f64,
    /// Probability with which a child has two parents.
    pub crossover_rate: f64,
    /// How many of the best stay possible parents for ever, however old they are.
    pub elite_size: u32,
    /// Selection temperature: towards 0 the best entrant of a tournament always wins, a large one ignores fitness.
    pub tau: f64,
    /// Which trials are stopped early.
    pub pruning: PruningSettings,
}

/// A setting outside its limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: expected {expected}, found {found}")]
pub struct SettingError {
    /// Where in the request, for example `parameters.mutation_rate`.
    pub path: String,
    /// What would be right.
    pub expected: String,
    /// What was there.
    pub found: String,
    /// What to do about it, in one line.
    pub help: String,
}

impl Settings {
    /// The defaults.
    pub fn new(seed: u64, direction: Direction) -> Self {
        Self {
            seed,
            direction,
            population_size: DEFAULT_POPULATION,
            mutation_rate: DEFAULT_MUTATION_RATE,
            crossover_rate: DEFAULT_CROSSOVER_RATE,
            elite_size: DEFAULT_ELITES,
            tau: DEFAULT_TAU,
            pruning: PruningSettings::None,
        }
    }

    /// The settings a request asks for; what it leaves out keeps its default.
    ///
    /// `parameters` is the request's free-form object: `mutation_rate`, `crossover_rate`, `elite_size` and
    /// `pruner` ([`PruningSettings::from_request`]) are read, other keys are not ours to judge. An absent `elite_size` shrinks with a small population instead of making
    /// it invalid. The result is validated.
    pub fn from_request(
        seed: u64,
        direction: Direction,
        population_size: Option<i64>,
        parameters: &Value,
        tau: Option<f64>,
    ) -> Result<Self, SettingError> {
        if !parameters.is_null() && !parameters.is_object() {
            return Err(error("parameters", "an object", describe(parameters), r#"{"mutation_rate": 0.1}"#));
        }
        let get = |name: &str| parameters.get(name).filter(|value| !value.is_null());
        let mut settings = Self::new(seed, direction);
        if let Some(size) = population_size {
            settings.population_size = u32::try_from(size).map_err(|_| population_error(size))?;
        }
        if let Some(rate) = get("mutation_rate") {
            settings.mutation_rate =
                rate.as_f64().ok_or_else(|| rate_error("mutation_rate", describe(rate)))?;
        }
        if let Some(rate) = get("crossover_rate") {
            settings.crossover_rate =
                rate.as_f64().ok_or_else(|| rate_error("crossover_rate", describe(rate)))?;
        }
        settings.elite_size = match get("elite_size") {
            None => DEFAULT_ELITES.min(settings.population_size),
            Some(size) => size
                .as_u64()
                .and_then(|size| u32::try_from(size).ok())
                .ok_or_else(|| elite_error(settings.population_size, describe(size)))?,
        };
        if let Some(tau) = tau {
            settings.tau = tau;
        }
        settings.pruning = PruningSettings::from_request(parameters)?;
        settings.validate()?;
        Ok(settings)
    }

    /// Checks every limit.
    pub fn validate(&self) -> Result<(), SettingError> {
        if !(1..=MAX_POPULATION).contains(&self.population_size) {
            return Err(population_error(self.population_size.into()));
        }
        for (name, rate) in [("mutation_rate", self.mutation_rate), ("crossover_rate", self.crossover_rate)] {
            if !(0.0..=1.0).contains(&rate) {
                return Err(rate_error(name, rate.to_string()));
            }
        }
        if self.elite_size > self.population_size {
            return Err(elite_error(self.population_size, self.elite_size.to_string()));
        }
        if !(self.tau.is_finite() && self.tau > 0.0) {
            let help = "1.0 is the default; towards 0 only the best are chosen";
            return Err(error("tau", "a finite number above 0", self.tau.to_string(), help));
        }
        self.pruning.validate()
    }
}

/// The trial budget, checked beside the settings because it has the same kind of error.
pub(crate) fn validate_budget(max_trials: u64, lag: u64) -> Result<(), SettingError> {
    if !(1..=MAX_TRIALS).contains(&max_trials) {
        let expected = format!("an integer from 1 to {MAX_TRIALS}");
        return Err(error("budget.max_trials", expected, max_trials.to_string(), "10 is the default"));
    }
    if lag == 0 {
        let help = "1 trains one trial at a time; n lets n trials of a run train side by side";
        return Err(error("budget.parallelism", "an integer of at least 1", "0", help));
    }
    Ok(())
}

fn population_error(found: i64) -> SettingError {
    let expected = format!("an integer from 1 to {MAX_POPULATION}");
    error(
        "budget.population_size",
        expected,
        found.to_string(),
        format!("{DEFAULT_POPULATION} is the default"),
    )
}

fn rate_error(name: &str, found: String) -> SettingError {
    error(format!("parameters.{name}"), "a number from 0 to 1", found, "a rate is a probability")
}

fn elite_error(population_size: u32, found: String) -> SettingError {
    let expected = format!("an integer from 0 to the population size, {population_size}");
    error("parameters.elite_size", expected, found, "lower elite_size or raise budget.population_size")
}

pub(crate) fn error(
    path: impl Into<String>,
    expected: impl Into<String>,
    found: impl Into<String>,
    help: impl Into<String>,
) -> SettingError {
    SettingError { path: path.into(), expected: expected.into(), found: found.into(), help: help.into() }
}
