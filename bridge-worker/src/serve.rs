//! The worker as a service: connect, warm up, take one request per free capacity, drain.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::health::Health;
use service_kit::intake::Intake;
use service_kit::metrics::Metrics;
use service_kit::publish::Publisher;
use service_kit::registry::Registry;
use service_kit::shutdown::Shutdown;
use service_kit::topology::{self, WORKER_CONSUMER};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::artifacts::Artifacts;
use crate::cache::ResultCache;
use crate::child::{ChildSettings, StartError};
use crate::cli::ServeArgs;
use crate::control::take_cancel_requests;
use crate::datasets::Datasets;
use crate::fault::Faults;
use crate::gauges::Gauges;
use crate::in_hand::{self, InHand};
use crate::plan::Allowed;
use crate::retry::RetryPolicy;
use crate::runtime;
use crate::slots::Slots;
use crate::workdir::Workdirs;
use crate::worker::Worker;

/// How long a service waits for its broker at the start.
pub(crate) const BROKER_PATIENCE: Duration = Duration::from_secs(30);
/// Runs in hand per slot while a slot is free: while one run's events are being confirmed, another trains.
const RUNS_PER_SLOT: usize = 4;
/// Runs in hand at least allowed while they share slots that are all in use. Each of them takes its turns; what is in
/// hand here is not there for a worker that is started meanwhile, so they are few.
const SHARED_RUNS: usize = 16;
/// How long all slots are in use before another run is taken to share them. A worker with a free slot has been waiting
/// at the broker for it all the while, so that what comes then nobody else wanted.
const SHARE_AFTER: Duration = Duration::from_millis(250);
/// How often it is looked whether a slot has become free for another run.
const CAPACITY_POLL: Duration = Duration::from_millis(5);
/// Directory of the result cache, in the data directory. It may be removed at any time.
pub(crate) const RESULTS: &str = "results";
/// Port of the health endpoint.
const HEALTH_PORT: u16 = 8000;

/// Serves until told to stop.
///
/// # Errors
/// When the broker, the data directory or the interpreter cannot be used.
pub(crate) async fn serve(args: ServeArgs, shutdown: Shutdown) -> Result<Exit, CliError> {
    let metrics = Metrics::new();
    let health = Health::new("bridge-worker");
    let (broker_up, python_up) = (health.component("broker"), health.component("python"));
    broker_up.not_ready("connecting");
    python_up.not_ready("starting");
    let address = args.health.serve(HEALTH_PORT, health, metrics.clone(), shutdown.clone()).await?;
    let settings = child_settings(&args)?;
    let slots = Slots::new(args.slots(), settings);
    let warming = tokio::spawn(warm(slots.clone(), python_up));
    let target = args.broker.resolve()?;
    let broker = Broker::connect(&target, "bridge-worker", BROKER_PATIENCE).await?;
    topology::ensure(&broker).await?;
    broker_up.ready();
    let worker = Arc::new(assemble(&args, args.worker_id().into(), broker, slots, &metrics).await?);
    tracing::info!(worker = &*worker.id, slots = worker.slots.count(), http = %address, "worker ready");
    let mut helpers = JoinSet::new();
    helpers.spawn(take_cancel_requests(worker.clone(), shutdown.clone()));
    helpers.spawn(watch_broker(worker.broker.clone(), broker_up));
    let lost = tokio::select! {
        () = take_requests(&worker, &shutdown) => None,
        error = worker.broker.gone() => Some(error),
        // They go on for ever: one that ended broke down, and cancel requests would wait unseen.
        Some(_) = helpers.join_next() => Some(CliError::internal("a part of the worker broke down")
            .help("start it again, its runs go on; please report the lines above")),
    };
    helpers.abort_all();
    warming.abort();
    if let Some(error) = lost {
        // Nothing can be said any more; the runs in hand come again, and the children end with this process.
        return Err(error);
    }
    worker.slots.close().await;
    worker.broker.flush().await;
    Ok(Exit::Done)
}

