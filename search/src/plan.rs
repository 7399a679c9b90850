//! The plan of a search: everything its candidates depend on, besides the results.

use crate::settings::{SettingError, Settings};
use crate::space::SearchSpace;
use crate::strategy::UnknownStrategy;

/// Everything a search is a function of, besides its results.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What may be tried.
    pub space: SearchSpace,
    /// One of [`STRATEGIES`](crate::STRATEGIES).
    pub strategy: String,
    /// How it searches, seed included.
    pub settings: Settings,
    /// How many trials are proposed; 1 to [`MAX_TRIALS`](crate::MAX_TRIALS).
    pub max_trials: u64,
    /// How many trials may be in flight at once; at least 1. Part of the plan, not of the machine: fewer slots
    /// change nothing but the time it takes.
    pub lag: u64,
}

/// Why a plan cannot be searched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A setting or the budget is outside its limits.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The strategy does not exist.
    #[error(transparent)]
    Strategy(#[from] UnknownStrategy),
}

impl PlanError {
    /// Where in the request the fault is.
    pub fn path(&self) -> &str {
        match self {
            Self::Setting(error) => &error.path,
            Self::Strategy(_) => "strategy",
        }
    }

    /// What to do about it, in one line.
    pub fn help(&self) -> String {
        match self {
            Self::Setting(error) => error.help.clone(),
            Self::Strategy(error) => error.help(),
        }
    }
}
