//! What surrounds every program: configuration, arguments, logs, runtime, signals, the last word, the exit code.
//!
//! ```text
//! fn main() -> std::process::ExitCode {
//!     service_kit::program::run("producer", producer::run)
//! }
//! ```
//!
//! Invariants: exactly one error is printed, at the end; every wait on the way out has a deadline; a command that a
//! signal ended never exits 0.

mod arguments;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use crate::config::ConfigFile;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, Format};
use crate::shutdown::Shutdown;
use crate::telemetry::LogArgs;
use arguments::{Outcome, Parsed};

/// More threads than this serve no program of ours: the work is done by the broker, MLflow and Python.
const MAX_WORKER_THREADS: usize = 4;
/// What a program told to stop at once may still take, to kill its children.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// What threads that do not listen (a blocking read) may take.
const RUNTIME_GRACE: Duration = Duration::from_secs(5);

/// How a program lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Until it is told to stop: drains at the first signal, and that is success.
    Service,
    /// Until it is done: a signal ends it with 130 or 143, at once unless it holds something.
    Client,
}

/// The arguments of a program.
pub trait Cli: clap::Parser {
    /// The format asked for, if any: errors are printed in it too.
    fn output(&self) -> Option<Format> {
        None
    }

    /// How the chosen command lives.
    fn kind(&self) -> Kind;

    /// True for a command that reads a lot, one after the other: on one thread nothing has to be handed to another, which
    /// would cost as much as the reading. Whoever reads beside it has a runtime of its own. It may write at its end, or aside
    /// ([`Aside`](crate::output::Aside)): while it writes otherwise, it hears nobody.
    fn is_on_one_thread(&self) -> bool {
        false
    }
}

/// Runs a program from its arguments to its exit code.
pub fn run<C, Main, Work>(name: &'static str, main: Main) -> ExitCode
where
    C: Cli,
    Main: FnOnce(C, Shutdown) -> Work,
    Work: Future<Output = Result<Exit, CliError>>,
{
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let asked = arguments::format_asked_for(&arguments);
    let parsed = arguments::parse::<C>(name, &arguments, ConfigFile::load());
    let (format, result) = match parsed {
        Err(error) => (asked, Err(error)),
        Ok(Outcome::Answered(exit)) => (asked, Ok(exit)),
        Ok(Outcome::Parsed(Parsed { cli, log })) => (cli.output(), start(name, cli, &log, main)),
    };
    last_word(result, format).into()
}

fn start<C, Main, Work>(name: &str, cli: C, log: &LogArgs, main: Main) -> Result<Exit, CliError>
where
    C: Cli,
    Main: FnOnce(C, Shutdown) -> Work,
    Work: Future<Output = Result<Exit, CliError>>,
{
    let kind = cli.kind();
    log.start(name, kind)?;
    let runtime = runtime(cli.is_on_one_thread())?;
    let work = || {
        runtime.block_on(async {
            let shutdown = Shutdown::listen()?;
            supervise(kind, main(cli, shutdown.clone()), &shutdown).await
        })
    };
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(panicked()));
    runtime.shutdown_timeout(RUNTIME_GRACE);
    result
}

fn runtime(is_on_one_thread: bool) -> Result<tokio::runtime::Runtime, CliError> {
    let mut builder = if is_on_one_thread {
        tokio::runtime::Builder::new_current_thread()
    } else {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(cores.min(MAX_WORKER_THREADS));
        builder
    };
    builder.enable_all().build().map_err(|error| {
        CliError::new("threads", Exit::LocalResource, "threads cannot be started").because(error)
    })
}

/// Lets the work run to its end, or to the point where a signal takes it away.
async fn supervise(
    kind: Kind,
    work: impl Future<Output = Result<Exit, CliError>>,
    shutdown: &Shutdown,
) -> Result<Exit, CliError> {
    let mut work = pin!(work);
    let result = tokio::select! {
        // A signal that takes the work away wins over work that returned because of that same signal.
        biased;
        () = taken_away(kind, shutdown) => None,
        result = &mut work => Some(result),
    };
    let stopped = || shutdown.interrupted().unwrap_or(Exit::Interrupted);
    match result {
        Some(Ok(Exit::Done)) if shutdown.is_now() => Ok(stopped()),
        Some(result) => result,
        None => Ok(stopped()),
    }
}

/// Resolves when the work has had all the time it is given.
async fn taken_away(kind: Kind, shutdown: &Shutdown) {
    shutdown.drain().await;
    if kind == Kind::Client {
        if let Some(held) = shutdown.waits_for() {
            output::note(format!("stopping: waiting for {held}; once more stops at once"));
        }
        tokio::select! {
            () = shutdown.released() => return,
            () = shutdown.now() => {}
        }
    }
    shutdown.now().await;
    tokio::time::sleep(STOP_GRACE).await;
    output::warning("the program was told to stop at once and did not; it is ended here");
}

fn panicked() -> CliError {
    CliError::internal("the program met a state it was not written for")
        .help("this is a fault of ours: please report it with the lines above")
}

fn last_word(result: Result<Exit, CliError>, format: Option<Format>) -> Exit {
    match result {
        Ok(exit) => exit,
        Err(error) => {
            if !error.is_quiet() {
                output::error(&error, format);
            }
            error.exit
        }
    }
}

#[cfg(test)]
mod tests;
