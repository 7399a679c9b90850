//! Asking for searches and following them: `producer submit|watch|list|show|cancel|scale|retry`, also mounted as
//! `cerebros run ...`.
//!
//! Invariants:
//! - nothing is published that a worker is known to reject; what is published is confirmed by the broker;
//! - data goes to standard output, talk to standard error; a pipe gets no decoration;
//! - whoever stops watching stops nothing; every wait for the broker has a deadline.
//!
//! Deliberately not here: running anything. A run is known from the stream and the registry alone, so that every
//! command works from any machine.
//!
//! For programs that follow a run themselves: [`submit::publish`], [`follow::Follower`], [`progress::Progress`].
//!
//! ```no_run
//! # async fn example(broker: service_kit::broker::Broker) -> Result<(), service_kit::error::CliError> {
//! use std::time::Duration;
//! use producer::{follow::Follower, progress::Progress, submit};
//! use schemas::{Encoding, event::RunRequested};
//!
//! let run = submit::fresh_run_id();
//! let request = RunRequested { run_id: Some(run.clone()), ..RunRequested::new("digits") };
//! let patience = Duration::from_secs(10);
//! let published = submit::publish(&broker, request, Encoding::Json, patience).await?;
//! let mut events = Follower::new(&broker, &run, published.sequence, patience);
//! let mut progress = Progress::default();
//! while let Some(event) = events.next().await? {
//!     progress.take(&event);
//!     if progress.state.is_final() {
//!         break;
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod cancel;
mod connection;
pub mod follow;
mod list;
pub mod progress;
mod retry;
pub mod runs;
mod scale;
mod show;
pub mod submit;
mod watch;

pub use run_spec as spec;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::Format;
use service_kit::program::{self, Kind};
use service_kit::shutdown::Shutdown;

pub use cancel::CancelArgs;
pub use connection::Shared;
pub use list::ListArgs;
pub use retry::RetryArgs;
pub use scale::ScaleArgs;
pub use show::ShowArgs;
pub use submit::SubmitArgs;
pub use watch::WatchArgs;

/// Asks for architecture searches and follows them.
#[derive(Debug, clap::Parser)]
#[command(name = "producer", version, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Asks for a search and prints its run id
    Submit(Box<SubmitArgs>),
    /// Shows a run while it happens; the exit code follows its end
    Watch(Box<WatchArgs>),
    /// Lists the runs, newest last
    List(Box<ListArgs>),
    /// Shows one run with its trials
    Show(Box<ShowArgs>),
    /// Ends a run
    Cancel(Box<CancelArgs>),
    /// Changes how many trials of a run may be under way at once
    Scale(Box<ScaleArgs>),
    /// Runs a failed or cancelled run again, or only the failed trials of a run
    Retry(Box<RetryArgs>),
}

impl Command {
    /// The format asked for, if any.
    pub fn output(&self) -> Option<Format> {
        self.shared().output.output
    }

    fn shared(&self) -> &Shared {
        match self {
            Self::Submit(args) => &args.shared,
            Self::Watch(args) => &args.shared,
            Self::List(args) => &args.shared,
            Self::Show(args) => &args.shared,
            Self::Cancel(args) => &args.shared,
            Self::Scale(args) => &args.shared,
            Self::Retry(args) => &args.shared,
        }
    }
}

impl program::Cli for Cli {
    fn output(&self) -> Option<Format> {
        self.command.output()
    }

    fn kind(&self) -> Kind {
        Kind::Client
    }
}

/// Carries out a command. The exit code of one that waits for a run follows the run.
///
/// # Errors
/// What ends the program, with its exit code and its remedy.
pub async fn run(command: Command, shutdown: Shutdown) -> Result<Exit, CliError> {
    match command {
        Command::Submit(args) => submit::submit(*args, &shutdown).await,
        Command::Watch(args) => watch::watch(&args).await,
        Command::List(args) => list::list(&args).await,
        Command::Show(args) => show::show(&args).await,
        Command::Cancel(args) => cancel::cancel(&args).await,
        Command::Scale(args) => scale::scale(&args).await,
        Command::Retry(args) => retry::retry(&args).await,
    }
}
