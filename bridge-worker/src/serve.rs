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
use crate::child::{ChildSettings, StartError};
use crate::cli::ServeArgs;
use crate::control::take_cancel_requests;
use crate::fault::Faults;
use crate::gauges::Gauges;
use crate::in_hand::{self, InHand};
use crate::invoker::{FallbackTo, Invoker};
use crate::plan::Allowed;
use crate::retry::RetryPolicy;
use crate::runtime;
use crate::script::ScriptSettings;
use crate::slots::Slots;
use crate::workdir::Workdirs;
use crate::worker::Worker;

/// How long a service waits for its broker at the start.
const BROKER_PATIENCE: Duration = Duration::from_secs(30);
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
/// Longest a call by subprocess may take when nobody says otherwise.
const DEFAULT_SUBPROCESS_LIMIT: Duration = Duration::from_secs(15);
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
    let invoker = invoker(&args, &settings)?;
    let slots = Slots::new(args.slots(), settings);
    let warming = tokio::spawn(warm(slots.clone(), invoker.clone(), python_up));
    let target = args.broker.resolve()?;
    let broker = Broker::connect(&target, "bridge-worker", BROKER_PATIENCE).await?;
    topology::ensure(&broker).await?;
    broker_up.ready();
    let worker = Arc::new(assemble(&args, broker, slots, invoker, &metrics).await?);
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

async fn assemble(
    args: &ServeArgs,
    broker: Broker,
    slots: Arc<Slots>,
    invoker: Arc<Invoker>,
    metrics: &Metrics,
) -> Result<Worker, CliError> {
    let artifacts = Artifacts::open(&broker).await.map_err(|reason| {
        CliError::new("artifacts-missing", Exit::Unreachable, "the artefact store cannot be opened")
            .because(reason)
    })?;
    let id: Arc<str> = args.worker_id().into();
    let work = args.workdir();
    let in_hand = InHand::open(&work.join(&*id)).map_err(|error| unwritable(&work, &error))?;
    let registry = Registry::open(&broker).await?;
    in_hand::give_back(&work, &broker, &registry).await;
    Ok(Worker {
        publisher: Publisher::new(&broker, args.wire.encoding.into()),
        registry,
        slots,
        artifacts,
        workdirs: Workdirs::under(work.join(&*id)),
        id,
        in_hand,
        retries: RetryPolicy {
            max_retries: args.max_retries,
            backoff: Duration::from_millis(args.retry_backoff_ms),
        },
        allowed: Allowed { entrypoints: args.allow_entrypoint.clone(), has_script: invoker.has_script() },
        invoker,
        gates: args.gates.gates()?,
        gauges: Gauges::new(metrics),
        faults: Faults::default(),
        broker,
    })
}

fn child_settings(args: &ServeArgs) -> Result<ChildSettings, CliError> {
    let data_dir = &args.broker.data_dir;
    let runtime =
        runtime::lay_out(&data_dir.join("runtime")).map_err(|error| unwritable(data_dir, &error))?;
    let runtime = std::path::absolute(&runtime).map_err(|error| unwritable(&runtime, &error))?;
    let dataset_dir = args.dataset_dir.clone().unwrap_or_else(|| data_dir.join("datasets"));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(ChildSettings {
        python: args.python.clone(),
        runtime,
        preload: args.preload.clone(),
        dataset_dir: std::path::absolute(&dataset_dir).ok(),
        extra_paths: args
            .repo
            .iter()
            .map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()))
            .collect::<Vec<PathBuf>>(),
        threads: (cores / args.slots()).max(1),
    })
}

/// How Python is called, with a script of our own where the operator names none.
fn invoker(args: &ServeArgs, settings: &ChildSettings) -> Result<Arc<Invoker>, CliError> {
    let data_dir = &args.broker.data_dir;
    // A copy of its own: whatever keeps the children from starting is not to keep the fallback from it.
    let runtime = runtime::lay_out(&data_dir.join("runtime").join("subprocess"))
        .and_then(|runtime| std::path::absolute(&runtime))
        .map_err(|error| unwritable(data_dir, &error))?;
    let ours = ScriptSettings {
        python: settings.python.clone(),
        script: runtime.join(runtime::SCRIPT),
        is_the_operators: false,
        limit: args.timeout_ms.map(Duration::from_millis),
        import_paths: std::iter::once(runtime).chain(settings.extra_paths.iter().cloned()).collect(),
        dataset_dir: settings.dataset_dir.clone(),
        threads: settings.threads,
    };
    let limit = ours.limit.or(Some(DEFAULT_SUBPROCESS_LIMIT));
    let script = match &args.script {
        Some(path) => {
            ScriptSettings { script: existing(path)?, is_the_operators: true, limit, ..ours.clone() }
        }
        None => ScriptSettings { limit, ..ours.clone() },
    };
    let reserve = match args.fallback {
        FallbackTo::Subprocess => Some(ours),
        FallbackTo::None => None,
    };
    Ok(Invoker::new(args.invoker, script, reserve))
}

fn existing(script: &Path) -> Result<PathBuf, CliError> {
    script.canonicalize().map_err(|error| {
        CliError::new("script-missing", Exit::Usage, format!("there is no script {}", script.display()))
            .because(error)
            .help("name an existing file with --script or CEREBROS_SCRIPT")
    })
}

fn unwritable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::new("data-dir-unwritable", Exit::LocalResource, format!("cannot write to {}", path.display()))
        .because(error)
        .help("choose another directory with --data-dir or CEREBROS_DATA_DIR")
}

/// Warms the slots until it works: an interpreter that is being installed is waited for, and said.
async fn warm(slots: Arc<Slots>, invoker: Arc<Invoker>, python_up: service_kit::health::ComponentHandle) {
    if !invoker.needs_children() {
        return python_up.ready();
    }
    let mut pause = Duration::from_millis(500);
    loop {
        match slots.warm().await {
            Ok(()) => return python_up.ready(),
            // Calls are made all the same, and try the children again now and then. Warming would take every slot for it.
            Err(error @ StartError::NotReady { .. }) if invoker.falls_back() => {
                tracing::warn!(%error, "Python children do not start; calls fall back to processes of their own");
                return python_up.ready();
            }
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
