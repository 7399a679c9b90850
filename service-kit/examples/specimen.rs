//! The smallest program of the house, and what the tests of [`service_kit::program`] start: one way of living per
//! command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde::Serialize;
use service_kit::config::{BrokerArgs, GateArgs};
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::{Format, OutputArgs, Row};
use service_kit::program::{self, Cli, Kind};
use service_kit::shutdown::Shutdown;

fn main() -> ExitCode {
    program::run("specimen", live)
}

/// Lives in one way.
#[derive(Parser)]
struct Specimen {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    gates: GateArgs,
    #[command(subcommand)]
    life: Life,
}

#[derive(Subcommand)]
enum Life {
    /// Prints as many rows as asked for
    List {
        #[arg(default_value_t = 1)]
        rows: usize,
    },
    /// Prints where the data goes
    Where,
    /// Prints which broker it would use
    Broker,
    /// Prints whether the gates are open
    Gates,
    /// Waits without an end, as a client
    Wait,
    /// Waits for the drain, as a service
    Serve,
    /// Waits for the second signal, as a service
    Cling,
    /// Meets a state it was not written for
    Panic,
}

impl Cli for Specimen {
    fn output(&self) -> Option<Format> {
        self.output.output
    }

    fn kind(&self) -> Kind {
        match self.life {
            Life::Serve | Life::Cling => Kind::Service,
            Life::List { .. } | Life::Where | Life::Broker | Life::Gates | Life::Wait | Life::Panic => {
                Kind::Client
            }
        }
    }
}

#[derive(Serialize)]
struct Line {
    number: usize,
}

impl Row for Line {
    fn headings() -> &'static [&'static str] {
        &["number"]
    }

    fn cells(&self) -> Vec<String> {
        vec![self.number.to_string()]
    }
}

async fn live(specimen: Specimen, shutdown: Shutdown) -> Result<Exit, CliError> {
    let printer = specimen.output.printer();
    match specimen.life {
        Life::List { rows } => printer.rows(&(0..rows).map(|number| Line { number }).collect::<Vec<_>>())?,
        Life::Where => printer.line(specimen.broker.data_dir.display())?,
        Life::Broker => printer.line(specimen.broker.resolve()?.url)?,
        Life::Gates => printer.line(specimen.gates.gates()?.closed().unwrap_or("open"))?,
        Life::Wait => {
            printer.line("waiting")?;
            std::future::pending::<()>().await;
        }
        Life::Serve => {
            let _hold = shutdown.hold("nothing in particular");
            printer.line("serving")?;
            shutdown.drain().await;
        }
        Life::Cling => {
            printer.line("clinging")?;
            shutdown.drain().await;
            printer.line("draining")?;
            shutdown.now().await;
        }
        Life::Panic => panic!("as asked for"),
    }
    Ok(Exit::Done)
}
