//! The command line, and which command does what.

use std::path::PathBuf;

use service_kit::config::BrokerArgs;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::moment::{Moment, parse_moment};
use service_kit::output::{Format, OutputArgs};
use service_kit::program::{self, Kind};
use service_kit::shutdown::Shutdown;

use crate::abreast::{self, Work};
use crate::audit::ranges::{self, Range};
use crate::entry::{Entry, Groups};
use crate::filter::Filter;
use crate::history::Wanted;
use crate::queue::Queue;
use crate::replay::Rate;
use crate::selection::Selection;
use crate::serve::ServeArgs;
use crate::tasks::TasksArgs;
use crate::{acknowledge, audit, discard, history, purge, replay, resume, serve, show, tasks};

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

/// The flags of every command for people.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) broker: BrokerArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Flags of `list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    common: Common,
}

/// Flags of `groups`.
#[derive(Debug, clap::Args)]
pub struct GroupsArgs {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    common: Common,
}

/// Flags of `show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Id of the entry, or its first characters
    #[arg(value_name = "ID")]
    id: String,
    /// Write the original payload, untouched, and nothing else
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    common: Common,
}

/// Flags of `replay`.
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Publish nothing; predict what would happen to each
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// At most so many a second, such as 50 or 50/s
    #[arg(long, value_name = "N/s")]
    pub(crate) rate: Option<Rate>,
    /// Publish also those that a dry run calls unsafe; entries named by their ids always are
    #[arg(long = "unsafe")]
    pub(crate) takes_unsafe: bool,
    /// Leave the work to a running classifier and print the name of the task
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) detach: bool,
    /// Publish to another subject
    #[arg(long, value_name = "SUBJECT")]
    pub(crate) to: Option<String>,
    /// Change each payload by a jq expression, such as '.budget.max_trials = 6'
    #[arg(long, value_name = "JQ", conflicts_with = "patch")]
    pub(crate) edit: Option<String>,
    /// Change each payload by a merge patch (RFC 7386) in a file
    #[arg(long, value_name = "FILE")]
    pub(crate) patch: Option<PathBuf>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Flags of `discard`.
#[derive(Debug, clap::Args)]
pub struct DiscardArgs {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Change nothing; list what would be discarded
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Flags of `purge`.
#[derive(Debug, clap::Args)]
pub struct PurgeArgs {
    /// Remove what was replayed or discarded; nothing else ever is
    #[arg(long)]
    pub(crate) dealt_with: bool,
    /// Only what was given up so long ago, such as 7d, or before a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub(crate) older: Option<Moment>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Change nothing; list what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Flags of `resume`.
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Flags of `history`.
#[derive(Debug, clap::Args)]
pub struct HistoryArgs {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    common: Common,
}

/// Flags of `audit`.
#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    #[command(flatten)]
    common: Common,
}

/// Flags of `acknowledge`.
#[derive(Debug, clap::Args)]
pub struct AcknowledgeArgs {
    /// Sequences of the event stream, such as 42 or 40-99, as `audit` names them
    #[arg(value_name = "SEQUENCES", value_parser = ranges::parse)]
    pub(crate) sequences: Vec<Range>,
    /// Why they are gone, for the record; it has to be said
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Only for one consumer; otherwise for all of them
    #[arg(long, value_name = "NAME")]
    pub(crate) consumer: Option<String>,
    /// Record nothing; tell what would be acknowledged
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) common: Common,
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
        Command::Operator(Operator::List(args)) => list(args).await,
        Command::Operator(Operator::Groups(args)) => groups(args).await,
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

async fn list(args: ListArgs) -> Result<Exit, CliError> {
    let Common { broker, output } = args.common;
    let queue = Queue::open(&broker).await?;
    let (now, printer) = (service_kit::clock::now(), output.printer());
    let work = Work {
        is_wanted: move |entry: &Entry| args.filter.takes(entry, now),
        make: move |entries: &mut dyn Iterator<Item = Entry>| printer.ready(entries),
    };
    let mut listing = printer.listing().aside();
    abreast::read(&queue, &broker, work, async |page| listing.append(page).await).await?;
    listing.end().await?;
    Ok(Exit::Done)
}

async fn groups(args: GroupsArgs) -> Result<Exit, CliError> {
    let Common { broker, output } = args.common;
    let queue = Queue::open(&broker).await?;
    let now = service_kit::clock::now();
    let work = Work {
        is_wanted: move |entry: &Entry| args.filter.takes(entry, now),
        make: |entries: &mut dyn Iterator<Item = Entry>| Ok(entries.collect::<Groups>()),
    };
    let mut groups = Groups::default();
    abreast::read(&queue, &broker, work, async |page| {
        groups.append(page);
        Ok(())
    })
    .await?;
    output.printer().rows(&groups.into_sorted())?;
    Ok(Exit::Done)
}
