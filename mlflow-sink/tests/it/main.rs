//! The sink between a real broker and a real MLflow.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends with a panic")]

mod access;
mod births;
mod check;
mod commands;
mod database;
mod economy;
mod endings;
mod events;
mod faults;
mod fence;
mod front;
mod hostile;
mod kills;
mod model;
mod order;
mod outage;
mod own;
mod pipeline;
mod process;
mod projection;
mod rebuild;
mod refusal;
mod reopened;
mod replay;
mod server;
mod share;
mod stuck;
mod versions;
