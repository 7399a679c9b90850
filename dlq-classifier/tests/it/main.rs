//! Integration tests: the corpus, and everything on a real broker with the real program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends with a panic")]

mod capture;
mod corpus;
mod foresight;
mod growth;
mod hostile;
mod identity;
mod repair;
mod room;
mod selection;
mod tasks;
