//! A whole pipeline on this machine: which programs make it up, in which order they start and stop.
//!
//! Broker, worker and classifier first, because a search needs no more; MLflow and its sink meanwhile, because MLflow
//! takes seconds to start and the sink catches up. Each service is this very program again as a process of its own.
//!
//! Invariants:
//! - nothing counts as started before it has said itself that it is ready;
//! - a program that dies is started again and said, a start that fails is an error with the program's own last words;
//! - services stop before what they need: first those that speak to broker and MLflow, then these two;
//! - dropping an [`Assembly`] at any moment, half started too, kills everything it has started: its tasks belong to
//!   the `LocalSet` it must run in, and end with that, not when the runtime gets round to it.
//!
//! Deliberately not here: what is printed when it is ready, and what is done with it (`up`, `demo`).

mod backoff;
mod faults;
mod keeper;
mod layout;
mod lock;
mod service;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use local_stack::install::{self, Tools};
use local_stack::ports::{self, PortChoice};
use local_stack::process::{descendants, is_alive};
use local_stack::readiness::StartError;
use local_stack::{Broker, BrokerConfig, Mlflow, MlflowConfig};
use service_kit::error::CliError;
use service_kit::output::note;
use service_kit::shutdown::Shutdown;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use faults::{no_port, not_installed, not_started};
use keeper::{Keeper, Part};
pub(crate) use layout::{DataDirArg, Layout, unwritable};
pub(crate) use lock::{Claim, Lock, claim};
use service::{Service, ServiceConfig};

