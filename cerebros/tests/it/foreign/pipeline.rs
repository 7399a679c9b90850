//! A broker, a worker and a classifier, without the local stack around them.

use std::ffi::OsStr;
use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use service_kit::broker::Broker;
use service_kit::config::BrokerTarget;
use service_kit::topology;
use testkit::{Nats, Scratch};
use tokio::process::{Child, Command};

use super::Stranger;
use crate::program::program;

/// The pipeline of one test; all of it ends with the test.
pub(super) struct Pipeline {
    _services: [Child; 2],
    broker: Broker,
    nats: Nats,
    scratch: Scratch,
}

impl Pipeline {
    /// Starts one, with these flags for the worker.
    pub(super) async fn open(worker_flags: &[&str]) -> Self {
        let nats = Nats::start().await;
        let target = BrokerTarget::at(&nats.url()).unwrap();
        let broker = Broker::connect(&target, "test", Duration::from_secs(10)).await.unwrap();
        topology::ensure(&broker).await.unwrap();
        let scratch = Scratch::new();
        let python = testkit::trainer_python().await;
        let service = |arguments: &[&str], log: &str| {
            let mut command = Command::from(program(scratch.path(), arguments));
            command
                .args(["--http", "127.0.0.1:0"])
                .env("NATS_URL", nats.url())
                .env("CEREBROS_DATA_DIR", scratch.path())
                .env("CEREBROS_PYTHON", &python)
                .env("CEREBROS_ENABLED", "true")
                .env("FEATURES", "ml_nas")
                .stdout(Stdio::null())
                .stderr(File::create(scratch.join(log)).unwrap())
                .kill_on_drop(true)
                .spawn()
                .unwrap()
        };
        let services = [
            service(&[&["worker", "serve"], worker_flags].concat(), "worker.log"),
            service(&["classifier", "serve"], "classifier.log"),
        ];
        Self { _services: services, broker, nats, scratch }
    }

    pub(super) fn url(&self) -> String {
        self.nats.url()
    }

    /// Publishes bytes as any NATS client would.
    pub(super) async fn publish(&self, subject: &'static str, payload: &'static [u8]) {
        self.broker.client.publish(subject, payload.into()).await.unwrap();
        self.broker.client.flush().await.unwrap();
    }

    /// Our own program, as a stranger would use it.
    pub(super) fn cerebros(&self, arguments: &[&str]) -> Stranger {
        Stranger(self.at_home(Command::from(program(self.scratch.path(), arguments))))
    }

    /// A program of somebody else's that is told nothing but the broker's URL.
    pub(super) fn stranger(&self, program: impl AsRef<OsStr>) -> Stranger {
        Stranger(self.at_home(Command::new(program)))
    }

    /// Gives a command this broker and a directory of its own.
    pub(super) fn at_home(&self, mut command: Command) -> Command {
        command
            .current_dir(self.scratch.path())
            .env("NATS_URL", self.url())
            .env("CEREBROS_DATA_DIR", self.scratch.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }
}
