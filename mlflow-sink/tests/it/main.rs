//! The sink between a real broker and a real MLflow.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends with a panic")]

mod access;
mod births;
mod events;
mod faults;
mod kills;
mod order;
mod outage;
mod pipeline;
mod process;
mod projection;
mod refusal;
mod reopened;
mod replay;
mod server;
mod share;
mod versions;
