//! `serve`: reads every event of the event stream once and dead-letters what no reader could use.
//!
//! Loops, each on its own task, each ending at the drain:
//! - [`events`]: decode, validate, judge beside what came before ([`semantics`]), ack or reject. An ack is not confirmed:
//!   deciding again about a message whose ack was
//!   lost costs microseconds and changes nothing. A rejection is confirmed before the delivery is terminated, and its
//!   message id makes a second one a duplicate. Letters that cannot be published ([`outlet`]) wait on the stream, and
//!   the service says that it is not ready. Beyond the [`storm`] limit nothing is judged any more;
//! - [`advisory`]: what the broker gave up delivering to any consumer of the event stream, or was told to;
//! - [`sweep`]: what consumers lost without a word of the broker;
//! - [`expiry`]: keeps book of what is settled, and gives notice of what will leave the stream before it is;
//! - [`tasks`]: replays nobody else is at work on;
//! - [`unreadable`]: messages whose headers break the protocol, which no client can receive;
//! - [`watch`]: the numbers and the alerts of the queue. The dead-letter stream is read to count, and to replay
//!   what a person asked for.

mod advisory;
mod alert_args;
mod events;
mod expiry;
mod lost;
mod measures;
pub(crate) mod notes;
mod outlet;
mod semantics;
pub(crate) mod storm;
mod sweep;
mod tasks;
mod told;
mod unreadable;
mod watch;
mod world;

use std::time::Duration;

use service_kit::broker::Broker;
use service_kit::config::BrokerArgs;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::health::{ComponentHandle, Health, HealthArgs};
use service_kit::metrics::Metrics;
use service_kit::shutdown::Shutdown;
use service_kit::topology;
use tokio::task::{JoinError, JoinSet};

pub use alert_args::AlertArgs;
pub use measures::Measures;
use storm::guard::Guard;

/// How long the service waits for its broker at the start; an orchestrator restarts it after that.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
/// Port of the health pages when none is asked for.
const DEFAULT_HTTP_PORT: u16 = 8020;
/// How often the state of the connection is looked at.
const CONNECTION_CHECK: Duration = Duration::from_millis(500);
/// Least time between two sweeps.
const LEAST_PERIOD: Duration = Duration::from_millis(50);

/// Flags of `serve`.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    health: HealthArgs,
    #[command(flatten)]
    settings: Settings,
}

/// How the service works.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// How often consumers are compared with the stream, for what was lost without a word
    #[arg(long, env = "CEREBROS_SWEEP_EVERY", value_name = "DURATION", default_value = "10s", value_parser = period)]
    pub sweep_every: Duration,
    /// How old a trial of a run nobody knows is before it becomes a dead letter
    #[arg(long, env = "CEREBROS_UNKNOWN_RUN_AFTER", value_name = "DURATION", default_value = "10s", value_parser = period)]
    pub unknown_run_after: Duration,
    /// How much is too much.
    #[command(flatten)]
    pub storm: storm::Bounds,
    /// When somebody is told.
    #[command(flatten)]
    pub alerts: AlertArgs,
}

fn period(text: &str) -> Result<Duration, String> {
    let period = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if period < LEAST_PERIOD {
        Err(format!("at least {}", humantime::format_duration(LEAST_PERIOD)))
    } else {
        Ok(period)
    }
}

/// Runs the service until the drain is over.
pub async fn run(args: ServeArgs, shutdown: Shutdown) -> Result<Exit, CliError> {
    let metrics = Metrics::new();
    let health = Health::new("dlq-classifier");
    let conditions = Conditions {
        broker: health.component("broker"),
        letters: health.component("letters"),
        storm: health.component("storm limit"),
    };
    let measures = Measures::new(&metrics);
    args.health.serve(DEFAULT_HTTP_PORT, health, metrics, shutdown.clone()).await?;
    let target = args.broker.resolve()?;
    while !shutdown.is_draining() {
        let connect = Broker::connect(&target, "dlq-classifier", CONNECT_PATIENCE);
        let broker = tokio::select! {
            broker = connect => broker?,
            () = shutdown.drain() => break,
        };
        topology::ensure(&broker).await?;
        match classify(&broker, &args.settings, &measures, &conditions, &shutdown).await {
            Ended::Drained => broker.flush().await,
            Ended::ClientGone => tracing::warn!("the broker's client ended, connecting anew"),
            Ended::Broken => {
                return Err(CliError::internal("a part of the classifier broke down")
                    .help("start it again, which loses nothing; please report the lines above"));
            }
        }
    }
    tracing::info!(seen = measures.seen(), dead = measures.dead(), "classifier stopped");
    Ok(Exit::Done)
}

