//! The command line.

use clap::Subcommand;
use clap_complete::Shell;
use service_kit::output::Format;
use service_kit::program::{self, Kind};

use crate::config::ConfigCommand;
use crate::demo::DemoArgs;
use crate::doctor::DoctorArgs;
use crate::events::EventsCommand;
use crate::schemas::SchemasCommand;
use crate::up::UpArgs;

/// Architecture search on an event stream: requests in, trials out while they happen.
#[derive(Debug, clap::Parser)]
#[command(
    name = "cerebros",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:
  cerebros demo
  cerebros up
  cerebros run submit --set dataset_id=digits --watch"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Everything the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole pipeline on this machine, until Ctrl-C
    Up(UpArgs),
    /// Search once on a pipeline of its own, print the best model, leave nothing running
    Demo(DemoArgs),
    /// Check this machine and the pipeline, one line per check
    Doctor(DoctorArgs),
    /// Ask for searches and follow them
    Run {
        /// What to do.
        #[command(subcommand)]
        command: producer::Command,
    },
    /// Look at dead letters, repair and replay them
    Dlq {
        /// What to do.
        #[command(subcommand)]
        command: dlq_classifier::Operator,
    },
    /// See the events of the stream
    Events {
        /// What to do.
        #[command(subcommand)]
        command: EventsCommand,
    },
    /// See the configuration
    Config {
        /// What to do.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// See, check and export the schemas of the events
    Schemas {
        /// What to do.
        #[command(subcommand)]
        command: SchemasCommand,
    },
    /// The service that trains candidates
    Worker {
        /// What to do.
        #[command(subcommand)]
        command: bridge_worker::Command,
    },
    /// The service that writes into MLflow
    Sink {
        /// What to do.
        #[command(subcommand)]
        command: mlflow_sink::Command,
    },
    /// The service that finds malformed events
    Classifier {
        /// What to do.
        #[command(subcommand)]
        command: dlq_classifier::Service,
    },
    /// Print the completions for a shell
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: Shell,
    },
}

impl program::Cli for Cli {
    fn output(&self) -> Option<Format> {
        match &self.command {
            Command::Demo(args) => args.format(),
            Command::Doctor(args) => args.format(),
            Command::Run { command } => command.output(),
            Command::Dlq { command } => command.output(),
            Command::Events { command } => command.format(),
            Command::Config { command } => command.format(),
            Command::Schemas { command } => command.format(),
            Command::Worker { command } => command.output(),
            Command::Sink { command } => command.output(),
            Command::Up(_) | Command::Classifier { .. } | Command::Completions { .. } => None,
        }
    }

    fn kind(&self) -> Kind {
        match &self.command {
            Command::Worker { command } => command.kind(),
            Command::Sink { command } => command.kind(),
            Command::Classifier { command } => match command {
                dlq_classifier::Service::Serve(_) => Kind::Service,
            },
            // It serves, but people read what it says; its hold gives it the time a service has, and it ends with 0.
            Command::Up(_)
            | Command::Demo(_)
            | Command::Doctor(_)
            | Command::Run { .. }
            | Command::Dlq { .. }
            | Command::Events { .. }
            | Command::Config { .. }
            | Command::Schemas { .. }
            | Command::Completions { .. } => Kind::Client,
        }
    }

    fn is_on_one_thread(&self) -> bool {
        matches!(&self.command, Command::Dlq { command } if command.is_on_one_thread())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound_with_every_program_mounted() {
        Cli::command().debug_assert();
    }
}
