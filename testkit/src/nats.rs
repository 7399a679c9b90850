//! A real nats-server with JetStream, of one test alone.

use std::path::Path;

use local_stack::readiness::StartError;
use local_stack::{Broker, BrokerConfig};

use crate::{Scratch, nats_server};

/// A broker on a random port with a store of its own; ends on drop.
#[derive(Debug)]
pub struct Nats {
    // Before the directory it writes to: fields are dropped in this order.
    broker: Broker,
    dir: Scratch,
}

impl Nats {
    /// Starts one, ready to use.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts one with another configuration: `Nats::start_with(|config| config.sync_always = true)`.
    pub async fn start_with(configure: impl FnOnce(&mut BrokerConfig)) -> Self {
        let dir = Scratch::new();
        let mut config =
            BrokerConfig::new(nats_server().await, dir.join("store"), dir.join("nats-server.log"));
        configure(&mut config);
        Self { broker: started(Broker::start(config).await), dir }
    }

    /// `nats://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.broker.url()
    }

    /// `http://127.0.0.1:PORT`, the server's monitoring pages.
    pub fn monitoring_url(&self) -> String {
        self.broker.monitoring_url()
    }

    /// Process id of the server.
    pub fn pid(&self) -> u32 {
        self.broker.pid()
    }

    /// The directory of its store.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// SIGKILL. Use [`Nats::restart`] to have it back with the same port and store.
    pub async fn kill(&self) {
        self.broker.kill_now().await;
    }

    /// SIGTERM, and SIGKILL after five seconds.
    pub async fn stop(&self) {
        self.broker.stop().await;
    }

    /// The same port and store again; stops it first if it still runs.
    pub async fn restart(&mut self) {
        started(self.broker.restart().await);
    }

    /// SIGSTOP: connections stay open and nobody answers.
    pub fn pause(&self) {
        self.broker.pause();
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.broker.resume();
    }
}

pub(crate) fn started<T>(result: Result<T, StartError>) -> T {
    result.unwrap_or_else(|error| {
        panic!("{error}\nbecause: {}\nhelp: {}", error.because().unwrap_or_default(), error.help())
    })
}
