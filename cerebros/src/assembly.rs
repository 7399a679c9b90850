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
mod plan;
mod service;
mod start;
mod stop;

use std::path::Path;
use std::time::{Duration, Instant};

use local_stack::install::{self, Tools};
use local_stack::process::descendants;
use service_kit::error::CliError;
use service_kit::output::note;
use service_kit::shutdown::Shutdown;
use tokio_util::task::AbortOnDropHandle;

use faults::{not_installed, not_started};
use keeper::{Keeper, Part};
pub(crate) use layout::{DataDirArg, Layout, unwritable};
pub(crate) use lock::{Claim, Lock, claim};
pub(crate) use plan::Plan;
use plan::worker;
use service::Service;
use start::{Tracking, start_broker, start_tracking};
use stop::{left_of, stop_all};

/// Starts before a port that is lost again and again is reported.
const ATTEMPTS: u32 = 5;

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
