//! The thread that keeps results, and the one file here that knows `sled`.
//!
//! A thread of its own, because the disk is slow and `sled` blocks; what it is told is done in order, so that whoever
//! asks after a result was kept finds it. It ends when nobody gives orders any more, and is waited for then: `sled` writes
//! twice a second, and a worker that was gone before would have forgotten its last results. It also ends when the disk
//! fails it: then there is no cache.
//!
//! A result of the user's own code waits here until the code was looked at again; whoever asks for it meanwhile has it
//! looked at now.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use prometheus_client::metrics::gauge::Gauge;
use schemas::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::contract::{Contract, Key};
use super::entry::Entry;
use super::index::{Capacity, Index};
use super::watch::Watch;

/// Memory for its pages.
const CACHE_BYTES: u64 = 16 << 20;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Look a result up.
    Recall { contract: Contract, now: Timestamp, answer: oneshot::Sender<Option<Entry>> },
    /// Keep a result.
    Remember(Box<Kept>),
}

/// A result to be kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) contract: Contract,
    pub(super) now: Timestamp,
    pub(super) entry: Entry,
    /// The file the trainer comes from, as its child told.
    pub(super) source: Option<PathBuf>,
    /// Its share of what may wait at once.
    pub(super) _room: OwnedSemaphorePermit,
}

/// What the store works with.
pub(super) struct Means {
    pub(super) directory: PathBuf,
    pub(super) capacity: Capacity,
    pub(super) watch: Watch,
    pub(super) entries: Gauge,
}

/// Opens the store and starts its thread; the reason when it cannot be used. What is returned breaks when the thread has
/// ended, with all it kept on the disk.
pub(super) async fn start(means: Means, orders: Receiver<Order>) -> Result<oneshot::Receiver<()>, String> {
    let (opened, is_open) = oneshot::channel();
    let (end, ended) = oneshot::channel::<()>();
    let work = move || {
        let directory = means.directory.clone();
        let mut store = match Store::open(means) {
            Ok(store) => store,
            Err(error) => {
                // Whoever started us has given up when nobody hears it.
                let _ = opened.send(Err(error));
                return;
            }
        };
        let _ = opened.send(Ok(()));
        if let Err(error) = store.serve(&orders) {
            tracing::warn!(directory = %directory.display(), %error, "results are not cached any more");
        }
        store.entries.set(0);
        drop(store);
        drop(end);
    };
    let thread = std::thread::Builder::new().name("result-cache".to_owned()).spawn(work);
    thread.map_err(|error| error.to_string())?;
    is_open.await.unwrap_or_else(|_| Err("the store broke down while it was opened".to_owned()))?;
    Ok(ended)
}

struct Store {
    results: sled::Db,
    index: Index,
    watch: Watch,
    /// Results that wait for a look at the code.
    waiting: Vec<Kept>,
    entries: Gauge,
}

impl Store {
    /// What cannot be read, and what has no room any more, is removed.
    fn open(means: Means) -> Result<Self, String> {
        let results = open(&means.directory).map_err(|error| error.to_string())?;
        let Means { capacity, watch, entries, .. } = means;
        let mut store = Self { results, index: Index::new(capacity), watch, waiting: Vec::new(), entries };
        store.load().map_err(|error| error.to_string())?;
        Ok(store)
    }

    fn load(&mut self) -> sled::Result<()> {
        let mut found = Vec::new();
        for result in self.results.iter() {
            let (key, bytes) = result?;
            match (Key::try_from(key.as_ref()), Entry::head(&bytes)) {
                (Ok(key), Some(entry)) => found.push((entry.at, key, bytes.len())),
                (Ok(_) | Err(_), _) => drop(self.results.remove(key)?),
            }
        }
        found.sort_unstable_by_key(|(at, key, _)| (at.micros(), *key));
        for (at, key, bytes) in found {
            self.insert(key, at, bytes)?;
        }
        Ok(())
    }

    /// Carries orders out until nobody gives any, and has all of it on the disk then.
    fn serve(&mut self, orders: &Receiver<Order>) -> sled::Result<()> {
        loop {
            let order = if self.waiting.is_empty() {
                orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else if let Some(pause) = self.watch.pause(Instant::now()) {
                orders.recv_timeout(pause)
            } else {
                self.settle()?;
                continue;
            };
            match order {
                Ok(Order::Recall { contract, now, answer }) => {
                    let found = self.recall(&contract, now)?;
                    // A trial that was stopped meanwhile does not listen.
                    let _ = answer.send(found);
                }
                Ok(Order::Remember(result)) => self.remember(*result)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.settle()?;
                    return self.results.flush().map(drop);
                }
            }
        }
    }

    fn remember(&mut self, result: Kept) -> sled::Result<()> {
        if !result.contract.needs_code {
            return self.keep(result);
        }
        let code = self.watch.code();
        // Code that lies elsewhere is not part of the contract.
        if result.source.as_ref().is_some_and(|source| code.holds(source)) {
            self.waiting.push(result);
        }
        Ok(())
    }

    /// Keeps what waits for a look at the code, if that is the same after all of it was there.
    fn settle(&mut self) -> sled::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() || !self.watch.is_the_same() {
            return Ok(());
        }
        waiting.into_iter().try_for_each(|result| self.keep(result))
    }

    fn keep(&mut self, result: Kept) -> sled::Result<()> {
        let Kept { contract: Contract { key, .. }, now, entry, .. } = result;
        let Some(bytes) = Entry { at: now, ..entry }.encode() else { return Ok(()) };
        self.results.insert(key, bytes.as_slice())?;
        self.insert(key, now, bytes.len())
    }

    fn recall(&mut self, contract: &Contract, now: Timestamp) -> sled::Result<Option<Entry>> {
        let key = &contract.key;
        if self.waiting.iter().any(|result| result.contract.key == *key) {
            self.settle()?;
        }
        if self.index.is_fresh(key, now)
            && let Some(bytes) = self.results.get(key)?
            && let Some(entry) = Entry::decode(&bytes)
        {
            let is_known = !contract.needs_code || self.watch.is_the_same_of_late();
            return Ok(is_known.then_some(entry));
        }
        if self.index.remove(key) {
            self.results.remove(key)?;
            self.count();
        }
        Ok(None)
    }

    fn insert(&mut self, key: Key, at: Timestamp, bytes: usize) -> sled::Result<()> {
        for gone in self.index.insert(key, at, u64::try_from(bytes).unwrap_or(u64::MAX)) {
            self.results.remove(gone)?;
        }
        self.count();
        Ok(())
    }

    fn count(&self) {
        self.entries.set(i64::try_from(self.index.len()).unwrap_or(i64::MAX));
    }
}

fn open(directory: &Path) -> sled::Result<sled::Db> {
    sled::Config::new().path(directory).cache_capacity(CACHE_BYTES).open()
}
