//! Which way is up: whether an objective is to be made large or small.

use serde::{Deserialize, Serialize};

/// Words of which any one in an objective's name means "smaller is better".
const COSTS: &[&str] = &[
    "loss",
    "logloss",
    "error",
    "err",
    "rmse",
    "mse",
    "mae",
    "mape",
    "msle",
    "rmsle",
    "nll",
    "deviance",
    "perplexity",
    "ppl",
    "latency",
    "duration",
    "runtime",
    "cost",
    "regret",
    "divergence",
    "brier",
    "wer",
    "cer",
    "fid",
];

/// Words that turn a cost into a score, as scikit-learn names them (`neg_mean_squared_error`).
const NEGATIONS: &[&str] = &["neg", "negative", "d2"];

/// The direction in which an objective improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Larger is better: accuracy, f1, r2.
    Maximize,
    /// Smaller is better: loss, error, latency.
    Minimize,
}

impl Direction {
    /// The word used in requests and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Maximize => "maximize",
            Self::Minimize => "minimize",
        }
    }

    /// Whether `a` is strictly better than `b`.
    pub fn is_better(self, a: f64, b: f64) -> bool {
        self.fitness(a) > self.fitness(b)
    }

    /// The objective as fitness: larger is better, whatever the direction.
    pub(crate) fn fitness(self, objective: f64) -> f64 {
        match self {
            Self::Maximize => objective,
            Self::Minimize => -objective,
        }
    }
}

/// The direction of an objective by its name, for a request that does not say.
///
/// `loss`, `val_loss`, `rmse`, `error_rate`, `latency_ms` are minimized; `accuracy`, `f1`, `neg_log_loss` and every
/// name it does not know are maximized.
pub fn direction_of(objective: &str) -> Direction {
    let lower = objective.to_ascii_lowercase();
    let words = || lower.split(|c: char| !c.is_ascii_alphanumeric());
    let negated = words().any(|word| NEGATIONS.contains(&word));
    if !negated && words().any(|word| COSTS.contains(&word)) {
        Direction::Minimize
    } else {
        Direction::Maximize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_minimized_and_scores_are_maximized() {
        for cost in
            ["loss", "val_loss", "RMSE", "mean-squared-error", "error_rate", "latency_ms", "perplexity"]
        {
            assert_eq!(direction_of(cost), Direction::Minimize, "{cost}");
        }
        for score in ["accuracy", "f1_score", "r2", "neg_log_loss", "d2_absolute_error_score", "lossless", ""]
        {
            assert_eq!(direction_of(score), Direction::Maximize, "{score}");
        }
    }
}
