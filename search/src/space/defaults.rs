//! The spaces our own trainers search when a request gives none.

use serde_json::{Value, json};

/// Trainers with a space of their own.
pub const TRAINERS: &[&str] = &["mlp", "noop"];

/// The default space of a trainer, in the form a request would write it.
pub(super) fn default_space(trainer: &str) -> Option<Value> {
    match trainer {
        // Ranges in which scikit-learn's multi-layer perceptron trains in about a second on the bundled data sets;
        // epochs are few and fixed, because a search compares candidates at equal cost.
        "mlp" => Some(json!({
            "layer_sizes": [16, 32, 48, 64, 96, 128, 192, 256],
            "depth": {"low": 1, "high": 3},
            "activation": ["relu", "tanh", "logistic"],
            "learning_rate": {"low": 1e-4, "high": 1e-1, "log": true},
            "alpha": {"low": 1e-6, "high": 1e-1, "log": true},
            "batch_size": [32, 64, 128],
            "optimizer": ["adam", "sgd"],
            "epochs": 12,
        })),
        // Trains nothing: one number in, one number out, for measuring everything around it.
        "noop" => Some(json!({"x": {"low": 0.0, "high": 1.0}})),
        _ => None,
    }
}
