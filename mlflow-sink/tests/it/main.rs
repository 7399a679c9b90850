//! The sink between a real broker and a real MLflow.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends with a panic")]

mod endings;
mod events;
mod hostile;
mod model;
mod outage;
mod pipeline;
mod projection;
mod refusal;
mod reopened;
mod replay;
mod server;
