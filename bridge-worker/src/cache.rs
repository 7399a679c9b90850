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
//!   fails because of it, and none waits for a write; a worker that ends waits for what it kept, [`ResultCache::close`].
//!
//! - what has come, or may have come, from other code than the contract names is neither answered nor kept: [`Code`].
//!
//! Deliberately not here: results of runs that prune. What a trial reports decides about others there, and when.

pub mod code;
pub mod contract;
pub mod entry;
pub mod index;
mod orders;
mod store;
#[cfg(test)]
mod tests;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use search::Proposal;
use tokio::sync::{Semaphore, oneshot};

use crate::child::ChildSettings;
use crate::gauges::Gauges;
use crate::plan::RunPlan;
use code::Code;
use contract::{Contract, contract};
use entry::{Entry, MAX_ENTRY_BYTES};
use index::Capacity;
use orders::Orders;
use store::{Kept, Order};
use watch::Watch;

/// Orders the store may have before it; when there are more it is too slow to be worth asking.
const MAX_ORDERS: usize = 256;
/// Bytes of the results among them.
const MAX_WAITING_BYTES: usize = MAX_ENTRY_BYTES;
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

impl CacheArgs {
    /// True when anything may be kept.
    pub fn is_on(&self) -> bool {
        self.cache_enabled && self.cache_max_entries > 0
    }

    /// How long a result is kept; none when until others need its room.
    pub fn ttl(&self) -> Option<Duration> {
        (self.cache_ttl_ms > 0).then(|| Duration::from_millis(self.cache_ttl_ms))
    }
}

/// The result cache of a worker.
#[derive(Debug)]
pub struct ResultCache {
    orders: Orders,
    /// Bytes that may still wait.
    room: Arc<Semaphore>,
    environment: Environment,
    /// The code is not what it was.
    is_code_over: Arc<AtomicBool>,
    gauges: Gauges,
}

/// What else than the request a result depends on.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Interpreter and child runtime.
    pub runtime: String,
    /// SHA-256 of the code trainers are imported from; none when that is not known.
    pub code: Option<String>,
}

impl ResultCache {
    /// Opens the store in `directory`; `None`, and a word about it, when there is nothing to keep or it cannot be used.
    /// The code was looked at before the first child was started.
    pub async fn open(
        args: &CacheArgs,
        directory: &Path,
        (children, code): (&ChildSettings, &Arc<Code>),
        gauges: &Gauges,
    ) -> Option<Arc<Self>> {
        if !args.is_on() {
            return None;
        }
        let capacity = Capacity {
            ttl: args.ttl(),
            max_entries: args.cache_max_entries as usize,
            max_bytes: index::MAX_BYTES,
        };
        let (orders, received) = sync_channel(MAX_ORDERS);
        let is_code_over = Arc::new(AtomicBool::new(false));
        let means = store::Means {
            directory: directory.to_owned(),
            capacity,
            watch: Watch::of(code.clone(), is_code_over.clone()),
            entries: gauges.cache_entries.clone(),
        };
        let ended = match store::start(means, received).await {
            Ok(ended) => ended,
            Err(reason) => {
                tracing::warn!(directory = %directory.display(), reason, "results are not cached");
                return None;
            }
        };
        let orders = Orders::new(orders, ended);
        let runtime = format!("{} {}", children.python.display(), children.runtime.display());
        let environment = Environment { runtime, code: hash(code.clone()).await };
        let room = Arc::new(Semaphore::new(MAX_WAITING_BYTES));
        Some(Arc::new(Self { orders, room, environment, is_code_over, gauges: gauges.clone() }))
    }

    /// What determines the result of a trial; `None` when that is not known, or not any more.
    pub fn contract(&self, plan: &RunPlan, proposal: &Proposal) -> Option<Contract> {
        let contract = contract(plan, proposal, &self.environment)?;
        let is_known = !contract.needs_code || !self.is_code_over.load(Ordering::Acquire);
        is_known.then_some(contract)
    }

    /// What an equal trial came to.
    pub async fn recall(&self, contract: Contract) -> Option<Entry> {
        let (answer, answered) = oneshot::channel();
        let order = Order::Recall { contract, now: service_kit::clock::now(), answer };
        let found = if self.orders.give(order) {
            tokio::time::timeout(PATIENCE, answered).await.ok().and_then(Result::ok).flatten()
        } else {
            None
        };
        let counter = if found.is_some() { &self.gauges.cache_hits } else { &self.gauges.cache_misses };
        counter.inc();
        found
    }

    /// Keeps what a trial came to that was trained by the function in `source`. Not waited for: a store that is behind
    /// forgets it.
    pub fn remember(&self, contract: Contract, entry: Entry, source: Option<PathBuf>) {
        let bytes = entry.weight();
        if bytes > MAX_ENTRY_BYTES {
            return;
        }
        let room =
            u32::try_from(bytes).ok().and_then(|bytes| self.room.clone().try_acquire_many_owned(bytes).ok());
        let is_sent = room.is_some_and(|room| {
            let now = service_kit::clock::now();
            let kept = Kept { contract, now, entry, source, _room: room };
            self.orders.give(Order::Remember(Box::new(kept)))
        });
        if !is_sent {
            self.gauges.cache_dropped.inc();
            tracing::debug!("the result cache is behind; a result is not kept");
        }
    }

    /// Has what was kept written to the disk, for whoever comes next; nothing is answered or kept after it. A disk that
    /// takes longer than that should take is not waited for.
    pub async fn close(&self) {
        self.orders.end().await;
    }
}

/// The hash of the code; none, and a word about it, when it is not known.
async fn hash(code: Arc<Code>) -> Option<String> {
    let hashed = tokio::task::spawn_blocking(move || code.hash()).await.ok()?;
    hashed.inspect_err(|reason| tracing::info!(%reason, "results of our own trainers alone are cached")).ok()
}
