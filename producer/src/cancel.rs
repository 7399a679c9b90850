//! `cancel`: asks for the end of a run, and waits a little for it.
//!
//! The request is durable: once the broker has it, the run ends, now or when a worker comes back.

use std::time::Duration;

use futures_util::StreamExt as _;
use schemas::event::RunCancelRequested;
use schemas::lifecycle::RunState;
use schemas::{Event, RunId};
use serde::Serialize;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output;
use service_kit::registry::{self, Registry};
use service_kit::wire::WireArgs;
use tokio::time::timeout;

use crate::connection::Shared;
use crate::runs::{self, Run};
use crate::submit::{envelope, send};

/// How long the end of the run is waited for; children that do not listen are killed long before.
const PATIENCE: Duration = Duration::from_secs(10);

/// The arguments of `cancel`.
#[derive(Debug, clap::Args)]
pub struct CancelArgs {
    /// The run
    #[arg(value_name = "RUN", value_parser = RunId::parse)]
    pub run: RunId,
    /// Why, for people
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// How the request is written.
    #[command(flatten)]
    pub wire: WireArgs,
    /// Broker, output, timeout.
    #[command(flatten)]
    pub shared: Shared,
}

#[derive(Serialize)]
struct Outcome<'a> {
    run_id: &'a RunId,
    state: RunState,
}

/// Carries out `cancel`.
pub(crate) async fn cancel(args: &CancelArgs) -> Result<Exit, CliError> {
    let broker = args.shared.connect().await?;
    let run = args.shared.within(&broker, runs::get(&broker, &args.run)).await?;
    let row = run.row();
    if row.state.is_final() {
        output::note(format!("run {} is over already", args.run));
        return report(args, row.state);
    }
    request(args, &broker, &run).await?;
    let state = match timeout(PATIENCE, end(&broker, &args.run)).await {
        Ok(state) => state?,
        Err(_) => {
            let patience = humantime::format_duration(PATIENCE);
            output::warning(format!(
                "the cancel request is on the stream and the run has not ended within {patience}; \
                 it ends as soon as a worker sees the request"
            ));
            row.state
        }
    };
    report(args, state)
}

/// Publishes the request. The attempt it is addressed to makes its message id: asking twice for the end of one
/// attempt is one request.
async fn request(args: &CancelArgs, broker: &Broker, run: &Run) -> Result<(), CliError> {
    let event = RunCancelRequested { run_id: args.run.clone(), reason: args.reason.clone() };
    let attempt = run.row().attempt;
    let encoding = args.shared.within(broker, args.wire.ready(broker)).await?;
    let message = envelope::outgoing(broker, &Event::from(event), &args.run, attempt, encoding)?;
    send(broker, &message, args.shared.timeout).await.map(drop)
}

/// Waits until the registry shows the run over.
async fn end(broker: &Broker, run: &RunId) -> Result<RunState, CliError> {
    let registry = Registry::open(broker).await?;
    let mut changes = registry.watch(run).await.map_err(|error| runs::unavailable(&error))?;
    while let Some(change) = changes.next().await {
        let entry = change.map_err(|error| {
            CliError::new("registry-unreadable", Exit::Unreachable, "the run registry cannot be followed")
                .because(error)
        })?;
        if let Some(state) =
            registry::read(&entry).map(|held| held.record.state).filter(|state| state.is_final())
        {
            return Ok(state);
        }
    }
    Err(CliError::new(
        "registry-unreadable",
        Exit::Unreachable,
        "the run registry stopped telling of changes",
    ))
}

fn report(args: &CancelArgs, state: RunState) -> Result<Exit, CliError> {
    let outcome = Outcome { run_id: &args.run, state };
    args.shared.output.printer().object(&outcome, |out| writeln!(out, "{} {state}", args.run))?;
    Ok(Exit::Done)
}
