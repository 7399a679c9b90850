//! `cerebros schemas`: the contract in the hand. What there is (`list`, `show`), what a message says (`decode`), whether
//! it may grow so (`check`), and the same in the languages of other tools (`export`).
//!
//! Invariants: everything but `--registry` works without a broker; nothing is changed anywhere; every input is read up to
//! a limit; the same build always writes the same documents.

mod check;
mod corpus;
mod decode;
mod export;
mod facts;
mod list;
mod lookup;
pub(crate) mod registry;
mod show;

use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::Format;

/// What can be done with the schemas.
#[derive(Debug, clap::Subcommand)]
pub enum SchemasCommand {
    /// List every record with all versions of its schema
    List(list::ListArgs),
    /// Show the fields of a record
    Show(show::ShowArgs),
    /// Read one message, whatever its encoding, and print it as JSON
    Decode(decode::DecodeArgs),
    /// Check that every version can read every other, and that nothing published was altered
    Check(check::CheckArgs),
    /// Write the contract as JSON Schema, Avro, AsyncAPI or Markdown
    Export(export::ExportArgs),
}

impl SchemasCommand {
    /// The output format that was asked for.
    pub(crate) fn format(&self) -> Option<Format> {
        match self {
            Self::List(args) => args.output.output,
            Self::Show(args) => args.output.output,
            Self::Decode(args) => args.output.output,
            Self::Check(args) => args.output.output,
            Self::Export(_) => None,
        }
    }
}

/// Carries out a command.
pub(crate) async fn run(command: SchemasCommand) -> Result<Exit, CliError> {
    match command {
        SchemasCommand::List(args) => list::list(&args).await,
        SchemasCommand::Show(args) => show::show(&args),
        SchemasCommand::Decode(args) => decode::decode(&args).await,
        SchemasCommand::Check(args) => check::check(args).await,
        SchemasCommand::Export(args) => export::export(&args),
    }
}
