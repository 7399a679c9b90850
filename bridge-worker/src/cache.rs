//! The result cache: what an equal trial came to a moment ago is its result.
//!
//! ```text
//! trial -> contract (what determines a result, hashed) -> store thread: index (decides), sled (keeps)
//! ```
//! Invariants:
//! - the key is the whole contract, [`contract`]: a changed spec, another pulse, other data or other code miss;
//! - only trials that succeeded are kept, with what they reported and with their files: an answer from here makes the
//!   same events as training, and says in a warning of its trial that it is one;
//! - it is an accelerator: a store that is damaged, in use, wiped or too slow is done without, and said once. No trial
//!   fails because of it, and none waits for a write.
//!
//! Deliberately not here: results of runs that prune. What a trial reports decides about others there, and when.

mod code;
pub mod contract;
pub mod entry;
pub mod index;
mod store;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::child::ChildSettings;
use crate::gauges::Gauges;
use contract::Key;
use entry::Entry;
use index::Capacity;
use store::Order;

/// Orders the store may have before it; when there are more it is too slow to be worth asking.
const MAX_ORDERS: usize = 256;
/// How long a trial waits for an answer; training is next.
const PATIENCE: Duration = Duration::from_secs(2);

/// Flags of the result cache.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Result cache")]
pub struct CacheArgs {
    /// Answer equal trials from what an earlier one came to
    #[arg(
        long,
        env = "CEREBROS_CACHE_ENABLED",
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set,
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    pub cache_enabled: bool,
    /// How long a result is kept in milliseconds; 0 keeps it until others need its room
    #[arg(long, env = "CEREBROS_CACHE_TTL_MS", value_name = "MS", default_value_t = 30_000)]
    pub cache_ttl_ms: u64,
    /// Results kept at most
    #[arg(long, env = "CEREBROS_CACHE_MAX_ENTRIES", value_name = "N", default_value_t = 512,
        value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub cache_max_entries: u32,
}

/// The result cache of a worker.
#[derive(Debug)]
pub struct ResultCache {
    orders: mpsc::Sender<Order>,
    environment: Environment,
    gauges: Gauges,
}

/// What else than the request a result depends on.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Interpreter and child runtime.
    pub runtime: String,
    /// SHA-256 of the code trainers are imported from; none when there is too much of it to tell.
    pub code: Option<String>,
}

impl ResultCache {
    /// Opens the store in `directory`; `None`, and a word about it, when there is nothing to keep or it cannot be used.
    pub async fn open(
        args: &CacheArgs,
        directory: &Path,
        children: &ChildSettings,
        gauges: &Gauges,
    ) -> Option<Arc<Self>> {
        if !args.cache_enabled || args.cache_max_entries == 0 {
            return None;
        }
        let capacity = Capacity {
            ttl: (args.cache_ttl_ms > 0).then(|| Duration::from_millis(args.cache_ttl_ms)),
            max_entries: args.cache_max_entries as usize,
            max_bytes: index::MAX_BYTES,
        };
        let (orders, received) = mpsc::channel(MAX_ORDERS);
        let (paths, entries) = (children.extra_paths.clone(), gauges.cache_entries.clone());
        let code = tokio::task::spawn_blocking(move || code::fingerprint(&paths)).await.ok().flatten();
        if let Err(reason) = store::start(directory.to_owned(), capacity, received, entries).await {
            tracing::warn!(directory = %directory.display(), reason, "results are not cached");
            return None;
        }
        let runtime = format!("{} {}", children.python.display(), children.runtime.display());
        Some(Arc::new(Self { orders, environment: Environment { runtime, code }, gauges: gauges.clone() }))
    }

    /// What else than the request results of this worker depend on.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// What an equal trial came to.
    pub async fn recall(&self, key: Key) -> Option<Entry> {
        let (answer, answered) = oneshot::channel();
        let order = Order::Recall { key, now: service_kit::clock::now(), answer };
        let found = match self.orders.try_send(order) {
            Ok(()) => tokio::time::timeout(PATIENCE, answered).await.ok().and_then(Result::ok).flatten(),
            Err(_) => None,
        };
        let counter = if found.is_some() { &self.gauges.cache_hits } else { &self.gauges.cache_misses };
        counter.inc();
        found
    }

    /// Keeps what a trial came to. Not waited for: a store that is behind forgets it.
    pub fn remember(&self, key: Key, entry: Entry) {
        let order = Order::Remember { key, now: service_kit::clock::now(), entry: Box::new(entry) };
        if self.orders.try_send(order).is_err() {
            tracing::debug!("the result cache is behind; a result is not kept");
        }
    }
}
