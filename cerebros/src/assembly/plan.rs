//! What to assemble: the ports that are asked for, and what our services are told.

use std::path::PathBuf;

use local_stack::ports::{self, PortChoice};
use service_kit::error::CliError;

use super::faults::no_port;
use super::layout::Layout;
use super::service::ServiceConfig;

/// Services with health pages: worker, classifier, sink.
const SERVICES: u16 = 3;

/// What to assemble.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Where everything lies.
    pub(crate) layout: Layout,
    /// Data directory whose tools and data sets are used: our own, or one that several stacks share.
    pub(crate) shared: Layout,
    /// Port of the broker.
    pub(crate) nats: PortChoice,
    /// Port of MLflow; `None` for a pipeline without it.
    pub(crate) mlflow: Option<PortChoice>,
    /// Port of the worker's health pages; the others' are above it.
    pub(crate) http: PortChoice,
    /// Trials trained at once; one per core by default.
    pub(crate) slots: Option<u16>,
}

impl Plan {
    /// Looks at every port somebody asked for, before anything is installed or started.
    ///
    /// # Errors
    /// When one is busy: exit code 7, with the flag that asks for it.
    pub(crate) fn check_ports(&self) -> Result<(), CliError> {
        let http = (0..SERVICES).map(|offset| (above(self.http, offset), "--http-port-base", "health pages"));
        let asked =
            [(Some(self.nats), "--nats-port", "the broker"), (self.mlflow, "--mlflow-port", "MLflow")];
        let asked = asked.into_iter().filter_map(|(port, flag, program)| Some((port?, flag, program)));
        for (choice, flag, program) in asked.chain(http) {
            if matches!(choice, PortChoice::Exactly(_)) {
                ports::choose(choice).map_err(|error| no_port(&error, flag, program))?;
            }
        }
        Ok(())
    }

    /// Ports for the health pages of worker, classifier and sink, in this order and none twice.
    pub(super) fn health_ports(&self) -> Result<[PortChoice; SERVICES as usize], CliError> {
        let mut choice = self.http;
        let mut choices = [choice; SERVICES as usize];
        for place in &mut choices {
            *place = match choice {
                PortChoice::From(_) => {
                    let refused = |error| no_port(&error, "the default", "health pages");
                    PortChoice::From(ports::choose(choice).map_err(refused)?.number)
                }
                PortChoice::Exactly(_) | PortChoice::Any => choice,
            };
            choice = above(*place, 1);
        }
        Ok(choices)
    }

    pub(super) fn service(
        &self,
        name: &'static str,
        port: PortChoice,
        nats_url: &str,
    ) -> Result<ServiceConfig, CliError> {
        let program = std::env::current_exe()
            .map_err(|error| CliError::internal("this program does not know its own path").because(error))?;
        let config = ServiceConfig {
            name,
            program,
            flags: Vec::new(),
            env: Vec::new(),
            log: self.layout.log(name),
            port,
        };
        Ok(config.flag("--nats-url", nats_url).flag("--data-dir", self.layout.root()))
    }
}

pub(super) fn worker(
    plan: &Plan,
    port: PortChoice,
    python: PathBuf,
    nats_url: &str,
) -> Result<ServiceConfig, CliError> {
    let worker = plan
        .service("worker", port, nats_url)?
        .flag("--python", python)
        .flag("--dataset-dir", plan.shared.datasets())
        .env("CEREBROS_ENABLED", "true")
        .env("FEATURES", "ml_nas");
    Ok(match plan.slots {
        Some(slots) => worker.flag("--slots", slots.to_string()),
        None => worker,
    })
}

fn above(base: PortChoice, offset: u16) -> PortChoice {
    match base {
        PortChoice::From(port) => PortChoice::From(port.saturating_add(offset)),
        PortChoice::Exactly(port) => PortChoice::Exactly(port.saturating_add(offset)),
        PortChoice::Any => PortChoice::Any,
    }
}
