//! How long a run of ten thousand trials takes to go on after its worker was lost.
//!
//! A worker trains so many trials of a random search and is killed while it has one more under way; the next one is
//! started. From the moment it has the run in hand (its claim, seen passing on the way into the registry) it has to read
//! what the first has left on the stream and to announce that it goes on; then it trains. The broker's patience with the
//! lost worker comes before that moment and has a row of its own.

use std::time::Duration;

use schemas::cloudevents::header;
use schemas::event::{RunRequested, RunStarted};
use schemas::subject::STREAM;
use schemas::{Event, RunId};
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::history::{History, Kept};
use service_kit::publish;
use tokio::time::timeout;

use crate::cli::{Effort, progress};
use crate::faults;
use crate::programs::Programs;
use crate::registry_tap::RegistryTap;
use crate::runs::ours;
use crate::stand::{Stand, timed_trainers};
use crate::table::{Figure, Finding, Target, Unit};
use crate::timings::Timings;

/// Trials that are there when the worker is lost.
const TRIALS: u32 = 10_000;
const SLOTS: usize = 2;
/// What is promised, for either moment.
const TARGET: Target = Target::OursAtMost(Figure::new(2.0, Unit::Seconds));
/// How long the next event may be awaited: the broker's patience with a lost worker is in it.
const EVENT_LIMIT: Duration = Duration::from_secs(120);
/// How long the request is repeated.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(10);

/// What one takeover took.
struct Takeover {
    lost_to_claimed: Duration,
    claimed_to_started: Duration,
    claimed_to_trial: Duration,
}

/// Measures takeovers, each on a stand of its own.
pub(crate) async fn measure(effort: Effort) -> Result<Vec<Finding>, CliError> {
    let programs = Programs::build(&["bridge-worker"]).await?;
    let rounds = effort.choose(1, 3);
    let [mut claimed, mut started, mut trained] = [Timings::new(), Timings::new(), Timings::new()];
    for round in 1..=rounds {
        progress(format!("takeover {round} of {rounds}: {TRIALS} trials, then the worker is killed"));
        let took = takeover(&programs).await?;
        claimed.record(took.lost_to_claimed);
        started.record(took.claimed_to_started);
        trained.record(took.claimed_to_trial);
    }
    let row = |what: &str, timings: &Timings, target| {
        let slowest = Figure::seconds(timings.quantile(1.0));
        Finding::alone(format!("resume: {what}"), Figure::seconds(timings.p50()), target)
            .with_remark(format!("{rounds} takeovers, the slowest {slowest}"))
    };
    Ok(vec![
        row(&format!("claimed -> run.started stored, {TRIALS} trials resumed"), &started, TARGET),
        row("claimed -> first new trial stored", &trained, TARGET),
        row("worker killed -> claimed by the next", &claimed, Target::None),
    ])
}

async fn takeover(programs: &Programs) -> Result<Takeover, CliError> {
    let stand = Stand::open().await?;
    let broker = stand.connect().await?;
    let first = stand.worker_with(programs, SLOTS, timed_trainers()).await?;
    let client = ours::client(broker.clone(), search);
    let (request, run) = (client.request)()?;
    let mut events =
        History::from_now(&broker, STREAM, &["ml.run.trial", "cerebros.nas.run.started"]).await?;
    publish::send(&broker, &request, PUBLISH_PATIENCE)
        .await
        .map_err(|error| CliError::internal("a request was not published").because(error))?;
    let mut trials = 0;
    while trials < TRIALS {
        trials += u32::from(next_of(&mut events, &run).await?.subject == "ml.run.trial");
    }
    let mut registry = RegistryTap::open(&broker).await?;
    let lost = clock::now().micros();
    first.kill().await;
    let second = stand.worker_with(programs, SLOTS, timed_trainers()).await?;
    let claimed = registry.claimed_after(&run, 1).await?;
    let kept = next_of(&mut events, &run).await?;
    let started = started_in(&kept)?;
    if started.resumed_trials != TRIALS {
        let text = format!("the next worker resumed {} trials of {TRIALS}", started.resumed_trials);
        return Err(CliError::new("not-resumed", Exit::Unsuccessful, text));
    }
    let trial = next_of(&mut events, &run).await?;
    second.stop().await;
    let since = |from: i64, to: i64| Duration::from_micros((to - from).max(0).unsigned_abs());
    Ok(Takeover {
        lost_to_claimed: since(lost, claimed),
        claimed_to_started: since(claimed, kept.time.micros()),
        claimed_to_trial: since(claimed, trial.time.micros()),
    })
}

fn started_in(kept: &Kept) -> Result<RunStarted, CliError> {
    match kept.decode().map(|decoded| decoded.event) {
        Ok(Event::RunStarted(started)) => Ok(started),
        other => {
            let text = format!("{} came instead of the next attempt's start", kept.subject);
            Err(CliError::internal(text).because(format!("{other:?}")))
        }
    }
}

async fn next_of(events: &mut History, run: &str) -> Result<Kept, CliError> {
    loop {
        let next = timeout(EVENT_LIMIT, events.next()).await;
        let next = next.map_err(|_| faults::silent("the next event of the run", EVENT_LIMIT))??;
        let kept = next.ok_or_else(|| CliError::internal("a stream ended"))?;
        if kept.headers.get(header::RUN_ID) == Some(run) {
            return Ok(kept);
        }
    }
}

/// One trial more than shall be resumed; the first attempt never gets beyond them.
fn search(run: &RunId) -> RunRequested {
    let request = serde_json::json!({
        "run_id": run.as_str(),
        "dataset_id": "digits",
        "trainer": "timed_trainers:stalls_from",
        "strategy": "random",
        "seed": 7,
        "search_space": {"first": [TRIALS], "x": {"low": 0.0, "high": 1.0}},
        "budget": {"max_trials": TRIALS + 1},
    });
    serde_json::from_value(request).expect("a request written here is valid")
}
