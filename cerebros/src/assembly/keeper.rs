//! Keeps one program running until it is told otherwise.
//!
//! A program that dies is started again after a growing pause, and both are said: nobody should learn from a silence
//! that something is broken. Dropping a [`Keeper`] kills its program.

use std::path::Path;
use std::time::Duration;

use local_stack::process::{Exit, last_lines};
use local_stack::readiness::StartError;
use local_stack::{Broker, Mlflow};
use service_kit::output::{note, warning};
use service_kit::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::backoff::Backoff;
use super::service::Service;

/// Lines of a log that are shown when its program dies.
const SHOWN_LINES: usize = 5;

/// A program of the stack.
pub(super) enum Part {
    /// The broker.
    Broker(Broker),
    /// MLflow.
    Mlflow(Mlflow),
    /// One of our own.
    Service(Service),
}

impl Part {
    fn name(&self) -> &'static str {
        match self {
            Self::Broker(_) => "broker",
            Self::Mlflow(_) => "MLflow",
            Self::Service(service) => service.name(),
        }
    }

    fn log(&self) -> &Path {
        match self {
            Self::Broker(broker) => broker.log(),
            Self::Mlflow(mlflow) => mlflow.log(),
            Self::Service(service) => service.log(),
        }
    }

    fn last_lines(&self) -> String {
        match self {
            Self::Broker(_) | Self::Mlflow(_) => last_lines(self.log(), SHOWN_LINES),
            Self::Service(service) => service.last_lines(SHOWN_LINES),
        }
    }

    async fn exited(&self) -> Exit {
        match self {
            Self::Broker(broker) => broker.exited().await,
            Self::Mlflow(mlflow) => mlflow.exited().await,
            Self::Service(service) => service.exited().await,
        }
    }

    async fn restart(&mut self) -> Result<(), StartError> {
        match self {
            Self::Broker(broker) => broker.restart().await,
            Self::Mlflow(mlflow) => mlflow.restart().await,
            Self::Service(service) => service.restart().await,
        }
    }

    async fn stop(&self, grace: Duration) {
        match self {
            Self::Broker(broker) => drop(broker.stop().await),
            Self::Mlflow(mlflow) => drop(mlflow.stop().await),
            Self::Service(service) => service.stop(grace).await,
        }
    }

    async fn kill(&self) {
        match self {
            Self::Broker(broker) => broker.kill_now().await,
            Self::Mlflow(mlflow) => mlflow.kill_now().await,
            Self::Service(service) => service.kill().await,
        }
    }
}

/// A program that is kept running.
pub(super) struct Keeper {
    name: &'static str,
    /// How long the program has to end, once it is to end.
    grace: watch::Sender<Option<Duration>>,
    task: AbortOnDropHandle<()>,
}

impl Keeper {
    /// Keeps a program that runs. `shutdown` cuts its end short when everything is to end at once.
    pub(super) fn of(part: Part, shutdown: &Shutdown) -> Self {
        let (grace, told) = watch::channel(None);
        let name = part.name();
        let task = tokio::task::spawn_local(keep(part, told, shutdown.clone()));
        Self { name, grace, task: AbortOnDropHandle::new(task) }
    }

    /// Tells the program to end and returns at once. Broker and MLflow have a grace period of their own.
    pub(super) fn tell_to_stop(&self, grace: Duration) {
        self.grace.send_replace(Some(grace));
    }

    /// Waits until a program that was told to end is gone, and everything it started.
    pub(super) async fn stopped(self) {
        if let Err(error) = self.task.await {
            tracing::error!(part = self.name, %error, "the task that kept a program ended abnormally");
        }
    }
}

async fn keep(mut part: Part, mut told: watch::Receiver<Option<Duration>>, shutdown: Shutdown) {
    let grace = tokio::select! {
        grace = told.wait_for(Option::is_some) => grace.ok().and_then(|grace| *grace),
        () = keep_running(&mut part) => None,
    };
    tokio::select! {
        () = part.stop(grace.unwrap_or_default()) => {}
        () = shutdown.now() => part.kill().await,
    }
}

async fn keep_running(part: &mut Part) {
    let mut backoff = Backoff::default();
    loop {
        let started = Instant::now();
        let exit = part.exited().await;
        let pause = backoff.after(started.elapsed());
        warning(format!(
            "{} ended ({exit}), starting it again in {} s; its log is {}{}",
            part.name(),
            pause.as_secs_f32(),
            part.log().display(),
            quoted(&part.last_lines())
        ));
        sleep(pause).await;
        match part.restart().await {
            Ok(()) => note(format!("{} is ready again", part.name())),
            Err(error) => warning(format!("{error}{}", quoted(&error.because().unwrap_or_default()))),
        }
    }
}

fn quoted(lines: &str) -> String {
    lines.lines().map(|line| format!("\n  | {line}")).collect()
}
