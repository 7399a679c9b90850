//! What every service stands on: the broker's side (connection, topology, publishing, deliveries, leases, the run
//! registry, dead letters) and the people's side (configuration, telemetry, health, shutdown, exit codes, output).
//!
//! Invariants:
//! - publish, confirm, then settle: nothing here acks a delivery before the broker confirmed what it led to;
//! - a [`delivery::Delivery`] ends in exactly one of ack, retry, reject; a forgotten one is redelivered, and said;
//! - every wait has a deadline, every queue a bound;
//! - printing happens in [`output`] only, the wall clock is read in [`clock`] only.
//!
//! Deliberately not here: what an event means to a service.

pub mod births;
pub mod broker;
pub mod check;
pub mod clock;
pub mod config;
pub mod dead_letter;
pub mod delivery;
pub mod endpoints;
pub mod error;
pub mod event_line;
pub mod exit;
pub mod fence;
pub mod health;
pub mod history;
pub mod input;
pub mod intake;
pub mod metrics;
pub mod mlflow;
pub mod moment;
pub mod output;
pub mod program;
pub mod publish;
pub mod registry;
pub mod schema_registry;
pub mod shutdown;
pub mod telemetry;
pub mod topology;
pub mod wire;
