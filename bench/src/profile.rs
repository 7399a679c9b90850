//! Where the time of a no-op run goes, for whoever tunes it. No targets.
//!
//! Stages of one run at a time, between moments the broker wrote down itself (when it stored the request and each
//! event) and moments of this process: submission, ending seen, and the two changes of the run registry, taken as they
//! pass by because the registry keeps only the last. All clocks are this machine's. Then many runs at once: processor
//! time by process and messages through the broker, each per run.

use std::collections::BTreeMap;
use std::time::Duration;

use schemas::cloudevents::header;
use schemas::subject::STREAM;
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::history::{History, Kept};
use service_kit::publish;
use tokio::time::timeout;

use crate::cli::{Effort, progress};
use crate::faults;
use crate::process_table::processor_time;
use crate::programs::Programs;
use crate::registry_tap::RegistryTap;
use crate::runs::ours;
use crate::service::Service;
use crate::stand::Stand;
use crate::stream_client::StreamClient;
use crate::table::{Figure, Finding, Target, Unit};
use crate::timings::Timings;

const SLOTS: usize = 2;
/// Runs before anything is recorded.
const WARM_UP: usize = 60;
/// How long an event of a run may be awaited.
const EVENT_LIMIT: Duration = Duration::from_secs(30);
/// How long a request is repeated.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(10);

/// Moments of a run, in order; each stage ends at one.
const STAGES: [(&str, &str); 9] = [
    ("requested", "submit -> request stored"),
    ("claimed", "-> claim sent to the registry (deliver, decode, read)"),
    ("started", "-> run.started stored"),
    ("ml.start", "-> ml.run.start stored"),
    ("trial", "-> ml.run.trial stored (slot, Python, trial)"),
    ("ml.stop", "-> ml.run.stop stored"),
    ("completed", "-> run.completed stored"),
    ("seen", "-> completed seen by the client"),
    ("recorded", "completed stored -> end sent to the registry"),
];

/// Microseconds of each moment of one run.
type Moments = BTreeMap<&'static str, i64>;

/// Measures both.
pub(crate) async fn measure(effort: Effort) -> Result<Vec<Finding>, CliError> {
    let programs = Programs::build(&["bridge-worker"]).await?;
    let stand = Stand::open().await?;
    let worker = stand.worker(&programs, SLOTS).await?;
    let client = ours::client(stand.connect().await?, ours::noop);
    client.latency(WARM_UP, &mut Timings::new()).await?;
    let mut findings = stages(&client, effort.choose(50, 500)).await?;
    findings.extend(costs(&stand, &worker, &client, effort.choose(300, 2000)).await?);
    worker.stop().await;
    Ok(findings)
}

async fn stages(client: &StreamClient, runs: usize) -> Result<Vec<Finding>, CliError> {
    progress(format!("stages of {runs} runs, one at a time"));
    let mut stages = STAGES.map(|_| Timings::new());
    let mut events = History::from_now(&client.broker, STREAM, &[]).await?;
    let mut registry = RegistryTap::open(&client.broker).await?;
    for _ in 0..runs {
        let moments = one(client, &mut events, &mut registry).await?;
        let mut previous = moments["submitted"];
        for ((moment, _), timings) in STAGES.iter().zip(&mut stages) {
            let at = moments[moment];
            let since = if *moment == "recorded" { moments["completed"] } else { previous };
            timings.record(Duration::from_micros((at - since).max(0).unsigned_abs()));
            previous = at;
        }
    }
    let rows = STAGES.iter().zip(&stages);
    Ok(rows
        .map(|((_, title), timings)| {
            let (p50, p99) = (Figure::micros(timings.p50()), Figure::micros(timings.p99()));
            Finding::spread(format!("stage: {title}"), p50, p99)
        })
        .collect())
}

/// Submits one run and collects its moments.
async fn one(
    client: &StreamClient,
    events: &mut History,
    registry: &mut RegistryTap,
) -> Result<Moments, CliError> {
    let (request, identity) = (client.request)()?;
    let mut moments = Moments::new();
    moments.insert("submitted", clock::now().micros());
    publish::send(&client.broker, &request, PUBLISH_PATIENCE)
        .await
        .map_err(|error| CliError::internal("a request was not published").because(error))?;
    while !moments.contains_key("completed") {
        let event = next(events).await?;
        let seen = clock::now().micros();
        if event.headers.get(header::RUN_ID) != Some(&identity) {
            continue;
        }
        let moment = match event.subject.as_str() {
            "cerebros.nas.run.requested" => "requested",
            "cerebros.nas.run.started" => "started",
            "ml.run.start" => "ml.start",
            "ml.run.trial" => "trial",
            "ml.run.stop" => "ml.stop",
            "cerebros.nas.run.completed" => "completed",
            other => return Err(CliError::internal(format!("a no-op run led to {other}"))),
        };
        moments.insert(moment, event.time.micros());
        moments.insert("seen", seen);
    }
    moments.insert("claimed", registry.next_of(&identity).await?);
    moments.insert("recorded", registry.next_of(&identity).await?);
    Ok(moments)
}

async fn next(history: &mut History) -> Result<Kept, CliError> {
    let next = timeout(EVENT_LIMIT, history.next()).await;
    let next = next.map_err(|_| faults::silent("the next event of a run", EVENT_LIMIT))??;
    next.ok_or_else(|| CliError::internal("a stream ended"))
}

/// What many runs at once cost, per run.
async fn costs(
    stand: &Stand,
    worker: &Service,
    client: &StreamClient,
    runs: usize,
) -> Result<Vec<Finding>, CliError> {
    progress(format!("costs of {runs} runs at once"));
    let children = local_stack::process::descendants(worker.pid());
    let processes: [(&str, Vec<u32>); 4] = [
        ("worker", vec![worker.pid()]),
        ("Python children", children),
        ("broker", vec![stand.pid()]),
        ("this client", vec![std::process::id()]),
    ];
    let used = || processes.iter().map(|(_, pids)| total(pids)).collect::<Result<Vec<_>, _>>();
    let (before, counted) = (used()?, stand.counts().await?);
    let took = client.throughput(runs).await?;
    let (after, counted_after) = (used()?, stand.counts().await?);
    let per_run = |amount: Duration| amount / u32::try_from(runs).unwrap_or(u32::MAX);
    let mut findings =
        vec![Finding::alone("cost: wall time per run", Figure::micros(per_run(took)), Target::None)];
    for ((name, _), (before, after)) in processes.iter().zip(before.into_iter().zip(after)) {
        let spent = Figure::micros(per_run(after.saturating_sub(before)));
        findings.push(Finding::alone(format!("cost: processor time per run, {name}"), spent, Target::None));
    }
    for (field, title) in [("in_msgs", "into"), ("out_msgs", "out of")] {
        let count = |counts: &serde_json::Value| counts[field].as_f64().unwrap_or_default();
        let messages =
            (count(&counted_after) - count(&counted)) / f64::from(u32::try_from(runs).unwrap_or(u32::MAX));
        let figure = Figure::new(messages, Unit::Count);
        findings.push(Finding::alone(
            format!("cost: messages {title} the broker per run"),
            figure,
            Target::None,
        ));
    }
    Ok(findings)
}

fn total(pids: &[u32]) -> Result<Duration, CliError> {
    pids.iter().map(|pid| processor_time(*pid)).sum()
}
