//! The worker as a service: connect, warm up, take one request per free capacity, drain.

use std::sync::Arc;
use std::time::Duration;

use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::health::{ComponentHandle, Health};
use service_kit::intake::Intake;
use service_kit::metrics::Metrics;
use service_kit::publish::Publisher;
use service_kit::registry::Registry;
use service_kit::shutdown::Shutdown;
use service_kit::topology::{self, WORKER_CONSUMER};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::artifacts::Artifacts;
use crate::cache::ResultCache;
use crate::census::Census;
use crate::cli::ServeArgs;
use crate::control::take_cancel_requests;
use crate::datasets::Datasets;
use crate::fault::Faults;
use crate::footing::Footing;
use crate::gauges::Gauges;
use crate::in_hand::{self, InHand};
use crate::means::{Means, unwritable};
use crate::outside::DRAIN_GRACE;
use crate::plan::Allowed;
use crate::retry::RetryPolicy;
use crate::slots::Slots;
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
/// How long a broker that does not answer may keep a worker from its end, once its trials are stopped: with the grace that
/// trials have, within the half minute that orchestrators leave a process.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Directory of the result cache, in the data directory. It may be removed at any time.
pub(crate) const RESULTS: &str = "results";
/// Port of the health endpoint.
pub(crate) const HEALTH_PORT: u16 = 8000;

/// Serves until told to stop.
///
/// # Errors
/// When the broker, the data directory or the interpreter cannot be used.
pub(crate) async fn serve(args: ServeArgs, shutdown: Shutdown) -> Result<Exit, CliError> {
    let metrics = Metrics::new();
    let health = Health::new("bridge-worker");
    let (broker_up, python_up) = (health.component("broker"), health.component("python"));
    let workdir_up = health.component("workdir");
    broker_up.not_ready("connecting");
    python_up.not_ready("starting");
    workdir_up.not_ready("starting");
    let address = args.health.serve(HEALTH_PORT, health, metrics.clone(), shutdown.clone()).await?;
    let means = Means::of(&args, args.worker_id().into())?;
    let standing = tokio::spawn(Footing { means: means.clone(), python_up, workdir_up }.keep());
    let target = args.broker.resolve()?;
    let broker = Broker::connect(&target, "bridge-worker", BROKER_PATIENCE).await?;
    topology::ensure(&broker).await?;
    broker_up.ready();
    let worker = Arc::new(assemble(&args, broker, means, &metrics).await?);
    tracing::info!(worker = &*worker.id, slots = worker.slots.count(), http = %address, "worker ready");
    let mut helpers = JoinSet::new();
    helpers.spawn(take_cancel_requests(worker.clone(), shutdown.clone()));
    helpers.spawn(Census::new(&metrics).keep(worker.slots.clone()));
    helpers.spawn(watch_broker(worker.broker.clone(), broker_up));
    let lost = tokio::select! {
        () = take_requests(&worker, &shutdown) => None,
        error = worker.broker.gone() => Some(error),
        // They go on for ever: one that ended broke down, and cancel requests would wait unseen.
        Some(_) = helpers.join_next() => Some(CliError::internal("a part of the worker broke down")
            .help("start it again, its runs go on; please report the lines above")),
    };
    helpers.abort_all();
    standing.abort();
    if let Some(error) = lost {
        // Nothing can be said any more; the runs in hand come again, and the children end with this process.
        worker.close_cache().await;
        return Err(error);
    }
    worker.close().await;
    Ok(Exit::Done)
}

pub(crate) async fn assemble(
    args: &ServeArgs,
    broker: Broker,
    means: Means,
    metrics: &Metrics,
) -> Result<Worker, CliError> {
    let Means { id, slots, invoker, workdirs, code, fitness } = means;
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
    let cache = ResultCache::open(&args.cache, &results, (slots.settings(), &code), &gauges).await;
    Ok(Worker {
        cache,
        publisher: Publisher::new(&broker, args.wire.encoding.into()),
        registry,
        slots,
        artifacts,
        datasets: Datasets::new(args.dataset_dir(), work.join(&*id).join("fetched")),
        workdirs,
        fitness,
        last_word: CancellationToken::new(),
        id,
        in_hand,
        retries: RetryPolicy {
            max_retries: args.max_retries,
            backoff: Duration::from_millis(args.retry_backoff_ms),
        },
        allowed: Allowed { entrypoints: args.allow_entrypoint.clone(), has_script: invoker.has_script() },
        invoker,
        gates: args.gates.gates()?,
        gauges,
        faults: Faults::default(),
        broker,
    })
}

pub(crate) async fn watch_broker(broker: Broker, broker_up: ComponentHandle) {
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    loop {
        tick.tick().await;
        if broker.is_connected() { broker_up.ready() } else { broker_up.not_ready("connection lost") }
    }
}

/// Takes a request whenever a slot is free and fit, and a few more to share the slots when they are not free, until the
/// worker is told to stop; then waits for the runs in hand.
async fn take_requests(worker: &Arc<Worker>, shutdown: &Shutdown) {
    let mut intake = Intake::new(&worker.broker, WORKER_CONSUMER, 1);
    let mut runs: JoinSet<()> = JoinSet::new();
    let limit = worker.slots.count() * RUNS_PER_SLOT;
    let mut full_since = None;
    loop {
        while runs.try_join_next().is_some() {}
        note_load(&worker.gauges, &worker.slots, runs.len());
        let is_free = runs.len() < limit && worker.slots.free() > 0;
        let since = *full_since.get_or_insert_with(Instant::now);
        let may_share = since.elapsed() > SHARE_AFTER && runs.len() < SHARED_RUNS.max(limit);
        let has_capacity = (is_free || may_share) && worker.fitness.is_proven();
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
    let last_word = tokio::spawn(have_the_last_word(worker.last_word.clone(), shutdown.clone()));
    while runs.join_next().await.is_some() {}
    last_word.abort();
    drop(hold);
}

pub(crate) fn note_load(gauges: &Gauges, slots: &Slots, runs: usize) {
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    gauges.runs.set(count(runs));
    gauges.busy_slots.set(count(slots.count() - slots.free()));
}

/// From the drain on, ends the waiting for a broker that does not answer, so that whoever stopped the worker need not
/// kill it.
pub(crate) async fn have_the_last_word(last_word: CancellationToken, shutdown: Shutdown) {
    shutdown.drain().await;
    tokio::select! {
        () = shutdown.now() => {}
        () = tokio::time::sleep(DRAIN_GRACE) => {}
    }
    tokio::time::sleep(LAST_WORDS).await;
    last_word.cancel();
}
