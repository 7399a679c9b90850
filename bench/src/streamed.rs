//! Trials that stream out of a child: a search of the user's own tells of them as fast as it can, and each is an event that
//! was validated, counted and stored. Beside as many events of ordinary size published raw.
//!
//! Ours is timed by the broker, from the first trial it stored to the last; raw from the first message to the last
//! confirmation. Every side of a round meets the same disturbances.

use std::time::Duration;

use schemas::cloudevents::header;
use schemas::event::RunRequested;
use schemas::subject::STREAM;
use schemas::{Record, RunId};
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::history::History;

use crate::cli::{Effort, progress};
use crate::contracts::raw_publishing;
use crate::programs::Programs;
use crate::runs::ours;
use crate::stand::{Stand, timed_trainers};
use crate::stream_client::StreamClient;
use crate::table::{Figure, Finding, Peer, Ratio, Target, Unit};
use crate::timings::{Timings, median};

/// Measures both in turns, after a warm-up.
pub(crate) async fn measure(effort: Effort) -> Result<Vec<Finding>, CliError> {
    let programs = Programs::build(&["bridge-worker"]).await?;
    let stand = Stand::open().await?;
    let worker = stand.worker_with(&programs, 1, timed_trainers()).await?;
    let broker = stand.connect().await?;
    let (rounds, trials) = (effort.choose(1, 5), effort.choose(2_000, 20_000));
    progress(format!(
        "{rounds} rounds of {trials} trials out of one child, and of as many events published raw"
    ));
    let (mut ours, mut raw) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let told = told(&broker, trials).await?;
        let published = raw_publishing(&broker, &format!("bench-streamed-{round}"), trials).await?;
        if round > 0 {
            ours.push(rate(trials, told));
            raw.push(rate(trials, published));
        }
    }
    worker.stop().await;
    let per_second = |rates: &[f64]| Figure::new(median(rates).unwrap_or_default(), Unit::PerSecond);
    let peer = Peer::new("raw windowed publishing", per_second(&raw));
    let name = "streamed: trials out of a child into the stream";
    let remark = format!("by round, ours {ours:.0?}, raw {raw:.0?}");
    Ok(vec![
        Finding::beside(name, per_second(&ours), peer, Ratio::OursByPeer, Target::RatioAtLeast(0.5))
            .with_remark(remark),
    ])
}

fn rate(count: u32, took: Duration) -> f64 {
    f64::from(count) / took.as_secs_f64()
}

/// How long the trials of one run took to be stored.
async fn told(broker: &Broker, trials: u32) -> Result<Duration, CliError> {
    let client: StreamClient = ours::client(broker.clone(), move |run| search(run, trials));
    let ending = client.latency(1, &mut Timings::new()).await?;
    let run = ending.headers.get(header::RUN_ID).unwrap_or_default();
    let subjects = [Record::TrialReported.subject()];
    let mut history = History::to_the_present(broker, STREAM, &subjects, 1).await?;
    let mut stored = Vec::with_capacity(trials as usize);
    while let Some(kept) = history.next().await? {
        if kept.headers.get(header::RUN_ID) == Some(run) {
            stored.push(kept.time.micros());
        }
    }
    match (stored.first(), stored.last()) {
        (Some(first), Some(last)) if stored.len() == trials as usize => {
            Ok(Duration::from_micros((last - first).max(1).unsigned_abs()))
        }
        _ => Err(CliError::internal(format!("{} trials of {trials} were stored", stored.len()))),
    }
}

fn search(run: &RunId, trials: u32) -> RunRequested {
    let request = serde_json::json!({
        "run_id": run.as_str(),
        "dataset_id": "digits",
        "entrypoint": "timed_trainers:tells",
        "budget": {"max_trials": trials},
    });
    serde_json::from_value(request).expect("a request written here is valid")
}
