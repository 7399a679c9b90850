//! Atomic batches beside the sliding window, where an ack comes before the disk and where it comes after it.
//!
//! Both publish the same kind of events through a publisher, one batch after another, so that a batch shows what it
//! costs alone. Smaller counts under `sync_always`, where the window takes a flush of the disk for every message.

use std::time::Duration;

use schemas::Encoding;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::publish::Publisher;
use tokio::time::Instant;

use super::specimen;
use super::turns::{Rates, unpublished};
use crate::cli::{Effort, progress};
use crate::stand::{Durability, Stand};
use crate::table::{Finding, Peer, Ratio, Target};

/// Messages of a batch.
const SIZES: [usize; 2] = [100, 500];

/// Measures both sizes on both brokers.
pub(super) async fn measure(effort: Effort) -> Result<Vec<Finding>, CliError> {
    let rounds = effort.choose(2, 5);
    let mut findings = on(Durability::Default, rounds, effort.choose(5_000, 20_000)).await?;
    findings.extend(on(Durability::SyncAlways, rounds, effort.choose(1_000, 5_000)).await?);
    Ok(findings)
}

async fn on(durability: Durability, rounds: u32, count: u32) -> Result<Vec<Finding>, CliError> {
    let broker_kind = match durability {
        Durability::Default => "default sync",
        Durability::SyncAlways => "sync_always",
    };
    progress(format!(
        "{count} trial events in batches and through the window, {broker_kind}, {rounds} times"
    ));
    let stand = Stand::open_with(durability).await?;
    let broker = stand.connect().await?;
    // On a thread of the runtime, where services publish.
    let [window, small, large] = tokio::spawn(take_turns(broker, rounds, count))
        .await
        .map_err(|error| CliError::internal("the rounds ended abnormally").because(error))??;
    let row = |size: usize, batches: &Rates, target| {
        let peer = Peer::new("window", window.median());
        let name = format!("contracts: batches of {size}, {broker_kind}");
        Finding::beside(name, batches.median(), peer, Ratio::OursByPeer, target)
            .with_remark(format!("by round, batches {batches}, window {window}"))
    };
    let target = match durability {
        Durability::Default => Target::None,
        Durability::SyncAlways => Target::RatioAtLeast(5.0),
    };
    Ok(vec![row(SIZES[0], &small, Target::None), row(SIZES[1], &large, target)])
}

/// The window, and each size of batches.
async fn take_turns(broker: Broker, rounds: u32, count: u32) -> Result<[Rates; 3], CliError> {
    let mut rates = [Rates::new(count), Rates::new(count), Rates::new(count)];
    // The first round is a warm-up.
    for round in 0..=rounds {
        for place in 0..3 {
            let which = usize::try_from((round + place) % 3).unwrap_or_default();
            let size = which.checked_sub(1).map(|size| SIZES[size]);
            let took = publish(&broker, &format!("bench-{round}-{which}"), count, size).await?;
            if round > 0 {
                rates[which].record(took);
            }
        }
    }
    Ok(rates)
}

/// Publishes trials of a run in batches of a size, or through the window.
async fn publish(broker: &Broker, run: &str, count: u32, size: Option<usize>) -> Result<Duration, CliError> {
    let voice = specimen::voice(run);
    let events = specimen::trials(&voice, count);
    let publisher = Publisher::new(broker, Encoding::Json);
    let began = Instant::now();
    match size {
        Some(size) => {
            for batch in events.chunks(size) {
                publisher.publish_batched(batch, &voice).await.map_err(|error| unpublished(&error))?;
            }
        }
        None => drop(publisher.publish_all(&events, &voice).await.map_err(|error| unpublished(&error))?),
    }
    Ok(began.elapsed())
}
