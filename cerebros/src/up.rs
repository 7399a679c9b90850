//! `cerebros up`: the local stack in the foreground, until somebody stops it.
//!
//! Invariants: `endpoints.json` and the block on standard output appear only when every program of the stack has
//! answered; a second `up` on the same data directory prints the block of the first and changes nothing; when it
//! ends, nothing of the stack is left.

mod block;

use std::time::Duration;

use local_stack::ports::PortChoice;
use service_kit::endpoints::Endpoints;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::{Format, Printer, note, warning};
use service_kit::shutdown::Shutdown;

use crate::assembly::{Assembly, Claim, DataDirArg, Layout, Plan, claim};
use crate::patience::patiently;
use block::Block;

/// Ports nobody has to know, because every command finds the stack; who wants others moves them.
const NATS_PORT: u16 = 4222;
const MLFLOW_PORT: u16 = 5000;
const HTTP_PORT: u16 = 8000;

/// How long services may take to finish what they have in hand. The worker gives its trials twenty seconds of it.
const DRAIN_GRACE: Duration = Duration::from_secs(25);

/// Flags of `up`.
#[derive(Debug, Clone, clap::Args)]
pub struct UpArgs {
    #[command(flatten)]
    data_dir: DataDirArg,
    /// Port of the broker; must be free [default: 4222, or the next free one]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    nats_port: Option<u16>,
    /// Port of MLflow; must be free [default: 5000, or the next free one]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), conflicts_with = "no_mlflow")]
    mlflow_port: Option<u16>,
    /// Port of the worker's health pages, classifier and sink above it; must be free [default: 8000, or the next free]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..=65533))]
    http_port_base: Option<u16>,
    /// Trials trained at once [default: one per core]
    #[arg(long, env = "CEREBROS_SLOTS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    slots: Option<u16>,
    /// Without MLflow and its sink; both catch up when they are there again
    #[arg(long)]
    no_mlflow: bool,
}

impl UpArgs {
    fn plan(&self, layout: Layout) -> Plan {
        let choice =
            |asked: Option<u16>, default| asked.map_or(PortChoice::From(default), PortChoice::Exactly);
        Plan {
            shared: layout.clone(),
            layout,
            nats: choice(self.nats_port, NATS_PORT),
            mlflow: (!self.no_mlflow).then(|| choice(self.mlflow_port, MLFLOW_PORT)),
            http: choice(self.http_port_base, HTTP_PORT),
            slots: self.slots,
        }
    }
}

/// The ports a stack has unless somebody asks for others.
pub(crate) const DEFAULT_PORTS: [(u16, &str); 3] =
    [(NATS_PORT, "the broker"), (MLFLOW_PORT, "MLflow"), (HTTP_PORT, "health pages")];

/// Starts the stack, or finds the one that runs; stays until told to stop.
pub(crate) async fn up(args: UpArgs, shutdown: Shutdown) -> Result<Exit, CliError> {
    let layout = Layout::create(&args.data_dir.data_dir)?;
    let claimed = tokio::select! {
        biased;
        () = shutdown.drain() => return Ok(interrupted(&shutdown)),
        claimed = claim(&layout) => claimed?,
    };
    let _lock = match claimed {
        Claim::Runs(endpoints) => {
            note(format!("the stack is already running (process {})", endpoints.pid));
            print(&endpoints, &layout)?;
            return Ok(Exit::Done);
        }
        Claim::Ours(lock) => lock,
    };
    let plan = args.plan(layout.clone());
    plan.check_ports()?;
    // Until the end of this function, which is the end of the stack: who asks it to stop is told what it waits for.
    let _hold = shutdown.hold(format!("the stack to end, {} s at most", DRAIN_GRACE.as_secs()));
    note(format!("starting a local stack in {}", layout.root().display()));
    let mut assembly = Assembly::new(plan, &shutdown);
    let outcome = serve(&mut assembly, &layout, &shutdown).await;
    let stopped = assembly.stop(DRAIN_GRACE).await;
    let exit = outcome?;
    stopped?;
    note("stopped; nothing is left running");
    Ok(exit)
}

/// From the start to the wish to stop.
async fn serve(assembly: &mut Assembly, layout: &Layout, shutdown: &Shutdown) -> Result<Exit, CliError> {
    let started = tokio::select! {
        biased;
        () = shutdown.drain() => return Ok(interrupted(shutdown)),
        started = start(assembly) => started?,
    };
    started.write(layout.root())?;
    let printed = print(&started, layout);
    if printed.is_ok() {
        shutdown.drain().await;
    }
    if let Err(error) = started.remove(layout.root()) {
        warning(format!("cannot remove {}: {error}", Endpoints::path(layout.root()).display()));
    }
    printed.map(|()| Exit::Done)
}

async fn start(assembly: &mut Assembly) -> Result<Endpoints, CliError> {
    let nats = patiently("the worker", assembly.start()).await?;
    if assembly.has_mlflow() {
        note(format!("the worker is ready at {nats}; waiting for MLflow"));
    }
    let mlflow = patiently("MLflow", assembly.tracking()).await?;
    let (dashboard, pid, version) = (None, std::process::id(), env!("CARGO_PKG_VERSION").to_owned());
    Ok(Endpoints { nats, mlflow, dashboard, pid, version })
}

fn print(endpoints: &Endpoints, layout: &Layout) -> Result<(), CliError> {
    let block = Block::new(endpoints, layout);
    Printer::new(Format::Table).raw(block.to_string().as_bytes())
}

/// Stopped before there was anything to drain.
fn interrupted(shutdown: &Shutdown) -> Exit {
    shutdown.interrupted().unwrap_or(Exit::Interrupted)
}
