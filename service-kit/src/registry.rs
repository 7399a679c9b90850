//! The run registry: one key per run, changed by compare-and-set only.
//!
//! The attempt number handed out by a claim is the fence: whoever holds an older one finds its next change refused
//! and stops. What may be claimed is decided in [`record`], without a broker.

pub mod record;

use std::time::Duration;

use async_nats::jetstream::kv;
use futures_util::StreamExt as _;
use schemas::RunId;
use tokio::time::timeout;

pub use record::{Claim, RunRecord};

use crate::broker::Broker;
use crate::error::CliError;
use crate::exit::Exit;
use crate::history;
use crate::topology::RUNS_BUCKET;

/// Compare-and-set races lost in a row before a claim gives up; each loss means somebody else made progress.
const MAX_RACES: usize = 16;

/// Why the registry could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Somebody else changed the run since it was read: this attempt is stale.
    #[error("the run {0} was changed by another attempt")]
    Stale(RunId),
    /// The broker did not do it.
    #[error("the run registry is not available: {0}")]
    Unavailable(String),
}

/// A record and the revision it was read at.
#[derive(Debug, Clone)]
pub struct Held {
    /// The record.
    pub record: RunRecord,
    revision: u64,
}

/// The run registry.
#[derive(Debug, Clone)]
pub struct Registry {
    broker: Broker,
    bucket: kv::Store,
}

impl Registry {
    /// Opens the registry; [`crate::topology::ensure`] has created it.
    pub async fn open(broker: &Broker) -> Result<Self, CliError> {
        let bucket = broker.jetstream.get_key_value(RUNS_BUCKET).await.map_err(|error| {
            CliError::new("registry-missing", Exit::Unreachable, "the run registry is not there")
                .because(error)
                .help("start a worker once: it creates what is missing")
        })?;
        Ok(Self { broker: broker.clone(), bucket })
    }

    /// Reads one run.
    pub async fn get(&self, run: &RunId) -> Result<Option<Held>, RegistryError> {
        let entry = self.bucket.entry(run.as_str()).await.map_err(unavailable)?;
        Ok(entry.and_then(|entry| read(&entry)))
    }

    /// Reads every run, in the order of their last change.
    pub async fn all(&self) -> Result<Vec<RunRecord>, RegistryError> {
        history::last_values(&self.broker, RUNS_BUCKET, "", |key, value| parse(key, &value.payload))
            .await
            .map_err(|error| unavailable(&error))
    }

    /// Changes to one run, the present state first.
    pub async fn watch(&self, run: &RunId) -> Result<kv::Watch, RegistryError> {
        self.bucket.watch_with_history(run.as_str()).await.map_err(unavailable)
    }

    /// Whether anybody changes a run, or it was changed since it was read, within `patience`.
    pub async fn changes_within(&self, held: &Held, patience: Duration) -> Result<bool, RegistryError> {
        let mut entries = self.watch(&held.record.run_id).await?;
        let change = async {
            while let Some(entry) = entries.next().await {
                if entry.map_err(unavailable)?.revision != held.revision {
                    return Ok(true);
                }
            }
            Err(unavailable("the watch ended"))
        };
        timeout(patience, change).await.unwrap_or(Ok(false))
    }

    /// Decides and records a change in one step. `decide` may be called again when somebody else was faster; it
    /// returns the record to write and what to tell the caller, or only the latter.
    pub async fn change<T>(
        &self,
        run: &RunId,
        decide: impl FnMut(Option<&RunRecord>) -> (Option<RunRecord>, T),
    ) -> Result<(Option<Held>, T), RegistryError> {
        let held = self.get(run).await?;
        self.change_from(run, held, decide).await
    }

    /// The same, beginning with what is believed to be there instead of reading it first. A wrong belief costs one
    /// refused write, never a wrong record: the broker compares revisions.
    pub async fn change_from<T>(
        &self,
        run: &RunId,
        believed: Option<Held>,
        mut decide: impl FnMut(Option<&RunRecord>) -> (Option<RunRecord>, T),
    ) -> Result<(Option<Held>, T), RegistryError> {
        let mut held = believed;
        for _ in 0..MAX_RACES {
            let (next, told) = decide(held.as_ref().map(|held| &held.record));
            let Some(next) = next else { return Ok((held, told)) };
            match self.write(run, held.as_ref().map(|held| held.revision), next).await {
                Ok(held) => return Ok((Some(held), told)),
                Err(RegistryError::Stale(_)) => held = self.get(run).await?,
                Err(error @ RegistryError::Unavailable(_)) => return Err(error),
            }
        }
        Err(RegistryError::Stale(run.clone()))
    }

    async fn write(
        &self,
        run: &RunId,
        revision: Option<u64>,
        record: RunRecord,
    ) -> Result<Held, RegistryError> {
        let value = serde_json::to_vec(&record).expect("a run record is plain data").into();
        let revision = match revision {
            Some(revision) => {
                self.bucket.update(run.as_str(), value, revision).await.map_err(|error| match error.kind() {
                    kv::UpdateErrorKind::WrongLastRevision => RegistryError::Stale(run.clone()),
                    kv::UpdateErrorKind::InvalidKey
                    | kv::UpdateErrorKind::TimedOut
                    | kv::UpdateErrorKind::Other => unavailable(error),
                })
            }
            None => self.bucket.create(run.as_str(), value).await.map_err(|error| match error.kind() {
                kv::CreateErrorKind::AlreadyExists => RegistryError::Stale(run.clone()),
                kv::CreateErrorKind::InvalidKey
                | kv::CreateErrorKind::Publish
                | kv::CreateErrorKind::Ack
                | kv::CreateErrorKind::Other => unavailable(error),
            }),
        }?;
        Ok(Held { record, revision })
    }
}

/// The record in an entry; one that cannot be read (written by a stranger) counts as absent, and is said.
pub fn read(entry: &kv::Entry) -> Option<Held> {
    if entry.operation != kv::Operation::Put {
        return None;
    }
    parse(&entry.key, &entry.value).map(|record| Held { record, revision: entry.revision })
}

fn parse(key: &str, value: &[u8]) -> Option<RunRecord> {
    serde_json::from_slice(value)
        .inspect_err(|error| tracing::error!(key, %error, "run registry holds a record that cannot be read"))
        .ok()
}

fn unavailable(error: impl std::fmt::Display) -> RegistryError {
    RegistryError::Unavailable(error.to_string())
}
