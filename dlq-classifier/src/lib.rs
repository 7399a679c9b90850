//! The dead-letter queue: what fills it, and what people do with it.
//!
//! `serve` reads every event of the event stream once. What decodes and validates is acked; what does not is published
//! to the dead-letter stream, byte for byte, with a verdict, and only then acked. It also takes in what the broker gave
//! up delivering ([`serve`]). The other commands are clients: they read the dead-letter stream without consuming it,
//! so they work while the service is down, and any NATS client can do the same.
//!
//! Invariants:
//! - the dead-letter stream is the only truth: the state of an entry follows from it ([`book`]);
//! - `serve` reads the dead-letter stream to count ([`tally`]) and to replay what a person asked for ([`task`]), so a dead
//!   letter cannot breed another;
//! - announce, publish, confirm, then mark: a replay is recorded when the broker has the message, not before, and found
//!   again if it was not ([`replay`]);
//! - nothing invalid is published by a replay: what goes back has passed the same decoder that refused it;
//! - a bulk action without a filter or `--all` is refused before the broker is asked;
//! - every sequence of the event stream can be accounted for by what the broker keeps ([`handled`], the audit).
//!
//! Deliberately not here: permanent failures in execution (the consumer that saw them dead-letters them itself).

mod abreast;
mod acknowledge;
pub mod alert;
mod audit;
pub mod book;
mod cli;
mod discard;
pub mod edit;
pub mod entry;
mod fault;
pub mod figures;
pub mod filter;
mod given_up;
mod groups;
pub mod handled;
mod history;
mod list;
pub mod operation;
mod purge;
mod queue;
pub mod replay;
mod resume;
pub mod selection;
pub mod serve;
mod show;
pub mod standing;
pub mod tally;
pub mod task;
mod tasks;

pub use cli::{Cli, Command, Operator, Service, run};