pub(crate) async fn assemble(
    args: &ServeArgs,
    id: Arc<str>,
    broker: Broker,
    slots: Arc<Slots>,
    metrics: &Metrics,
) -> Result<Worker, CliError> {
    let artifacts = Artifacts::open(&broker).await.map_err(|reason| {
        CliError::new("artifacts-missing", Exit::Unreachable, "the artefact store cannot be opened")
            .because(reason)
    })?;
    let work = args.workdir();
    let in_hand = InHand::open(&work.join(&*id)).map_err(|error| unwritable(&work, &error))?;
    let registry = Registry::open(&broker).await?;
    in_hand::give_back(&work, &broker, &registry).await;
    let gauges = Gauges::new(metrics);
    let results = args.broker.data_dir.join(RESULTS);
    let cache = ResultCache::open(&args.cache, &results, slots.settings(), &gauges).await;
    Ok(Worker {
        cache,
        publisher: Publisher::new(&broker, args.wire.encoding.into()),
        registry,
        slots,
        artifacts,
        datasets: Datasets::new(args.dataset_dir(), work.join(&*id).join("fetched")),
        workdirs: Workdirs::under(work.join(&*id)),
        id,
        in_hand,
        retries: RetryPolicy {
            max_retries: args.max_retries,
            backoff: Duration::from_millis(args.retry_backoff_ms),
        },
        allowed: Allowed { entrypoints: args.allow_entrypoint.clone() },
        gates: args.gates.gates()?,
        gauges,
        faults: Faults::default(),
        broker,
    })
}

pub(crate) fn child_settings(args: &ServeArgs) -> Result<ChildSettings, CliError> {
    let data_dir = &args.broker.data_dir;
    let runtime =
        runtime::lay_out(&data_dir.join("runtime")).map_err(|error| unwritable(data_dir, &error))?;
    let runtime = std::path::absolute(&runtime).map_err(|error| unwritable(&runtime, &error))?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(ChildSettings {
        python: args.python.clone(),
        runtime,
        preload: args.preload.clone(),
        dataset_dir: Some(args.dataset_dir()),
        extra_paths: args
            .repo
            .iter()
            .map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()))
            .collect::<Vec<PathBuf>>(),
        threads: (cores / args.slots()).max(1),
    })
}

fn unwritable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::new("data-dir-unwritable", Exit::LocalResource, format!("cannot write to {}", path.display()))
        .because(error)
        .help("choose another directory with --data-dir or CEREBROS_DATA_DIR")
}

/// Warms the slots until it works: an interpreter that is being installed is waited for, and said.
async fn warm(slots: Arc<Slots>, python_up: service_kit::health::ComponentHandle) {
    let mut pause = Duration::from_millis(500);
    loop {
        match slots.warm().await {
            Ok(()) => return python_up.ready(),
            Err(error @ (StartError::Spawn { .. } | StartError::NotReady { .. })) => {
                tracing::error!(%error, "Python children do not start");
                python_up.not_ready(error);
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(30));
    }
}

async fn watch_broker(broker: Broker, broker_up: service_kit::health::ComponentHandle) {
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    loop {
        tick.tick().await;
        if broker.is_connected() { broker_up.ready() } else { broker_up.not_ready("connection lost") }
    }
}

/// Takes a request whenever a slot is free, and a few more to share the slots when they are not, until the worker is told
/// to stop; then waits for the runs in hand.
async fn take_requests(worker: &Arc<Worker>, shutdown: &Shutdown) {
    let mut intake = Intake::new(&worker.broker, WORKER_CONSUMER, 1);
    let mut runs: JoinSet<()> = JoinSet::new();
    let limit = worker.slots.count() * RUNS_PER_SLOT;
    let mut full_since = None;
    loop {
        while runs.try_join_next().is_some() {}
        note_load(worker, runs.len());
        let is_free = runs.len() < limit && worker.slots.free() > 0;
        let since = *full_since.get_or_insert_with(Instant::now);
        let may_share = since.elapsed() > SHARE_AFTER && runs.len() < SHARED_RUNS.max(limit);
        let has_capacity = is_free || may_share;
        if is_free {
            full_since = None;
        }
        tokio::select! {
            biased;
            () = shutdown.drain() => break,
            delivery = intake.next(), if has_capacity => {
                runs.spawn(worker.clone().take(delivery, shutdown.clone()));
                full_since = None;
            }
            Some(_) = runs.join_next(), if !has_capacity => {}
            () = tokio::time::sleep(CAPACITY_POLL), if !has_capacity => {}
        }
    }
    drop(intake);
    let hold = (!runs.is_empty())
        .then(|| shutdown.hold(format!("{} runs to stop or finish their trials", runs.len())));
    while runs.join_next().await.is_some() {}
    drop(hold);
}

fn note_load(worker: &Worker, runs: usize) {
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    worker.gauges.runs.set(count(runs));
    worker.gauges.busy_slots.set(count(worker.slots.count() - worker.slots.free()));
}
