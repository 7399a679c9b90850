//! The thread that keeps results, and the one file here that knows `sled`.
//!
//! A thread of its own, because the disk is slow and `sled` blocks; what it is told is done in order, so that whoever
//! asks after a result was kept finds it. It ends with its worker, or when the disk fails it: then there is no cache.

use std::path::{Path, PathBuf};

use prometheus_client::metrics::gauge::Gauge;
use schemas::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::contract::Key;
use super::entry::Entry;
use super::index::{Capacity, Index};

/// Memory for its pages.
const CACHE_BYTES: u64 = 16 << 20;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Look a result up.
    Recall { key: Key, now: Timestamp, answer: oneshot::Sender<Option<Entry>> },
    /// Keep a result.
    Remember { key: Key, now: Timestamp, entry: Box<Entry> },
}

/// Opens the store and starts its thread; the reason when it cannot be used.
pub(super) async fn start(
    directory: PathBuf,
    capacity: Capacity,
    mut orders: mpsc::Receiver<Order>,
    entries: Gauge,
) -> Result<(), String> {
    let (opened, is_open) = oneshot::channel();
    let work = move || {
        let mut store = match Store::open(&directory, capacity, entries) {
            Ok(store) => store,
            Err(error) => {
                // Whoever started us has given up when nobody hears it.
                let _ = opened.send(Err(error));
                return;
            }
        };
        let _ = opened.send(Ok(()));
        while let Some(order) = orders.blocking_recv() {
            if let Err(error) = store.carry_out(order) {
                tracing::warn!(directory = %directory.display(), %error, "results are not cached any more");
                break;
            }
        }
        store.entries.set(0);
    };
    let thread = std::thread::Builder::new().name("result-cache".to_owned()).spawn(work);
    thread.map_err(|error| error.to_string())?;
    is_open.await.unwrap_or_else(|_| Err("the store broke down while it was opened".to_owned()))
}

struct Store {
    results: sled::Db,
    index: Index,
    entries: Gauge,
}

impl Store {
    /// What cannot be read, and what has no room any more, is removed.
    fn open(directory: &Path, capacity: Capacity, entries: Gauge) -> Result<Self, String> {
        let config = sled::Config::new().path(directory).cache_capacity(CACHE_BYTES);
        let results = config.open().map_err(|error| error.to_string())?;
        let mut store = Self { results, index: Index::new(capacity), entries };
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

    fn carry_out(&mut self, order: Order) -> sled::Result<()> {
        match order {
            Order::Recall { key, now, answer } => {
                let found = self.recall(&key, now)?;
                // A trial that was stopped meanwhile does not listen.
                let _ = answer.send(found);
                Ok(())
            }
            Order::Remember { key, now, entry } => {
                let Some(bytes) = Entry { at: now, ..*entry }.encode() else { return Ok(()) };
                self.results.insert(key, bytes.as_slice())?;
                self.insert(key, now, bytes.len())
            }
        }
    }

    fn recall(&mut self, key: &Key, now: Timestamp) -> sled::Result<Option<Entry>> {
        if self.index.is_fresh(key, now)
            && let Some(bytes) = self.results.get(key)?
            && let Some(entry) = Entry::decode(&bytes)
        {
            return Ok(Some(entry));
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
