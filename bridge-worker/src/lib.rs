//! Takes run requests, drives Python processes that train candidates, and emits every trial as an event.
//!
//! ```text
//! serve -> request -> course (steps, undo) -> run (shell) <-> supervisor (decides) -> trial -> child (Python)
//!                        |                        |                                     |
//!                  registry, fence            announce  ------------ events ------------ '
//! ```
//! - [`plan`], [`steps`], [`supervisor`], [`queue`], [`retry`], [`limits`], [`vitals`] and [`account`] decide, without task or broker;
//!   the rest carries out.
//! - The stream is the checkpoint: a trial's result reaches the search only after the broker has confirmed its event,
//!   and [`resume`] rebuilds a search from these events.
//! - User code runs in processes of its own ([`child`]); nothing it does ends the worker.

pub mod account;
pub mod announce;
pub mod artifacts;
pub mod asked;
pub mod best;
pub mod cache;
pub mod census;
pub mod child;
mod cli;
pub mod control;
mod conversation;
mod course;
pub mod datasets;
mod ending;
pub mod fault;
pub mod fitness;
mod footing;
mod foreign_file;
pub mod gauges;
mod halt;
pub mod in_hand;
pub mod invocations;
pub mod invoker;
pub mod lease;
pub mod limits;
mod means;
pub mod oneshot;
pub mod opaque;
mod outside;
mod owner;
pub mod plan;
pub mod queue;
pub mod remarks;
pub mod request;
pub mod reserve;
pub mod resume;
pub mod retry;
pub mod run;
pub mod runtime;
pub mod script;
mod serve;
pub mod slots;
pub mod steps;
pub mod supervisor;
pub mod trial;
mod validate;
pub mod vitals;
pub mod workdir;
pub mod worker;

pub use cli::{Cli, Command, ProbeArgs, ServeArgs};
pub use validate::ValidateArgs;

use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::shutdown::Shutdown;

/// Runs a command to its exit code.
///
/// # Errors
/// What stopped it, for a person.
pub async fn run(command: Command, shutdown: Shutdown) -> Result<Exit, CliError> {
    match command {
        Command::Serve(args) => serve::serve(*args, shutdown).await,
        Command::Run(args) => oneshot::run(*args, shutdown).await,
        Command::Validate(args) => validate::validate(*args).await,
        Command::Probe(args) => service_kit::health::probe(args.http, "/readyz").await.map(|_| Exit::Done),
    }
}
