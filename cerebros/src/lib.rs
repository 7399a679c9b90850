//! The front door: a whole pipeline on one machine (`up`, `demo`), a look at any pipeline (`doctor`, `events tail`),
//! the contract in the hand (`schemas`), and every other program of the product as a command of this one.
//!
//! ```text
//! up, demo -> assembly -> local-stack (broker, MLflow)
//!                 '-----> this program again: worker serve, classifier serve, sink serve
//! run, dlq, worker, sink, classifier -> the programs' own libraries
//! ```
//!
//! Invariants:
//! - a command that is mounted here has the flags, the output and the exit codes of its own program;
//! - nothing is written outside the data directory, nothing listens beyond the loopback address, nothing is left
//!   running when `up` or `demo` ends, however it ends.
//!
//! Deliberately not here: what a service does. It does the same when nobody started it from here.

mod assembly;
mod cli;
mod completions;
mod config;
mod demo;
mod doctor;
mod events;
mod invocation;
mod patience;
mod schemas;
mod up;

pub use cli::{Cli, Command};

use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::shutdown::Shutdown;
use tokio::task::LocalSet;

/// Runs a command to its exit code.
///
/// # Errors
/// What ends the program, with its exit code and its remedy.
pub async fn run(cli: Cli, shutdown: Shutdown) -> Result<Exit, CliError> {
    match cli.command {
        Command::Up(args) => LocalSet::new().run_until(up::up(args, shutdown)).await,
        Command::Demo(args) => LocalSet::new().run_until(demo::demo(args, shutdown)).await,
        Command::Doctor(args) => doctor::doctor(&args).await,
        Command::Run { command } => producer::run(command, shutdown).await,
        Command::Dlq { command } => {
            dlq_classifier::run(dlq_classifier::Command::Operator(command), shutdown).await
        }
        Command::Events { command } => events::run(command).await,
        Command::Config { command } => config::run(&command),
        Command::Schemas { command } => schemas::run(command).await,
        Command::Worker { command } => bridge_worker::run(command, shutdown).await,
        Command::Sink { command } => mlflow_sink::run(command, shutdown).await,
        Command::Classifier { command } => {
            dlq_classifier::run(dlq_classifier::Command::Service(command), shutdown).await
        }
        Command::Completions { shell } => completions::print(shell),
    }
}
