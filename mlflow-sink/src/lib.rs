//! Runs and trials into MLflow: one parent run per search, one nested run per trial, each value once.
//!
//! The way of an event: [`serve`] takes it from the broker, [`lanes`] keeps the events of a run in order,
//! [`projection`] decides what it becomes, [`writer`] finds out what of it is missing (with the [`ledger`]'s help)
//! and writes that through the [`client`]; then it is acked. While MLflow is away the [`gate`] is shut.
//!
//! Invariants:
//! - the truth is in the stream and in MLflow: replaying the stream, or deleting the ledger, changes nothing there;
//! - an outage of MLflow, however long, pauses the consumer and never makes a dead letter;
//! - an event MLflow refuses for good becomes one dead letter with MLflow's words, and holds up nobody else;
//! - an event that cannot be read becomes the dead letter the classifier would write, or has written.
//!
//! Of several sinks one takes events and writes, by its [`lease`]; the others stand by and go on when it is gone.
//!
//! Deliberately not here: sharing the work of one stream among several sinks.

pub mod check;
pub mod client;
mod fence;
pub mod gate;
pub mod lanes;
pub mod lease;
pub mod ledger;
pub mod numbers;
mod progress;
pub mod projection;
mod rebuild;
mod replay;
mod serve;
mod target;
mod unsettled;
pub mod writer;

use std::sync::Arc;
use std::time::Duration;

use service_kit::births::Births;
use service_kit::broker::Broker;
use service_kit::config::BrokerArgs;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::health::{Health, HealthArgs};
use service_kit::metrics::Metrics;
use service_kit::output::Format;
use service_kit::program::{self, Kind};
use service_kit::registry::Registry;
use service_kit::shutdown::Shutdown;
use service_kit::{health, topology};
use tokio::sync::watch;

use client::Client;
use gate::Gate;
use ledger::Ledger;
use numbers::Numbers;
pub use target::TargetArgs;
use writer::Writer;

/// Port of the health pages when none is asked for.
const HEALTH_PORT: u16 = 8001;
/// How long the broker is waited for at the start.
const BROKER_PATIENCE: Duration = Duration::from_secs(30);

/// Writes runs and trials into MLflow.
#[derive(Debug, clap::Parser)]
#[command(name = "mlflow-sink")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Write every run and trial into MLflow, from the first event on
    Serve(Box<ServeArgs>),
    /// Compare MLflow with the stream; with --repair, mend what differs
    Check(Box<check::CheckArgs>),
    /// Fill an empty MLflow from the stream
    Rebuild(Box<rebuild::RebuildArgs>),
    /// Ask a running sink whether it is ready, for a container's health check
    Probe(ProbeArgs),
}

/// Flags of `serve`.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    health: HealthArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// Flags of `probe`.
#[derive(Debug, clap::Args)]
pub struct ProbeArgs {
    /// Address of the sink's pages
    #[arg(long = "http", value_name = "ADDR", default_value_t = std::net::SocketAddr::from(([127, 0, 0, 1], HEALTH_PORT)))]
    http: std::net::SocketAddr,
}

impl program::Cli for Cli {
    fn output(&self) -> Option<Format> {
        self.command.output()
    }

    fn kind(&self) -> Kind {
        self.command.kind()
    }
}

impl Command {
    /// The format asked for, if any.
    pub fn output(&self) -> Option<Format> {
        match self {
            Self::Check(args) => args.output.output,
            Self::Rebuild(args) => args.output.output,
            Self::Serve(_) | Self::Probe(_) => None,
        }
    }

    /// How the command lives.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Serve(_) => Kind::Service,
            Self::Check(_) | Self::Rebuild(_) | Self::Probe(_) => Kind::Client,
        }
    }
}

/// Runs a command to its end.
///
/// # Errors
/// What the command met, with its remedy.
pub async fn run(command: Command, shutdown: Shutdown) -> Result<Exit, CliError> {
    match command {
        Command::Serve(args) => serve(*args, shutdown).await?,
        Command::Check(args) => return check::check(&args).await,
        Command::Rebuild(args) => return rebuild::rebuild(&args).await,
        Command::Probe(args) => drop(health::probe(args.http, "/readyz").await?),
    }
    Ok(Exit::Done)
}

async fn serve(args: ServeArgs, shutdown: Shutdown) -> Result<(), CliError> {
    let tracking = args.target.mlflow.tracking(&args.broker.data_dir)?;
    let pages = args.target.pages(&tracking)?;
    let target = args.broker.resolve()?;
    let dir = args.broker.data_dir.join("mlflow-sink");
    let ledger = Ledger::open(&dir).await?;
    let name = ledger::name_of_this_sink(&dir)?;
    let (health, metrics) = (Health::new("mlflow-sink"), Metrics::new());
    let (broker_health, mlflow_health) = (health.component("broker"), health.component("mlflow"));
    let lag = serve::lag::Page::of(&health);
    args.health.serve(HEALTH_PORT, health, metrics.clone(), shutdown.clone()).await?;
    let broker = tokio::select! {
        broker = Broker::connect(&target, "mlflow-sink", BROKER_PATIENCE) => broker?,
        () = shutdown.drain() => return Ok(()),
    };
    topology::ensure(&broker).await?;
    let registry = Registry::open(&broker).await?;
    let births = Births::open(&broker).await?;
    let numbers = Numbers::new(&metrics);
    let client = Arc::new(Client::guarded(tracking)?);
    let gate = Gate::new(Arc::clone(&client), mlflow_health, numbers.outages.clone());
    let dashboard = args.target.dashboard(&args.broker);
    let filing = args.target.filing();
    let writer = Writer::new(client, ledger.clone(), registry, births, name.clone(), filing)
        .with_dashboard(dashboard)
        .with_pages(pages)
        .with_models(broker.clone());
    let writer = Arc::new(writer);
    let leader = serve::leader::Leader::stand(&broker, name, ledger).await?;
    let (writes, may_sweep) = watch::channel(false);
    let sink = serve::Sink {
        broker: broker.clone(),
        writer: Arc::clone(&writer),
        gate,
        numbers,
        broker_health,
        writes,
    };
    let sweeping = writer::sweep::sweep_now_and_then(writer, broker.clone(), may_sweep, leader.terms());
    tokio::select! {
        ended = serve::run(sink, leader, lag, shutdown) => ended?,
        () = sweeping => {}
        error = broker.gone() => return Err(error),
    }
    broker.flush().await;
    Ok(())
}
