//! Integration tests: the corpus, and everything on a real broker with the real program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends with a panic")]

mod capture;
mod corpus;
mod growth;
mod hostile;
mod lost;
mod outage;
mod repair;
mod room;
mod selection;
mod semantic;
mod storm;
mod sweep;
