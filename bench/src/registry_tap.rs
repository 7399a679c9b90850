//! Changes of the run registry as they pass by. A plain subscription, because the bucket keeps one value a key: by the
//! time a consumer of its stream is served, the claim may have been overwritten by the end.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::registry::RunRecord;
use service_kit::topology::RUNS_BUCKET;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::faults;

/// Changes that may wait to be looked at; a run makes two, a long one a few a second.
const WAITING: usize = 1024;
/// How long a change may be awaited.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a run may be in nobody's hand: the broker's patience with a lost worker, and the start of the next.
const CLAIM_LIMIT: Duration = Duration::from_secs(120);

/// A change, as it passed by.
struct Change {
    subject: String,
    value: Bytes,
    /// In microseconds of the wall clock.
    at: i64,
}

/// Follows the registry until dropped.
pub(crate) struct RegistryTap {
    changes: mpsc::Receiver<Change>,
    _task: JoinSet<()>,
}

impl RegistryTap {
    /// Begins to follow.
    pub(crate) async fn open(broker: &Broker) -> Result<Self, CliError> {
        let refused = |error: &dyn std::error::Error| {
            CliError::new("no-subscription", Exit::Unreachable, "the registry cannot be followed")
                .because(error)
        };
        let subject = format!("$KV.{RUNS_BUCKET}.>");
        let mut passing = broker.client.subscribe(subject).await.map_err(|error| refused(&error))?;
        // A flush hands the subscription to the socket; an answer on the same connection shows that the broker has it.
        broker.jetstream.query_account().await.map_err(|error| refused(&error))?;
        let (sender, changes) = mpsc::channel(WAITING);
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Some(message) = passing.next().await {
                let at = clock::now().micros();
                let change = Change { subject: message.subject.to_string(), value: message.payload, at };
                if sender.send(change).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self { changes, _task: task })
    }

    /// When the next change of a run passed by, in microseconds of the wall clock.
    pub(crate) async fn next_of(&mut self, run: &str) -> Result<i64, CliError> {
        self.first(LIMIT, |change| change.subject.ends_with(run)).await
    }

    /// When a run was claimed for a later attempt than `attempt`, in microseconds of the wall clock.
    pub(crate) async fn claimed_after(&mut self, run: &str, attempt: u32) -> Result<i64, CliError> {
        let is_later = |change: &Change| {
            let record = serde_json::from_slice::<RunRecord>(&change.value);
            record.is_ok_and(|record| record.run_id.as_str() == run && record.attempt > attempt)
        };
        self.first(CLAIM_LIMIT, is_later).await
    }

    async fn first(&mut self, limit: Duration, is_it: impl Fn(&Change) -> bool) -> Result<i64, CliError> {
        let deadline = Instant::now() + limit;
        loop {
            let next = timeout_at(deadline, self.changes.recv()).await;
            let next = next.map_err(|_| faults::silent("the next change of the registry", limit))?;
            let change = next.ok_or_else(|| CliError::internal("the subscription ended"))?;
            if is_it(&change) {
                return Ok(change.at);
            }
        }
    }
}
