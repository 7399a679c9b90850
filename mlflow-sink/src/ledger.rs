//! What was written, remembered across restarts: which MLflow run belongs to which run and trial, and which values
//! of their metrics it has.
//!
//! Invariants:
//! - only an accelerator: delete the directory and nothing is lost, nothing is written twice. What is not in the
//!   ledger is looked up at the server;
//! - bound to one tracking server, by what the server says it is: under another address it has the same ledger, and
//!   another server at the same address another one;
//! - bounded: what was not written to for [`KEPT`] is dropped, and looked up should it ever go on;
//! - a record is marked as open before MLflow is written and closed after; one that is found open is not trusted about
//!   metrics, because nobody knows how much of the write arrived;
//! - flushed before the events it speaks of are acked.
//!
//! This is the only room that names `sled`.

mod course;
mod entry;
mod name;
pub mod record;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use schemas::{RunId, Timestamp};
use service_kit::error::CliError;
use service_kit::exit::Exit;

use entry::time_key;
pub use name::name_of_this_sink;

/// Memory for its pages; records are small and read once per batch.
const CACHE_BYTES: u64 = 4 << 20;

/// Beginning of the name of a server's tree.
const SERVER: &str = "server/";
/// Tree of a ledger that is nobody's yet.
const NOBODY: &str = "nobody";
/// The tree every database of sled has.
const SLED_DEFAULT: &str = "__sled__default";

/// The ledger could not be read or written; the disk is to blame, not the event.
#[derive(Debug, thiserror::Error)]
#[error("the ledger cannot be used: {0}")]
pub struct LedgerError(String);

impl From<sled::Error> for LedgerError {
    fn from(error: sled::Error) -> Self {
        Self(error.to_string())
    }
}

/// Up to which revision of the lease it is valid, in the tree that is nobody's.
const VALID_KEY: &str = "lease/revision";

/// How long a run is remembered after the last write to it.
pub const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Tries to lock the directory. Whoever has just closed it holds it a moment longer: sled's own threads do.
const LOCK_TRIES: u32 = 40;
/// Pause between two of them.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Durable memory of what was written to one tracking server at a time.
#[derive(Debug, Clone)]
pub struct Ledger {
    db: sled::Db,
    records: Arc<RwLock<sled::Tree>>,
}

impl Ledger {
    /// Opens, or creates, the ledger in a directory. One that is damaged is begun anew; one that another uses is waited for,
    /// two seconds. Whose it is has to be said with [`Ledger::turn_to`]; until then it is nobody's.
    ///
    /// # Errors
    /// When the directory cannot be used, or another process uses it: exit code 7.
    pub async fn open(dir: &Path) -> Result<Self, CliError> {
        let mut tries = 1;
        let opened = loop {
            match open_once(dir) {
                Err(error) if is_in_use(&error) && tries < LOCK_TRIES => {
                    tries += 1;
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                opened => break opened,
            }
        };
        let db = opened.map_err(|error| cannot_open(dir, &error))?;
        let records = db.open_tree(NOBODY).map_err(|error| cannot_open(dir, &error))?;
        Ok(Self { db, records: Arc::new(RwLock::new(records)) })
    }

    /// Goes on with what was written to this server.
    pub fn turn_to(&self, server: &str) -> Result<(), LedgerError> {
        let records = self.db.open_tree(format!("{SERVER}{server}"))?;
        *self.records.write().unwrap_or_else(PoisonError::into_inner) = records;
        Ok(())
    }

    /// Drops the runs that were not written to for [`KEPT`], of every server, and what versions before this one left.
    pub fn drop_old(&self, now: Timestamp) -> Result<(), LedgerError> {
        let kept = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        for name in self.db.tree_names() {
            if !name.starts_with(SERVER.as_bytes()) {
                let is_in_use = name == NOBODY || name == SLED_DEFAULT;
                if !is_in_use {
                    self.db.drop_tree(&name)?;
                }
                continue;
            }
            let records = self.db.open_tree(&name)?;
            for entry in records.scan_prefix("run/") {
                let (key, _) = entry?;
                let Some(run) = key.strip_prefix(b"run/").and_then(|run| std::str::from_utf8(run).ok())
                else {
                    continue;
                };
                let touched = records.get(time_key(run))?.and_then(|time| time.as_ref().try_into().ok());
                let touched = touched.map_or(0, i64::from_be_bytes);
                if now.millis().saturating_sub(touched) > kept {
                    forget(&records, run)?;
                }
            }
        }
        Ok(())
    }

    /// One that is forgotten with the process: nothing is remembered from before, and nothing is left behind.
    ///
    /// # Errors
    /// When there is no room for it: exit code 7.
    pub fn temporary() -> Result<Self, CliError> {
        let failed = |error: sled::Error| cannot_open(&std::env::temp_dir(), &error);
        let db = sled::Config::new().temporary(true).cache_capacity(CACHE_BYTES).open().map_err(failed)?;
        let records = db.open_tree(NOBODY).map_err(failed)?;
        Ok(Self { db, records: Arc::new(RwLock::new(records)) })
    }

    /// Forgets a run and its trials: the server says that they are not what is remembered.
    pub fn forget(&self, run: &RunId) -> Result<(), LedgerError> {
        forget(&self.records(), run.as_str())
    }

    /// Forgets everything: somebody else has written since, and the server knows better.
    pub fn forget_all(&self) -> Result<(), LedgerError> {
        for name in self.db.tree_names() {
            self.db.open_tree(name)?.clear()?;
        }
        Ok(())
    }

    /// What is remembered is everything that was written up to this revision of the lease. Forgotten with all the rest.
    pub fn is_valid_up_to(&self, revision: u64) -> Result<(), LedgerError> {
        self.db.open_tree(NOBODY)?.insert(VALID_KEY, &revision.to_be_bytes())?;
        Ok(())
    }

    /// The last revision of the lease of which that was said.
    pub fn valid_up_to(&self) -> Result<Option<u64>, LedgerError> {
        let said = self.db.open_tree(NOBODY)?.get(VALID_KEY)?;
        Ok(said.and_then(|said| said.as_ref().try_into().ok()).map(u64::from_be_bytes))
    }

    /// Waits until everything recorded is on disk.
    pub async fn flush(&self) -> Result<(), LedgerError> {
        let records = self.records();
        records.flush_async().await?;
        Ok(())
    }

    fn records(&self) -> sled::Tree {
        self.records.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn open_once(dir: &Path) -> sled::Result<sled::Db> {
    let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES);
    match config.open() {
        Err(sled::Error::Corruption { .. }) => {
            tracing::warn!(dir = %dir.display(), "the ledger is damaged and is begun anew");
            std::fs::remove_dir_all(dir)?;
            config.open()
        }
        other => other,
    }
}

/// Sled tells it by nothing but its words.
fn is_in_use(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(cause) if cause.to_string().contains("could not acquire lock"))
}

fn forget(records: &sled::Tree, run: &str) -> Result<(), LedgerError> {
    records.remove(format!("run/{run}"))?;
    records.remove(time_key(run))?;
    for entry in records.scan_prefix(format!("trial/{run}/")) {
        records.remove(entry?.0)?;
    }
    Ok(())
}

fn cannot_open(dir: &Path, error: &dyn std::error::Error) -> CliError {
    CliError::new("ledger", Exit::LocalResource, format!("the ledger in {} cannot be opened", dir.display()))
        .because(error)
        .help("stop the other sink that uses it, or choose another directory with --data-dir; it may be deleted at any time")
}

#[cfg(test)]
mod tests;
