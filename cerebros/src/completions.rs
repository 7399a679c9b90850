//! What a shell completes, generated from the command line itself.

use clap::CommandFactory as _;
use clap_complete::Shell;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::{Format, Printer};

use crate::cli::Cli;

/// Prints the script for a shell.
pub(crate) fn print(shell: Shell) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cerebros", &mut script);
    Printer::new(Format::Table).raw(&script)?;
    Ok(Exit::Done)
}
