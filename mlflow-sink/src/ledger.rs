//! What was written, remembered across restarts: which MLflow run belongs to which run and trial, and which values
//! of their metrics it has.
//!
//! Invariants:
//! - only an accelerator: delete the directory and nothing is lost, nothing is written twice. What is not in the
//!   ledger is looked up at the server;
//! - bound to one tracking server: another address has another ledger;
//! - a record is marked as open before MLflow is written and closed after; one that is found open is not trusted about
//!   metrics, because nobody knows how much of the write arrived;
//! - flushed before the events it speaks of are acked.
//!
//! This is the only module that knows `sled`.

mod course;
pub mod record;

use std::path::Path;

use schemas::{RunId, TrialId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use service_kit::error::CliError;
use service_kit::exit::Exit;

use record::{Child, Parent};

/// Memory for its pages; records are small and read once per batch.
const CACHE_BYTES: u64 = 16 << 20;

/// The ledger could not be read or written; the disk is to blame, not the event.
#[derive(Debug, thiserror::Error)]
#[error("the ledger cannot be used: {0}")]
pub struct LedgerError(String);

impl From<sled::Error> for LedgerError {
    fn from(error: sled::Error) -> Self {
        Self(error.to_string())
    }
}

/// Durable memory of what was written to one tracking server.
#[derive(Debug, Clone)]
pub struct Ledger {
    records: sled::Tree,
}

impl Ledger {
    /// Opens, or creates, the ledger of `server` in a directory. One that is damaged is begun anew.
    ///
    /// # Errors
    /// When the directory cannot be used, or another process uses it: exit code 7.
    pub fn open(dir: &Path, server: &str) -> Result<Self, CliError> {
        let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES);
        let opened = match config.open() {
            Err(sled::Error::Corruption { .. }) => {
                tracing::warn!(dir = %dir.display(), "the ledger is damaged and is begun anew");
                std::fs::remove_dir_all(dir).map_err(|error| cannot_open(dir, &error))?;
                config.open()
            }
            other => other,
        };
        let records = opened.and_then(|db| db.open_tree(server)).map_err(|error| cannot_open(dir, &error))?;
        Ok(Self { records })
    }

    /// One that is forgotten with the process: nothing is remembered from before, and nothing is left behind.
    ///
    /// # Errors
    /// When there is no room for it: exit code 7.
    pub fn temporary() -> Result<Self, CliError> {
        let opened = sled::Config::new().temporary(true).cache_capacity(CACHE_BYTES).open();
        let records = opened.and_then(|db| db.open_tree("temporary"));
        let records = records.map_err(|error| cannot_open(&std::env::temp_dir(), &error))?;
        Ok(Self { records })
    }

    /// What is known of a run.
    pub fn parent(&self, run: &RunId) -> Result<Option<Parent>, LedgerError> {
        let found: Option<Parent> = self.get(&parent_key(run))?;
        Ok(found.map(|mut parent| {
            if parent.is_open {
                parent.steps.forget();
            }
            parent
        }))
    }

    /// What is known of a trial.
    pub fn child(&self, run: &RunId, trial: &TrialId) -> Result<Option<Child>, LedgerError> {
        let found: Option<Child> = self.get(&child_key(run, trial))?;
        Ok(found.map(|mut child| {
            if child.is_open {
                child.steps.forget();
            }
            child
        }))
    }

    /// Records a run.
    pub fn put_parent(&self, run: &RunId, parent: &Parent) -> Result<(), LedgerError> {
        self.put(&parent_key(run), parent)
    }

    /// Records a trial.
    pub fn put_child(&self, run: &RunId, trial: &TrialId, child: &Child) -> Result<(), LedgerError> {
        self.put(&child_key(run, trial), child)
    }

    /// Forgets a run and its trials: the server says that they are not what is remembered.
    pub fn forget(&self, run: &RunId) -> Result<(), LedgerError> {
        self.records.remove(parent_key(run))?;
        for entry in self.records.scan_prefix(format!("trial/{run}/")) {
            self.records.remove(entry?.0)?;
        }
        Ok(())
    }

    /// Forgets everything: somebody else has written since, and the server knows better.
    pub fn forget_all(&self) -> Result<(), LedgerError> {
        self.records.clear()?;
        Ok(())
    }

    /// Waits until everything recorded is on disk.
    pub async fn flush(&self) -> Result<(), LedgerError> {
        self.records.flush_async().await?;
        Ok(())
    }

    /// A record that cannot be read, written by another version, counts as absent.
    fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, LedgerError> {
        let Some(value) = self.records.get(key)? else { return Ok(None) };
        match serde_json::from_slice(&value) {
            Ok(record) => Ok(Some(record)),
            Err(error) => {
                tracing::warn!(key, %error, "ledger record cannot be read and is looked up anew");
                Ok(None)
            }
        }
    }

    fn put(&self, key: &str, record: &impl Serialize) -> Result<(), LedgerError> {
        let value = serde_json::to_vec(record).map_err(|error| LedgerError(error.to_string()))?;
        self.records.insert(key, value)?;
        Ok(())
    }
}

/// The name of the sink that uses a directory: the same after every restart. The ledger's lock on the directory proves
/// that no other living process has it.
///
/// # Errors
/// When the directory cannot be used: exit code 7.
pub fn name_of_this_sink(dir: &Path) -> Result<String, CliError> {
    let path = dir.join("sink-name");
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    if !known.trim().is_empty() {
        return Ok(known.trim().to_owned());
    }
    let name = uuid::Uuid::now_v7().simple().to_string();
    std::fs::write(&path, &name).map_err(|error| cannot_open(dir, &error))?;
    Ok(name)
}

// Ids contain no slash.
fn parent_key(run: &RunId) -> String {
    format!("run/{run}")
}

fn child_key(run: &RunId, trial: &TrialId) -> String {
    format!("trial/{run}/{trial}")
}

fn cannot_open(dir: &Path, error: &dyn std::error::Error) -> CliError {
    CliError::new("ledger", Exit::LocalResource, format!("the ledger in {} cannot be opened", dir.display()))
        .because(error)
        .help("stop the other sink that uses it, or choose another directory with --data-dir; it may be deleted at any time")
}

#[cfg(test)]
mod tests;
