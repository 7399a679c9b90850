//! Changes of the run registry as they pass by. A plain subscription, because the bucket keeps one value a key: by the
//! time a consumer of its stream is served, the claim may have been overwritten by the end.

use std::time::Duration;

use futures_util::StreamExt as _;
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::topology::RUNS_BUCKET;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::faults;

/// Changes that may wait to be looked at; a run makes two, and one run is looked at after the other.
const WAITING: usize = 1024;
/// How long a change may be awaited.
const LIMIT: Duration = Duration::from_secs(30);

/// Follows the registry until dropped.
pub(super) struct RegistryTap {
    changes: mpsc::Receiver<(String, i64)>,
    _task: JoinSet<()>,
}

impl RegistryTap {
    /// Begins to follow.
    pub(super) async fn open(broker: &Broker) -> Result<Self, CliError> {
        let refused = |error: &dyn std::error::Error| {
            CliError::new("no-subscription", Exit::Unreachable, "the registry cannot be followed")
                .because(error)
        };
        let subject = format!("$KV.{RUNS_BUCKET}.>");
        let mut passing = broker.client.subscribe(subject).await.map_err(|error| refused(&error))?;
        broker.client.flush().await.map_err(|error| refused(&error))?;
        let (sender, changes) = mpsc::channel(WAITING);
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Some(message) = passing.next().await {
                let change = (message.subject.to_string(), clock::now().micros());
                if sender.send(change).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self { changes, _task: task })
    }

    /// When the next change of a run passed by, in microseconds of the wall clock.
    pub(super) async fn next_of(&mut self, run: &str) -> Result<i64, CliError> {
        loop {
            let next = timeout(LIMIT, self.changes.recv()).await;
            let next = next.map_err(|_| faults::silent("the next change of the registry", LIMIT))?;
            let (subject, at) = next.ok_or_else(|| CliError::internal("the subscription ended"))?;
            if subject.ends_with(run) {
                return Ok(at);
            }
        }
    }
}
