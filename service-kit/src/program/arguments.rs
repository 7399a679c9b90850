//! From the command line, the environment and the file to what the program was asked to do.

use std::ffi::OsString;

use clap::builder::{Resettable, StyledStr};
use clap::error::ErrorKind;
use clap::{Args, Command, FromArgMatches};

use super::Cli;
use crate::config::{self, ConfigFile};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, Format};
use crate::telemetry::LogArgs;

/// A command line that was understood.
pub(super) struct Parsed<C> {
    pub(super) cli: C,
    pub(super) log: LogArgs,
}

/// What a command line leads to.
pub(super) enum Outcome<C> {
    /// There is something to do.
    Parsed(Parsed<C>),
    /// The help or the version was what there is to say, and it is said.
    Answered(Exit),
}

/// Help and version are answered whatever stands in the file.
pub(super) fn parse<C: Cli>(
    name: &'static str,
    arguments: &[OsString],
    file: Result<ConfigFile, CliError>,
) -> Result<Outcome<C>, CliError> {
    match file {
        Ok(file) => parse_with(name, arguments, &file),
        Err(error) => match parse_with::<C>(name, arguments, &ConfigFile::default()) {
            Ok(Outcome::Answered(exit)) => Ok(Outcome::Answered(exit)),
            Ok(Outcome::Parsed(_)) | Err(_) => Err(error),
        },
    }
}

fn parse_with<C: Cli>(
    name: &'static str,
    arguments: &[OsString],
    file: &ConfigFile,
) -> Result<Outcome<C>, CliError> {
    let mut command = with_log_flags(C::command().name(name));
    if command.get_version().is_none() {
        command = command.version(env!("CARGO_PKG_VERSION"));
    }
    let command = config::layered(command, file)?;
    let understood = command.try_get_matches_from(arguments).and_then(|mut matches| {
        let log = LogArgs::from_arg_matches(&matches)?;
        Ok(Parsed { cli: C::from_arg_matches_mut(&mut matches)?, log })
    });
    match understood {
        Ok(parsed) => Ok(Outcome::Parsed(parsed)),
        Err(error) => answer(&error, format_asked_for(arguments)).map(Outcome::Answered),
    }
}

/// Flags bring the description of their group along; the program keeps its own.
fn with_log_flags(command: Command) -> Command {
    let kept = |text: Option<&StyledStr>| text.cloned().map_or(Resettable::Reset, Resettable::Value);
    let (about, long_about) = (kept(command.get_about()), kept(command.get_long_about()));
    LogArgs::augment_args(command).about(about).long_about(long_about)
}

/// Help and version are answers on standard output; everything else is a usage error.
fn answer(error: &clap::Error, asked: Option<Format>) -> Result<Exit, CliError> {
    if !error.use_stderr() {
        return error.print().map(|()| Exit::Done).map_err(CliError::on_stdout);
    }
    let text = error.render().to_string();
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        if asked.is_none() {
            output::note(text.trim_end());
            return Ok(Exit::Usage);
        }
        return Err(
            CliError::new("usage", Exit::Usage, "a command is missing").help("--help lists the commands")
        );
    }
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    // The first paragraph says what is wrong, the rest (a suggestion, the usage) what helps.
    let (what, help) = text.split_once("\n\n").unwrap_or((text, ""));
    let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
    let error = CliError::new("usage", Exit::Usage, what);
    Err(if help.trim().is_empty() { error } else { error.help(help.trim()) })
}

/// The format on a command line that may not have been understood, so that its error can be printed in it.
pub(super) fn format_asked_for(arguments: &[OsString]) -> Option<Format> {
    let texts: Vec<&str> = arguments.iter().map(|argument| argument.to_str().unwrap_or_default()).collect();
    let value = texts.iter().enumerate().find_map(|(position, text)| match *text {
        "-o" | "--output" => texts.get(position + 1).copied(),
        _ => text.strip_prefix("--output=").or_else(|| text.strip_prefix("-o")),
    });
    match value.map(|value| value.trim_start_matches('=')) {
        Some("json") => Some(Format::Json),
        Some("ndjson") => Some(Format::Ndjson),
        Some(_) | None => None,
    }
}
