//! `cerebros config show`: what every variable is set to here, and who says so. Secrets are masked.

use std::collections::BTreeMap;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use serde::Serialize;
use service_kit::config::{ConfigFile, Effective, VARIABLES, Variable, effective};
use service_kit::endpoints;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::{Format, OutputArgs, Row};

/// What can be done with the configuration.
#[derive(Debug, clap::Subcommand)]
pub enum ConfigCommand {
    /// Print every value with who says so: a flag, the environment, a line of the file, or the default
    Show(ShowArgs),
}

/// Flags of `show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    flags: Flags,
}

/// The flags of all programs by the names of their variables: the command line one is about to give to a program can be
/// given to `show` instead.
#[derive(Debug, Default)]
struct Flags(BTreeMap<&'static str, String>);

/// Variables with a flag of their own here; those of logging every command has already.
fn own() -> impl Iterator<Item = (&'static Variable, &'static str)> {
    VARIABLES
        .iter()
        .filter_map(|variable| Some((variable, variable.flag()?)))
        .filter(|(_, flag)| !is_global(flag))
}

fn is_global(flag: &str) -> bool {
    GLOBAL.iter().any(|(_, _, global)| *global == flag)
}

/// Variable, clap's id and name of the flags every command has.
const GLOBAL: [(&str, &str, &str); 2] =
    [("RUST_LOG", "log_filter", "log"), ("CEREBROS_LOG_FORMAT", "log_format", "log-format")];

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let own = own().map(|(variable, _)| (variable.name, variable.name));
        for (name, id) in own.chain(GLOBAL.map(|(name, id, _)| (name, id))) {
            // An id another command has not is not an error here: the flag was not given.
            if !matches!(matches.try_contains_id(id), Ok(true))
                || matches.value_source(id) != Some(ValueSource::CommandLine)
            {
                continue;
            }
            let values = matches.get_raw(id).into_iter().flatten();
            let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
            self.0.insert(name, values.join(","));
        }
        Ok(())
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let arg = |(variable, flag): (&'static Variable, &'static str)| {
            Arg::new(variable.name)
                .long(flag)
                .value_name("VALUE")
                .help(format!("{} [env: {}]", variable.help, variable.name))
                .hide_short_help(true)
        };
        command.args(own().map(arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl ConfigCommand {
    /// The output format that was asked for.
    pub(crate) fn format(&self) -> Option<Format> {
        match self {
            Self::Show(args) => args.output.output,
        }
    }
}

/// One variable, for people and machines.
#[derive(Debug, Serialize)]
struct Line {
    name: &'static str,
    key: &'static str,
    value: Option<String>,
    origin: String,
    secret: bool,
    help: &'static str,
}

impl From<Effective> for Line {
    fn from(found: Effective) -> Self {
        let Variable { name, key, secret, help, .. } = *found.variable;
        Self { name, key, value: found.shown, origin: found.origin.to_string(), secret, help }
    }
}

impl Row for Line {
    fn headings() -> &'static [&'static str] {
        &["variable", "value", "origin"]
    }

    fn cells(&self) -> Vec<String> {
        let value = self.value.clone().unwrap_or_else(|| "-".to_owned());
        vec![self.name.to_owned(), value, self.origin.clone()]
    }
}

/// Carries out a command about the configuration.
pub(crate) fn run(command: &ConfigCommand) -> Result<Exit, CliError> {
    match command {
        ConfigCommand::Show(args) => show(args),
    }
}

fn show(args: &ShowArgs) -> Result<Exit, CliError> {
    let file = ConfigFile::load()?;
    let environment = |name: &str| std::env::var(name).ok();
    let look = |stack| effective(&args.flags.0, environment, &file, stack);
    // Where the stack's addresses are is itself configuration.
    let data_dir = look(None).into_iter().find(|found| found.variable.name == "CEREBROS_DATA_DIR");
    let data_dir = data_dir.and_then(|found| found.shown).unwrap_or_default();
    let stack = endpoints::running(Path::new(&data_dir));
    let lines: Vec<Line> = look(stack.as_ref()).into_iter().map(Line::from).collect();
    args.output.printer().rows(&lines)?;
    Ok(Exit::Done)
}
