//! Which MLflow is written, and how runs are filed and described there: the flags that all commands have in common, and
//! what the commands for people stand on.

use std::sync::Arc;
use std::time::Duration;

use service_kit::births::Births;
use service_kit::broker::Broker;
use service_kit::config::BrokerArgs;
use service_kit::endpoints;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::mlflow::ServerArgs;
use service_kit::mlflow::page::Pages;
use service_kit::mlflow::tracking::Tracking;
use service_kit::registry::Registry;

use crate::client::Client;
use crate::client::error::ClientError;
use crate::ledger::Ledger;
use crate::writer::experiment::Filing;
use crate::writer::{Stopped, Writer};

/// Experiment of runs that name none, where nobody names one.
const EXPERIMENT: &str = "cerebros";
/// How long the broker is waited for by a command.
const PATIENCE: Duration = Duration::from_secs(5);

/// Flags about MLflow.
#[derive(Debug, clap::Args)]
pub struct TargetArgs {
    #[command(flatten)]
    pub(crate) mlflow: ServerArgs,
    /// Experiment of runs that name none [default: that of --mlflow-experiment-id, else cerebros]
    #[arg(long, env = "MLFLOW_EXPERIMENT_NAME", value_name = "NAME")]
    mlflow_experiment: Option<String>,
    /// The same by its id; together with a name it has to be that of the name
    #[arg(long, env = "MLFLOW_EXPERIMENT_ID", value_name = "ID", hide_short_help = true)]
    mlflow_experiment_id: Option<String>,
    /// URL under which people open MLflow [default: the one events are written to]
    #[arg(long, env = "CEREBROS_MLFLOW_PUBLIC_URL", value_name = "URL")]
    mlflow_public_url: Option<String>,
    /// URL of the dashboard the notes of the runs lead to [default: the running local stack's, else none]
    #[arg(long, env = "CEREBROS_DASHBOARD_URL", value_name = "URL")]
    pub(crate) dashboard_url: Option<String>,
}

impl TargetArgs {
    /// The dashboard the notes lead to.
    pub(crate) fn dashboard(&self, broker: &BrokerArgs) -> Option<String> {
        let of_the_stack = || endpoints::running(&broker.data_dir).and_then(|stack| stack.dashboard);
        self.dashboard_url.clone().or_else(of_the_stack)
    }

    /// Where runs are filed that name no experiment.
    pub(crate) fn filing(&self) -> Filing {
        Filing::new(self.mlflow_experiment.clone(), self.mlflow_experiment_id.clone(), EXPERIMENT)
    }

    /// Where people open what is written.
    pub(crate) fn pages(&self, tracking: &Tracking) -> Result<Pages, CliError> {
        Pages::of(tracking, self.mlflow_public_url.as_deref())
    }
}

/// What a command for people stands on.
pub(crate) struct Tools {
    pub(crate) broker: Broker,
    pub(crate) client: Arc<Client>,
    pub(crate) registry: Registry,
    pub(crate) births: Births,
    pages: Pages,
}

impl Tools {
    /// Connects to the broker, and sees that MLflow answers.
    pub(crate) async fn open(target: &TargetArgs, args: &BrokerArgs) -> Result<Self, CliError> {
        let tracking = target.mlflow.tracking(&args.data_dir)?;
        let pages = target.pages(&tracking)?;
        let broker = Broker::connect(&args.resolve()?, "mlflow-sink", PATIENCE).await?;
        let client = Arc::new(Client::new(tracking)?);
        client.probe().await.map_err(|error| unreachable(&client, &error))?;
        let (registry, births) = (Registry::open(&broker).await?, Births::open(&broker).await?);
        Ok(Self { broker, client, registry, births, pages })
    }

    /// A writer that remembers nothing: it looks everything up.
    pub(crate) fn writer(
        &self,
        name: &str,
        ledger: Ledger,
        target: &TargetArgs,
        args: &BrokerArgs,
    ) -> Arc<Writer> {
        let (client, registry, births) =
            (Arc::clone(&self.client), self.registry.clone(), self.births.clone());
        let writer = Writer::new(client, ledger, registry, births, name.to_owned(), target.filing())
            .with_dashboard(target.dashboard(args))
            .with_pages(self.pages.clone())
            .with_models(self.broker.clone());
        Arc::new(writer)
    }
}

/// MLflow cannot be used.
pub(crate) fn unreachable(client: &Client, error: &ClientError) -> CliError {
    CliError::new("mlflow-unusable", Exit::Unreachable, format!("MLflow at {} cannot be used", client.url()))
        .because(error)
        .help("is it up, and are address and credentials right? `cerebros doctor` tells")
}

/// A step of a repair cannot be done now.
pub(crate) fn stopped(stopped: &Stopped) -> CliError {
    CliError::new(
        "mlflow-unusable",
        Exit::Unreachable,
        "MLflow, or the broker, stopped answering in the middle",
    )
    .because(&stopped.reason)
    .help("run the command again: what is done stays done")
}

/// The births cannot be read.
pub(crate) fn no_births(error: impl std::fmt::Display) -> CliError {
    CliError::new("births-unreadable", Exit::Unreachable, "the broker does not say which MLflow run is whose")
        .because(error)
        .help("is the broker up? `cerebros doctor` tells")
}