/// How long the last process may take to be gone; a guard gives its program five seconds.
const GONE_DEADLINE: Duration = Duration::from_secs(10);
/// Pause between two looks.
const GONE_POLL: Duration = Duration::from_millis(20);
/// Starts before a port that is lost again and again is reported.
const ATTEMPTS: u32 = 5;
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
    fn health_ports(&self) -> Result<[PortChoice; SERVICES as usize], CliError> {
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

    fn service(
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

fn above(base: PortChoice, offset: u16) -> PortChoice {
    match base {
        PortChoice::From(port) => PortChoice::From(port.saturating_add(offset)),
        PortChoice::Exactly(port) => PortChoice::Exactly(port.saturating_add(offset)),
        PortChoice::Any => PortChoice::Any,
    }
}

/// MLflow and the sink, running.
struct Tracking {
    url: String,
    mlflow: Keeper,
    sink: Keeper,
}

/// The pipeline, from the first program on.
pub(crate) struct Assembly {
    plan: Plan,
    shutdown: Shutdown,
    services: Vec<Keeper>,
    broker: Option<Keeper>,
    starting: Option<AbortOnDropHandle<Result<Tracking, CliError>>>,
    tracking: Option<Tracking>,
    /// How long it took until the tools the search needs were there.
    pub(crate) install_took: Duration,
}

impl Assembly {
    /// Nothing yet.
    pub(crate) fn new(plan: Plan, shutdown: &Shutdown) -> Self {
        Self {
            plan,
            shutdown: shutdown.clone(),
            services: Vec::new(),
            broker: None,
            starting: None,
            tracking: None,
            install_took: Duration::ZERO,
        }
    }

    /// Where the output of every program goes.
    pub(crate) fn logs(&self) -> &Path {
        self.plan.layout.logs()
    }

    /// True if MLflow is part of it.
    pub(crate) fn has_mlflow(&self) -> bool {
        self.plan.mlflow.is_some()
    }

    /// Starts what a search needs, and begins to start MLflow. Gives the URL of the broker.
    ///
    /// # Errors
    /// When a tool cannot be installed or a program does not get ready.
    pub(crate) async fn start(&mut self) -> Result<String, CliError> {
        let began = Instant::now();
        let tools = Tools::new(self.plan.shared.root()).with_listener(|notice| note(notice));
        let (nats_server, python) =
            tokio::join!(install::nats_server(&tools), install::trainer_python(&tools));
        let (nats_server, python) = (
            nats_server.map_err(|error| not_installed(&error))?,
            python.map_err(|error| not_installed(&error))?,
        );
        self.install_took = began.elapsed();
        let broker = start_broker(&self.plan, nats_server).await?;
        let url = broker.url();
        self.broker = Some(Keeper::of(Part::Broker(broker), &self.shutdown));
        let [worker_port, classifier_port, sink_port] = self.plan.health_ports()?;
        let worker = worker(&self.plan, worker_port, python, &url)?;
        let classifier = self.plan.service("classifier", classifier_port, &url)?;
        if let Some(port) = self.plan.mlflow {
            let sink = self.plan.service("sink", sink_port, &url)?;
            let starting = start_tracking(self.plan.clone(), port, tools, sink, self.shutdown.clone());
            self.starting = Some(AbortOnDropHandle::new(tokio::task::spawn_local(starting)));
        }
        let (worker, classifier) = tokio::join!(Service::start(worker), Service::start(classifier));
        for service in [worker, classifier] {
            let service = service.map_err(|error| not_started(&error))?;
            self.services.push(Keeper::of(Part::Service(service), &self.shutdown));
        }
        Ok(url)
    }

    /// Waits until MLflow and the sink are ready. Gives MLflow's URL, `None` for a pipeline without it.
    ///
    /// # Errors
    /// When MLflow cannot be installed, or one of the two does not get ready.
    pub(crate) async fn tracking(&mut self) -> Result<Option<String>, CliError> {
        if let Some(starting) = self.starting.as_mut() {
            let started = starting.await.map_err(|error| CliError::internal(error.to_string()))?;
            self.starting = None;
            self.tracking = Some(started?);
        }
        Ok(self.tracking.as_ref().map(|tracking| tracking.url.clone()))
    }

    /// Stops everything and waits for it: services get SIGTERM and `grace` to finish what they have in hand, or
    /// SIGKILL as soon as everything is to end at once.
    ///
    /// # Errors
    /// When a process that belonged to the pipeline is left behind.
    pub(crate) async fn stop(mut self, grace: Duration) -> Result<(), CliError> {
        let everything = descendants(std::process::id());
        if let Some(starting) = self.starting.take() {
            starting.abort();
            let _ = starting.await;
        }
        let (mlflow, sink) = self.tracking.take().map(|tracking| (tracking.mlflow, tracking.sink)).unzip();
        stop_all(self.services.into_iter().chain(sink).collect(), grace).await;
        stop_all(mlflow.into_iter().chain(self.broker).collect(), grace).await;
        let left = left_of(everything).await;
        if left.is_empty() {
            return Ok(());
        }
        let left = left.join(" ");
        Err(CliError::internal(format!("processes are left behind: {left}"))
            .help(format!("end them with `kill {left}`")))
    }
}

/// Those that still live after the last of them had time to end: what was interrupted while it was starting is ended
/// by its guard.
async fn left_of(mut processes: Vec<u32>) -> Vec<String> {
    let end = Instant::now() + GONE_DEADLINE;
    loop {
        processes.retain(|pid| is_alive(*pid));
        if processes.is_empty() || Instant::now() >= end {
            return processes.iter().map(u32::to_string).collect();
        }
        sleep(GONE_POLL).await;
    }
}

async fn stop_all(keepers: Vec<Keeper>, grace: Duration) {
    for keeper in &keepers {
        keeper.tell_to_stop(grace);
    }
    for keeper in keepers {
        keeper.stopped().await;
    }
}

/// A port that nobody asked for and that is lost between choosing and binding is chosen again.
async fn start_broker(plan: &Plan, binary: PathBuf) -> Result<Broker, CliError> {
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

fn worker(plan: &Plan, port: PortChoice, python: PathBuf, nats_url: &str) -> Result<ServiceConfig, CliError> {
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

async fn start_tracking(
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
