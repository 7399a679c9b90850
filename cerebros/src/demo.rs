//! `cerebros demo`: from nothing to the best model, and back to nothing.
//!
//! A pipeline of its own on free ports, one search, the best model brought home, everything stopped.
//!
//! Invariants:
//! - exit 0 only if the search succeeded and every trial of it is in MLflow;
//! - what is printed as result is read from the events and from MLflow, not remembered on the way;
//! - nothing is left but the tools, the model, and what `--keep` asked for.

mod home;
mod live;
mod model;
mod report;
mod request;
mod search;
mod tracked;

use std::time::{Duration, Instant};

use local_stack::ports::PortChoice;
use producer::spec::Assignment;
use service_kit::broker::Broker;
use service_kit::config::BrokerTarget;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::{Format, OutputArgs, note, warning};
use service_kit::shutdown::Shutdown;

use crate::assembly::{Assembly, DataDirArg, Layout, Plan};
use crate::patience::patiently;
use home::{Home, Stays};
use report::{Elapsed, Report};

/// How long a broker that has just said that it is ready may take.
const BROKER_PATIENCE: Duration = Duration::from_secs(5);

/// How long the services may take to end when nothing they have in hand is of use any more.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// Flags of `demo`.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoArgs {
    /// A JSON file, or the JSON itself [default: a genetic search over networks for the data set digits]
    #[arg(value_name = "SPEC")]
    spec: Option<String>,
    /// Sets a field of the spec; the value is JSON, a bare word is a text
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<Assignment>,
    /// Keep streams, MLflow and logs, to look at with `up`
    #[arg(long)]
    keep: bool,
    /// Trials trained at once [default: one per core]
    #[arg(long, env = "CEREBROS_SLOTS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    slots: Option<u16>,
    #[command(flatten)]
    data_dir: DataDirArg,
    #[command(flatten)]
    output: OutputArgs,
}

impl DemoArgs {
    /// The output format that was asked for.
    pub(crate) fn format(&self) -> Option<Format> {
        self.output.output
    }
}

/// Carries out the demo.
pub(crate) async fn demo(args: DemoArgs, shutdown: Shutdown) -> Result<Exit, CliError> {
    let request = request::read(args.spec.as_deref(), &args.set).await?;
    let base = Layout::create(&args.data_dir.data_dir)?;
    let home = Home::create(&base)?;
    let hold = shutdown.hold("the pipeline to end");
    let mut assembly = Assembly::new(plan(&args, &base, &home), &shutdown);
    let outcome = tokio::select! {
        biased;
        () = shutdown.drain() => Ok(None),
        report = search_and_track(&mut assembly, request, &base) => report.map(Some),
    };
    // What is in hand is of no use to anybody once the demo is over.
    let stopped = assembly.stop(STOP_GRACE).await;
    let has_failed = match &outcome {
        Ok(Some(report)) => report.exit() != Exit::Done,
        Ok(None) => false,
        Err(_) => true,
    };
    let kept = home.leave(match (args.keep, has_failed) {
        (true, _) => Stays::Everything,
        (false, true) => Stays::Logs,
        (false, false) => Stays::Nothing,
    });
    drop(hold);
    let Some(mut report) = outcome? else {
        return Ok(shutdown.interrupted().unwrap_or(Exit::Interrupted));
    };
    stopped?;
    report.kept = kept;
    report.print(&args.output.printer())?;
    match report.untracked.take() {
        Some(error) => Err(error),
        None => Ok(report.exit()),
    }
}

fn plan(args: &DemoArgs, base: &Layout, home: &Home) -> Plan {
    Plan {
        layout: home.layout().clone(),
        shared: base.clone(),
        nats: PortChoice::Any,
        mlflow: Some(PortChoice::Any),
        http: PortChoice::Any,
        slots: args.slots,
    }
}

async fn search_and_track(
    assembly: &mut Assembly,
    request: schemas::event::RunRequested,
    base: &Layout,
) -> Result<Report, CliError> {
    let began = Instant::now();
    note(format!("starting a pipeline of its own under {}", base.root().display()));
    let url = patiently("the worker", assembly.start()).await?;
    let broker = Broker::connect(&BrokerTarget::at(&url)?, "cerebros-demo", BROKER_PATIENCE).await?;
    let requested = Instant::now();
    let found = search::run(&broker, &request).await?;
    let search_took = requested.elapsed();
    let files = match model::bring_home(&broker, &found, base).await {
        Ok(files) => files,
        Err(error) => {
            warning(format!("the model stays behind: {error}"));
            Vec::new()
        }
    };
    let mut report = Report::of(&request, found, files, base);
    if report.is_success() {
        match tracked::wait(assembly, &request, &report).await {
            Ok(tracked) => report.tracked = Some(tracked),
            // The search is done, and its result is not to be lost with MLflow.
            Err(error) => report.untracked = Some(error),
        }
    }
    report.elapsed = Elapsed {
        install: assembly.install_took,
        first_trial: report.first_trial.map(|first| first.duration_since(began)),
        search: search_took,
        mlflow: report.tracked.as_ref().map(|_| requested.elapsed()),
        total: began.elapsed(),
    };
    Ok(report)
}
