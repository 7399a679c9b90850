//! The starts of broker and MLflow, and of the sink, which needs both.

use std::path::PathBuf;

use local_stack::install::{self, Tools};
use local_stack::ports::{self, PortChoice};
use local_stack::readiness::StartError;
use local_stack::{Broker, BrokerConfig, Mlflow, MlflowConfig};
use service_kit::error::CliError;
use service_kit::output::note;
use service_kit::shutdown::Shutdown;

use super::ATTEMPTS;
use super::faults::{not_installed, not_started};
use super::keeper::{Keeper, Part};
use super::plan::Plan;
use super::service::{Service, ServiceConfig};

/// MLflow and the sink, running.
pub(super) struct Tracking {
    pub(super) url: String,
    pub(super) mlflow: Keeper,
    pub(super) sink: Keeper,
}

/// A port that nobody asked for and that is lost between choosing and binding is chosen again.
pub(super) async fn start_broker(plan: &Plan, binary: PathBuf) -> Result<Broker, CliError> {
    let mut config = BrokerConfig::new(binary, plan.layout.broker(), plan.layout.log("broker"));
    config.port = plan.nats;
    let mut attempt = 1;
    loop {
        let broker = match Broker::start(config.clone()).await {
            Ok(broker) => broker,
            Err(StartError::Ended { printed, .. })
                if printed.contains("address already in use") && attempt < ATTEMPTS =>
            {
                attempt += 1;
                continue;
            }
            Err(error) => return Err(not_started(&error)),
        };
        say_moved("the broker", broker.moved_from(), broker.port());
        return Ok(broker);
    }
}

pub(super) async fn start_tracking(
    plan: Plan,
    port: PortChoice,
    tools: Tools,
    sink: ServiceConfig,
    shutdown: Shutdown,
) -> Result<Tracking, CliError> {
    let python = install::mlflow(&tools).await.map_err(|error| not_installed(&error))?;
    let mut config = MlflowConfig::new(python, plan.layout.mlflow(), plan.layout.log("mlflow"));
    config.port = port;
    let mlflow = Mlflow::start(config).await.map_err(|error| not_started(&error))?;
    say_moved("MLflow", mlflow.moved_from(), mlflow.port());
    let url = mlflow.url();
    let mlflow = Keeper::of(Part::Mlflow(mlflow), &shutdown);
    let sink =
        Service::start(sink.env("MLFLOW_TRACKING_URI", &url)).await.map_err(|error| not_started(&error))?;
    Ok(Tracking { url, mlflow, sink: Keeper::of(Part::Service(sink), &shutdown) })
}

fn say_moved(program: &str, from: Option<u16>, to: u16) {
    if let Some(from) = from {
        let owner = ports::owner(from).map(|pid| format!(" by process {pid}")).unwrap_or_default();
        note(format!("port {from} is in use{owner}: {program} has port {to}"));
    }
}
