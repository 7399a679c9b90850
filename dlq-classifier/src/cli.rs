//! The command line, and which command does what.

mod flags;

use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::Format;
use service_kit::program::{self, Kind};
use service_kit::shutdown::Shutdown;

use crate::serve::ServeArgs;
use crate::tasks::TasksArgs;
use crate::{acknowledge, audit, discard, groups, history, list, purge, replay, resume, serve, show, tasks};
pub(crate) use flags::{
    AcknowledgeArgs, AuditArgs, Common, DiscardArgs, GroupsArgs, HistoryArgs, ListArgs, PurgeArgs,
    ReplayArgs, ResumeArgs, ShowArgs,
};

/// Finds malformed events, keeps them untouched with a verdict, and brings them back.
#[derive(Debug, clap::Parser)]
#[command(name = "dlq-classifier")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// The service.
    #[command(flatten)]
    Service(Service),
    /// The commands for people.
    #[command(flatten)]
    Operator(Operator),
}

/// The service.
#[derive(Debug, clap::Subcommand)]
pub enum Service {
    /// Validate every event and dead-letter what is malformed
    Serve(ServeArgs),
}

/// The commands for people. They need the broker, not the service.
#[derive(Debug, clap::Subcommand)]
pub enum Operator {
    /// List dead letters, oldest first
    List(ListArgs),
    /// Group dead letters by fault
    Groups(GroupsArgs),
    /// Show one dead letter: verdict, headers, payload
    Show(ShowArgs),
    /// Publish dead messages again, repaired or as they were
    Replay(ReplayArgs),
    /// Mark dead letters as not needed
    Discard(DiscardArgs),
    /// Remove dead letters that were replayed or discarded
    Purge(PurgeArgs),
    /// Tell classifiers to go on that have stopped at their storm limit
    Resume(ResumeArgs),
    /// Tell who did what about dead letters, oldest first
    History(HistoryArgs),
    /// Account for every sequence of the event stream; exit 9 if any is unexplained
    Audit(AuditArgs),
    /// Answer for what an audit cannot explain, because you know why it is gone
    Acknowledge(AcknowledgeArgs),
    /// List replays under way, and pause, continue or cancel them
    Tasks(TasksArgs),
}

impl Operator {
    fn common(&self) -> &Common {
        match self {
            Self::List(args) => &args.common,
            Self::Groups(args) => &args.common,
            Self::Show(args) => &args.common,
            Self::Replay(args) => &args.common,
            Self::Discard(args) => &args.common,
            Self::Purge(args) => &args.common,
            Self::Resume(args) => &args.common,
            Self::History(args) => &args.common,
            Self::Audit(args) => &args.common,
            Self::Acknowledge(args) => &args.common,
            Self::Tasks(args) => &args.common,
        }
    }

    /// The output format that was asked for.
    pub fn output(&self) -> Option<Format> {
        self.common().output.output
    }
}

impl program::Cli for Cli {
    fn output(&self) -> Option<Format> {
        match &self.command {
            Command::Service(_) => None,
            Command::Operator(operator) => operator.output(),
        }
    }

    fn kind(&self) -> Kind {
        match &self.command {
            Command::Service(_) => Kind::Service,
            Command::Operator(_) => Kind::Client,
        }
    }

    fn is_on_one_thread(&self) -> bool {
        matches!(&self.command, Command::Operator(command) if command.is_on_one_thread())
    }
}

impl Operator {
    /// See [`program::Cli::is_on_one_thread`].
    pub fn is_on_one_thread(&self) -> bool {
        matches!(self, Self::List(_) | Self::Groups(_))
    }
}

/// Does what was asked for.
pub async fn run(command: Command, shutdown: Shutdown) -> Result<Exit, CliError> {
    match command {
        Command::Service(Service::Serve(args)) => serve::run(args, shutdown).await,
        Command::Operator(Operator::List(args)) => list::run(args).await,
        Command::Operator(Operator::Groups(args)) => groups::run(args).await,
        Command::Operator(Operator::Show(args)) => show::run(&args.id, args.raw, &args.common).await,
        Command::Operator(Operator::Replay(args)) => replay::run(args, shutdown).await,
        Command::Operator(Operator::Discard(args)) => discard::run(args).await,
        Command::Operator(Operator::Purge(args)) => purge::run(args).await,
        Command::Operator(Operator::Resume(args)) => resume::run(args).await,
        Command::Operator(Operator::History(args)) => history::run(&args.wanted, &args.common).await,
        Command::Operator(Operator::Audit(args)) => audit::run(&args.common).await,
        Command::Operator(Operator::Acknowledge(args)) => acknowledge::run(args).await,
        Command::Operator(Operator::Tasks(args)) => tasks::run(args, shutdown).await,
    }
}
