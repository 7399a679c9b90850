//! Validated events through a publisher, beside the same bytes and headers sent raw.
//!
//! Both sides share the broker, the client and the size of the window. Ours begins with events and ends when every one
//! is confirmed; raw begins with messages that were prepared before its clock started.

use std::time::Duration;

use schemas::Encoding;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::publish::Publisher;
use tokio::time::Instant;

use super::turns::{Rates, unpublished};
use super::{raw, specimen};
use crate::cli::{Effort, progress};
use crate::stand::Stand;
use crate::table::{Finding, Peer, Ratio, Target};

/// Messages on the way at once, as many as the publisher has.
const WINDOW: usize = 1024;

/// Measures both encodings.
pub(super) async fn measure(effort: Effort) -> Result<Vec<Finding>, CliError> {
    let stand = Stand::open().await?;
    let broker = stand.connect().await?;
    let (rounds, count) = (effort.choose(3, 9), effort.choose(20_000, 40_000));
    let mut findings = Vec::new();
    for (encoding, name) in [(Encoding::Json, "JSON"), (Encoding::Avro, "Avro")] {
        progress(format!("{count} trial events in {name}, through a publisher and raw, {rounds} times"));
        // On a thread of the runtime, where services publish.
        let rounds = tokio::spawn(beside_raw(broker.clone(), encoding, name, rounds, count)).await;
        findings.push(
            rounds.map_err(|error| CliError::internal("the rounds ended abnormally").because(error))??,
        );
    }
    Ok(findings)
}

async fn beside_raw(
    broker: Broker,
    encoding: Encoding,
    name: &'static str,
    rounds: u32,
    count: u32,
) -> Result<Finding, CliError> {
    let mut rates = [Rates::new(count), Rates::new(count)];
    // The first round is a warm-up.
    for round in 0..=rounds {
        for place in 0..2 {
            let which = usize::try_from((round + place) % 2).unwrap_or_default();
            let run = format!("bench-{name}-{round}-{which}");
            let took = match which {
                0 => validated(&broker, encoding, &run, count).await?,
                _ => prepared(&broker, encoding, &run, count).await?,
            };
            if round > 0 {
                rates[which].record(took);
            }
        }
    }
    let [ours, bare] = rates;
    let name = format!("contracts: publish validated events, {name}");
    let peer = Peer::new("raw, prepared", bare.median());
    Ok(Finding::beside(name, ours.median(), peer, Ratio::OursByPeer, Target::RatioAtLeast(0.9))
        .with_remark(format!("by round, ours {ours}, raw {bare}")))
}

async fn validated(broker: &Broker, encoding: Encoding, run: &str, count: u32) -> Result<Duration, CliError> {
    let voice = specimen::voice(run);
    let events = specimen::trials(&voice, count);
    let publisher = Publisher::new(broker, encoding);
    let began = Instant::now();
    publisher.publish_windowed(&events, &voice).await.map_err(|error| unpublished(&error))?;
    Ok(began.elapsed())
}

async fn prepared(broker: &Broker, encoding: Encoding, run: &str, count: u32) -> Result<Duration, CliError> {
    let voice = specimen::voice(run);
    let publisher = Publisher::new(broker, encoding);
    let messages = specimen::trials(&voice, count)
        .iter()
        .map(|event| publisher.prepare(event, &voice))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unpublished(&error))?;
    let began = Instant::now();
    raw::publish(broker, "ml.run.trial", messages, WINDOW).await.map_err(|error| unpublished(&error))?;
    Ok(began.elapsed())
}
