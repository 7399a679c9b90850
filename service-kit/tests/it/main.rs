//! What the kit promises, on the real thing.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may fail where they stand")]

mod cloudevents;
mod fence;
mod foreign_avro;
mod health;
mod intake;
mod mlflow;
mod program;
mod publishing;
mod registry;
mod schema_registry;
mod stretches;
mod topology;
