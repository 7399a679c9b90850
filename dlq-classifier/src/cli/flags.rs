//! The flags of the commands for people.

use std::path::PathBuf;

use service_kit::config::BrokerArgs;
use service_kit::moment::{Moment, parse_moment};
use service_kit::output::OutputArgs;

use crate::audit::ranges::{self, Range};
use crate::filter::Filter;
use crate::history::Wanted;
use crate::replay::Rate;
use crate::selection::Selection;

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
    pub(crate) filter: Filter,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Flags of `groups`.
#[derive(Debug, clap::Args)]
pub struct GroupsArgs {
    #[command(flatten)]
    pub(crate) filter: Filter,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Flags of `show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Id of the entry, or its first characters
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Write the original payload, untouched, and nothing else
    #[arg(long)]
    pub(crate) raw: bool,
    #[command(flatten)]
    pub(crate) common: Common,
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
    pub(crate) wanted: Wanted,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Flags of `audit`.
#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    #[command(flatten)]
    pub(crate) common: Common,
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
