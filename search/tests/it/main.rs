//! What the search promises, seen from outside.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails; the lint spares only #[test] functions")]

mod convergence;
mod determinism;
mod dialects;
mod driver;
mod pruning;
mod refusals;
mod settings;
mod simulation;
mod spaces;
