//! Logs, on standard error: text for people, JSON for machines.
//!
//! Invariants: a closed standard error never ends a program; nobody's colours in a pipe; who logs bounds the text
//! that came from outside ([`bounded`]) and logs neither bodies nor secrets.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, Stderr, plain_text};
use crate::program::Kind;

/// Longest text from outside in one log line, in characters.
const QUOTE_LIMIT: usize = 300;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people; without the time on a terminal.
    Text,
    /// One object a line.
    Json,
}

/// The flags of everything that logs; [`crate::program::run`] adds them to every program.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// What is logged: a level, or levels by module such as `info,async_nats=debug`
    #[arg(
        id = "log_filter",
        long = "log",
        env = "RUST_LOG",
        global = true,
        value_name = "FILTER",
        hide_short_help = true
    )]
    pub filter: Option<String>,
    /// How it is logged [default: text on a terminal and for commands, json for services elsewhere]
    #[arg(
        long = "log-format",
        env = "CEREBROS_LOG_FORMAT",
        global = true,
        value_enum,
        value_name = "FORMAT",
        hide_short_help = true
    )]
    pub log_format: Option<LogFormat>,
}

impl LogArgs {
    /// Starts logging as these flags, or the habits of `kind`, want it.
    ///
    /// # Errors
    /// When the filter cannot be understood.
    pub fn start(&self, service: &str, kind: Kind) -> Result<(), CliError> {
        let is_terminal = io::stderr().is_terminal();
        let (filter, format) = match kind {
            Kind::Service if !is_terminal => ("info,async_nats=warn", LogFormat::Json),
            Kind::Service => ("info,async_nats=warn", LogFormat::Text),
            Kind::Client => ("warn,async_nats=error", LogFormat::Text),
        };
        init(service, self.log_format.unwrap_or(format), self.filter.as_deref().unwrap_or(filter))
    }
}

/// Starts logging once per process; later calls change nothing.
///
/// # Errors
/// When `filter` cannot be understood: exit code 2.
pub fn init(service: &str, format: LogFormat, filter: &str) -> Result<(), CliError> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        CliError::new("log-filter-invalid", Exit::Usage, format!("cannot understand the log filter `{filter}`"))
            .because(error)
            .help("RUST_LOG takes a level (error, warn, info, debug, trace), or levels by module: info,async_nats=debug")
    })?;
    let is_terminal = io::stderr().is_terminal();
    let base =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(NeverFails).log_internal_errors(false);
    let started = match format {
        LogFormat::Json => {
            base.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
        }
        LogFormat::Text => {
            let text = base.with_target(false).with_ansi(is_terminal && !output::is_colour_refused());
            if is_terminal { text.without_time().try_init() } else { text.try_init() }
        }
    };
    if started.is_ok() {
        if format == LogFormat::Json {
            output::speak_json();
            std::panic::set_hook(Box::new(|panic| tracing::error!("{}", bounded(&panic.to_string()))));
        }
        tracing::debug!(service, version = env!("CARGO_PKG_VERSION"), "logging started");
    }
    Ok(())
}

/// Text from outside, short and harmless enough for a log line.
pub fn bounded(text: &str) -> String {
    plain_text::one_line(text, QUOTE_LIMIT)
}

#[derive(Debug, Clone, Copy)]
struct NeverFails;

impl MakeWriter<'_> for NeverFails {
    type Writer = Stderr;

    fn make_writer(&self) -> Stderr {
        Stderr
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logging_starts_once_and_stays() {
        assert_eq!(init("test", LogFormat::Text, "warn"), Ok(()));
        assert_eq!(init("test", LogFormat::Text, "info"), Ok(()));
    }

    #[test]
    fn a_filter_nobody_understands_is_a_usage_error() {
        let error = init("test", LogFormat::Text, "info,=,=").unwrap_err();
        assert_eq!((error.code, error.exit), ("log-filter-invalid", Exit::Usage));
    }

    #[test]
    fn quoted_text_is_bounded_and_harmless() {
        assert!(bounded(&"x".repeat(10_000)).len() < 400);
        assert_eq!(bounded("a\nb"), "a\\nb");
    }
}
