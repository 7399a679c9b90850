//! The file's place between the environment and the defaults.

use std::error::Error as _;
use std::ffi::OsStr;

use clap::builder::Resettable;
use clap::{Arg, Command};

use super::file::ConfigFile;
use super::variables;
use crate::error::CliError;
use crate::exit::Exit;

/// Makes what the file sets the default of every argument that names the variable, in every subcommand.
///
/// # Errors
/// When the file sets a value that an argument does not take: exit code 2.
pub fn layered(command: Command, file: &ConfigFile) -> Result<Command, CliError> {
    let mut refused = None;
    let command = walk(command, file, &mut refused);
    refused.map_or(Ok(command), Err)
}

fn walk(command: Command, file: &ConfigFile, refused: &mut Option<CliError>) -> Command {
    command
        .mut_args(|arg| layer(arg, file, refused))
        .mut_subcommands(|subcommand| walk(subcommand, file, refused))
}

fn layer(arg: Arg, file: &ConfigFile, refused: &mut Option<CliError>) -> Arg {
    let Some(name) = arg.get_env().and_then(OsStr::to_str).map(str::to_owned) else {
        return arg;
    };
    let arg = if is_set_and_empty(&name) { without_environment(arg, &name) } else { arg };
    let Some(value) = file.get(&name).filter(|_| !is_overruled_by_alias(&name)) else {
        return arg;
    };
    if let Some(because) = refusal(&arg, value) {
        let key = variables::variable(&name).map_or(name.as_str(), |variable| variable.key);
        let what = format!("`{key}` in {} has a value that is not taken", file.path().display());
        refused.get_or_insert(CliError::new("config-value", Exit::Usage, what).because(because));
    }
    let is_secret = variables::variable(&name).is_some_and(|variable| variable.secret);
    let arg = arg.required(false).default_value(value.to_owned());
    if is_secret { arg.hide_default_value(true) } else { arg }
}

fn is_set_and_empty(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value.is_empty())
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// The help keeps naming the variable.
fn without_environment(arg: Arg, name: &str) -> Arg {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    arg.env(Resettable::<clap::builder::OsStr>::Reset).help(format!("{help} [env: {name}=]"))
}

/// An alias in the environment stands above the file, as the variable itself would.
fn is_overruled_by_alias(name: &str) -> bool {
    variables::VARIABLES.iter().any(|variable| variable.alias_of == Some(name) && is_set(variable.name))
}

/// Why the argument does not take the value; asked of the argument's own parser, alone.
fn refusal(arg: &Arg, value: &str) -> Option<String> {
    let mut alone = Arg::new("value").allow_hyphen_values(true).value_parser(arg.get_value_parser().clone());
    if let Some(delimiter) = arg.get_value_delimiter() {
        alone = alone.value_delimiter(delimiter);
    }
    let command = Command::new("value")
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(alone);
    let error = command.try_get_matches_from([value]).err()?;
    let reason = error.source().map(ToString::to_string);
    Some(reason.unwrap_or_else(|| {
        let text = error.to_string();
        let possible = text.lines().find_map(|line| line.trim().strip_prefix("[possible values: "));
        possible.map_or_else(
            || "it cannot be read".to_owned(),
            |values| format!("it takes {}", values.trim_end_matches(']')),
        )
    }))
}

#[cfg(test)]
mod tests {
    use clap::{ArgAction, ArgMatches, value_parser};

    use super::*;

    /// Cargo sets this one for every test, so it stands for a variable of the environment.
    const IN_ENVIRONMENT: &str = "CARGO_PKG_NAME";

    fn command() -> Command {
        let slots = Arg::new("slots")
            .long("slots")
            .env("CEREBROS_SLOTS")
            .value_parser(value_parser!(u32))
            .required(true);
        let script = Arg::new("script").long("script").env("CEREBROS_SCRIPT").default_value("built in");
        let cache = Arg::new("cache").long("cache").env("CEREBROS_CACHE_ENABLED").action(ArgAction::SetTrue);
        Command::new("test").subcommand(Command::new("serve").args([slots, script, cache]))
    }

    fn matches(file: &str, arguments: &[&str]) -> ArgMatches {
        let file = ConfigFile::parse(file, "cerebros.toml").unwrap();
        let all = [&["test", "serve"], arguments].concat();
        let matches = layered(command(), &file).unwrap().try_get_matches_from(all).unwrap();
        matches.subcommand_matches("serve").unwrap().clone()
    }

    #[test]
    fn the_file_stands_above_the_default_and_below_the_flag() {
        let found = matches("slots = 2\nscript = \"mine\"\ncache_enabled = true", &[]);
        assert_eq!(found.get_one::<u32>("slots"), Some(&2));
        assert_eq!(found.get_one::<String>("script").unwrap(), "mine");
        assert!(found.get_flag("cache"));
        let found = matches("slots = 2", &["--slots", "3"]);
        assert_eq!(found.get_one::<u32>("slots"), Some(&3));
        assert_eq!(found.get_one::<String>("script").unwrap(), "built in");
    }

    #[test]
    fn the_environment_stands_above_a_default() {
        let arg = Arg::new("x").env(IN_ENVIRONMENT).default_value("from the file");
        let found = Command::new("test").arg(arg).try_get_matches_from(["test"]).unwrap();
        assert_eq!(found.get_one::<String>("x").unwrap(), env!("CARGO_PKG_NAME"));
    }

    #[test]
    fn a_value_that_is_not_taken_names_the_file_and_the_key() {
        let file = ConfigFile::parse("slots = -1", "cerebros.toml").unwrap();
        let error = layered(command(), &file).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert_eq!(error.what, "`slots` in cerebros.toml has a value that is not taken");
        assert!(error.because.unwrap().contains("-1"));
    }

    #[test]
    fn a_value_outside_a_list_names_the_list() {
        let arg = Arg::new("f").long("f").env("CEREBROS_LOG_FORMAT").value_parser(["text", "json"]);
        let file = ConfigFile::parse("log_format = \"xml\"", "cerebros.toml").unwrap();
        let error = layered(Command::new("test").arg(arg), &file).unwrap_err();
        assert_eq!(error.because.unwrap(), "it takes text, json");
    }

    #[test]
    fn a_secret_of_the_file_is_not_in_the_help() {
        let arg = Arg::new("p").long("p").env("NATS_PASSWORD");
        let file = ConfigFile::parse("nats_password = \"hunter2\"", "cerebros.toml").unwrap();
        let help = layered(Command::new("test").arg(arg), &file).unwrap().render_long_help().to_string();
        assert!(help.contains("NATS_PASSWORD") && !help.contains("hunter2"), "{help}");
    }
}
