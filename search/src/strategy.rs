//! Strategies: the one interface behind which every way of searching stands, and the table of their names.

mod genetic;
mod random;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::candidate::Candidate;
use crate::nearest::nearest;
use crate::settings::Settings;
use crate::space::SearchSpace;

/// The names a request may use, in alphabetical order.
pub const STRATEGIES: &[&str] = &["ga", "random"];

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Trained and measured.
    Succeeded,
    /// The code or its input was wrong.
    Failed,
    /// Never trained, by decision.
    Skipped,
    /// Stopped because the run was cancelled.
    Cancelled,
    /// Stopped early because it was not promising.
    Pruned,
}

/// The result of one trial, as the search sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// How it ended.
    pub status: Status,
    /// The objective that was measured; a value that is not finite counts as none.
    pub objective: Option<f64>,
    /// The parameters that were really trained. They are part of the result, not looked up from the proposal, so
    /// that a run continues rightly from its own events whatever version of this crate proposed them.
    pub parameters: Map<String, Value>,
}

impl Evaluation {
    /// A succeeded trial.
    pub fn succeeded(objective: f64, parameters: Map<String, Value>) -> Self {
        Self { status: Status::Succeeded, objective: Some(objective), parameters }
    }

    /// A trial that ended without a result to learn from.
    pub fn without_objective(status: Status, parameters: Map<String, Value>) -> Self {
        Self { status, objective: None, parameters }
    }

    /// The objective, if the trial succeeded and the value is a number one can compare.
    pub fn usable_objective(&self) -> Option<f64> {
        match self.status {
            Status::Succeeded => self.objective.filter(|value| value.is_finite()),
            Status::Failed | Status::Skipped | Status::Cancelled | Status::Pruned => None,
        }
    }
}

/// A way of searching.
///
/// The driver keeps the contract: `ask` is called once per number, in ascending order without gaps, and before
/// `ask(n)` the strategy was told every result up to `n - lag`, in ascending order, and nothing else. An
/// implementation draws its randomness from the run's seed and `number` only.
pub trait Strategy: Send + Sync {
    /// Chooses the candidate of trial `number`.
    fn ask(&mut self, number: u64) -> Candidate;

    /// Learns the result of trial `number`.
    fn tell(&mut self, number: u64, evaluation: &Evaluation);
}

/// A strategy name nobody registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("strategy: expected one of {}, found {name:?}", STRATEGIES.join(", "))]
pub struct UnknownStrategy {
    /// What was asked for, shortened when it is long.
    pub name: String,
    /// The registered name it resembles, if it resembles one.
    pub suggestion: Option<&'static str>,
}

impl UnknownStrategy {
    fn new(name: &str) -> Self {
        Self { name: name.chars().take(64).collect(), suggestion: nearest(name, STRATEGIES) }
    }

    /// What to do about it, in one line.
    pub fn help(&self) -> String {
        match self.suggestion {
            Some(name) => format!("did you mean {name:?}?"),
            None => format!("use one of {}", STRATEGIES.join(", ")),
        }
    }
}

/// Builds the strategy registered under `name`. The settings are taken as valid ([`Settings::validate`]).
pub fn build_strategy(
    name: &str,
    space: SearchSpace,
    settings: &Settings,
) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    match name {
        "ga" => Ok(Box::new(genetic::Genetic::new(space, settings.clone()))),
        "random" => Ok(Box::new(random::Random::new(space, settings.seed))),
        _ => Err(UnknownStrategy::new(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::Direction;

    fn build(name: &str) -> Result<Box<dyn Strategy>, UnknownStrategy> {
        let space = SearchSpace::parse(&Value::Null, "noop").unwrap();
        build_strategy(name, space, &Settings::new(1, Direction::Maximize))
    }

    #[test]
    fn every_registered_name_builds_a_strategy() {
        for name in STRATEGIES {
            assert!(build(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones_and_the_nearest() {
        let error = build("randon").map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), r#"strategy: expected one of ga, random, found "randon""#);
        assert_eq!(error.help(), r#"did you mean "random"?"#);
        assert_eq!(build("tpe").map(|_| ()).unwrap_err().help(), "use one of ga, random");
    }

    #[test]
    fn only_a_finite_objective_of_a_succeeded_trial_is_usable() {
        let of =
            |status, objective| Evaluation { status, objective, parameters: Map::new() }.usable_objective();
        assert_eq!(of(Status::Succeeded, Some(0.5)), Some(0.5));
        assert_eq!(of(Status::Succeeded, None), None);
        assert_eq!(of(Status::Succeeded, Some(f64::NAN)), None);
        assert_eq!(of(Status::Succeeded, Some(f64::INFINITY)), None);
        for status in [Status::Failed, Status::Skipped, Status::Cancelled, Status::Pruned] {
            assert_eq!(of(status, Some(0.5)), None);
        }
    }
}