/// Why the loops of the service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// They were asked to.
    Drained,
    /// The client ended for good; a message it received made it break down ([`unreadable`]).
    ClientGone,
    /// One of the loops broke down.
    Broken,
}

/// What the service says about itself.
#[derive(Debug)]
pub struct Conditions {
    /// The connection.
    pub broker: ComponentHandle,
    /// Whether dead letters can be published.
    pub letters: ComponentHandle,
    /// Whether it has stopped at its limit.
    pub storm: ComponentHandle,
}

/// The loops of the service on a broker whose topology is there. Public for composition and tests.
pub async fn classify(
    broker: &Broker,
    settings: &Settings,
    measures: &Measures,
    conditions: &Conditions,
    shutdown: &Shutdown,
) -> Ended {
    let component = &conditions.broker;
    // Before anything is received: what broke the last client would break this one as well.
    if let Err(error) = unreadable::sweep_newest(broker, measures).await {
        tracing::warn!(error, "messages in hand cannot be looked at yet");
    }
    component.ready();
    let loops = Shutdown::manual();
    let mut running = JoinSet::new();
    running.spawn(advisory::run(broker.clone(), measures.clone(), loops.clone()));
    running.spawn(expiry::run(broker.clone(), loops.clone()));
    running.spawn(unreadable::run(broker.clone(), measures.clone(), loops.clone()));
    running.spawn(tasks::run(broker.clone(), loops.clone()));
    running.spawn(sweep::run(broker.clone(), measures.clone(), settings.sweep_every, loops.clone()));
    let health = conditions.storm.clone();
    let guard = Guard { broker: broker.clone(), health, measures: measures.clone() };
    running.spawn(events::run(guard, settings.clone(), conditions.letters.clone(), loops.clone()));
    running.spawn(watch::run(broker.clone(), measures.clone(), settings.alerts.bounds(), loops.clone()));
    let ended = tokio::select! {
        ended = watch_connection(broker, component, shutdown) => ended,
        Some(broken) = running.join_next() => broke_down(broken, component),
    };
    loops.trigger_drain();
    while let Some(last) = running.join_next().await {
        if let Err(error) = last {
            tracing::error!(%error, "a loop of the classifier broke down");
        }
    }
    ended
}

/// A loop has ended though nobody asked it to. Without it messages would wait unseen, so the service ends with it and
/// is started again.
fn broke_down(broken: Result<(), JoinError>, component: &ComponentHandle) -> Ended {
    let reason = broken.err().map_or_else(|| "it ended".to_owned(), |error| error.to_string());
    tracing::error!(reason, "a loop of the classifier broke down");
    component.not_ready("a part of the classifier broke down");
    Ended::Broken
}

async fn watch_connection(broker: &Broker, component: &ComponentHandle, shutdown: &Shutdown) -> Ended {
    let mut ticks = tokio::time::interval(CONNECTION_CHECK);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.drain() => return Ended::Drained,
        }
        if broker.is_gone().await {
            component.not_ready("the broker's client ended");
            return Ended::ClientGone;
        }
        if broker.is_connected() {
            component.ready();
        } else {
            component.not_ready("the broker does not answer");
        }
    }
}

#[cfg(test)]
mod tests {
    use service_kit::health::Status;

    use super::*;

    #[tokio::test]
    async fn a_loop_that_breaks_down_ends_the_service_and_its_readiness() {
        let health = Health::new("test");
        let component = health.component("broker");
        component.ready();
        let broken = tokio::spawn(async { panic!("a state nobody has thought of") }).await;
        assert_eq!(broke_down(broken, &component), Ended::Broken);
        assert_eq!(health.report(false).status, Status::NotReady);
    }
}
