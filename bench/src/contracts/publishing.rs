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
use crate::process_table::processor_time;
use crate::stand::Stand;
use crate::table::{Figure, Finding, Peer, Ratio, Target};

/// Messages on the way at once, as many as the publisher has.
pub(super) const WINDOW: usize = 1024;

/// Measures both encodings.
pub(super) async fn measure(effort: Effort) -> Result<Vec<Finding>, CliError> {
    let stand = Stand::open().await?;
    let broker = stand.connect().await?;
    // Many short rounds: the two of a round then meet the same disturbances.
    let (rounds, count) = (effort.choose(7, 25), 20_000);
    let mut findings = Vec::new();
    for (encoding, name) in [(Encoding::Json, "JSON"), (Encoding::Avro, "Avro")] {
        progress(format!("{count} trial events in {name}, through a publisher and raw, {rounds} times"));
        // On a thread of the runtime, where services publish.
        let rounds = tokio::spawn(beside_raw(broker.clone(), encoding, name, rounds, count)).await;
        findings.extend(
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
) -> Result<[Finding; 2], CliError> {
    let mut rates = [Rates::new(count), Rates::new(count)];
    let mut processor = [Duration::ZERO; 2];
    // The first round is a warm-up.
    for round in 0..=rounds {
        for place in 0..2 {
            let which = usize::try_from((round + place) % 2).unwrap_or_default();
            let run = format!("bench-{name}-{round}-{which}");
            let spent = match which {
                0 => validated(&broker, encoding, &run, count).await?,
                _ => prepared(&broker, encoding, &run, count).await?,
            };
            if round > 0 {
                rates[which].record(spent.time);
                processor[which] += spent.processor;
            }
        }
    }
    let [ours, bare] = &rates;
    let each = processor.map(|spent| Figure::micros(spent / count / rounds));
    let peer = Peer::new("raw, prepared", bare.median());
    let title = format!("contracts: publish validated events, {name}");
    let target = Target::RatioAtLeast(0.9);
    Ok([
        Finding::beside(title, ours.median(), peer, Ratio::OursByPeer, target)
            .with_remark(format!("by round, ours {ours}, raw {bare}")),
        Finding::beside(
            format!("contracts: processor time of the client an event, {name}"),
            each[0],
            Peer::new("raw, prepared", each[1]),
            Ratio::OursByPeer,
            Target::None,
        ),
    ])
}

/// What publishing took.
pub(super) struct Spent {
    pub(super) time: Duration,
    /// Of this process.
    processor: Duration,
}

/// Times something this process does.
async fn spent(work: impl Future<Output = Result<(), CliError>>) -> Result<Spent, CliError> {
    let (began, before) = (Instant::now(), processor_time(std::process::id())?);
    work.await?;
    let processor = processor_time(std::process::id())?.saturating_sub(before);
    Ok(Spent { time: began.elapsed(), processor })
}

async fn validated(broker: &Broker, encoding: Encoding, run: &str, count: u32) -> Result<Spent, CliError> {
    let voice = specimen::voice(run);
    let events = specimen::trials(&voice, count);
    let publisher = Publisher::new(broker, encoding);
    spent(async {
        publisher.publish_all(&events, &voice).await.map(drop).map_err(|error| unpublished(&error))
    })
    .await
}

pub(super) async fn prepared(
    broker: &Broker,
    encoding: Encoding,
    run: &str,
    count: u32,
) -> Result<Spent, CliError> {
    let voice = specimen::voice(run);
    let publisher = Publisher::new(broker, encoding);
    let messages = specimen::trials(&voice, count)
        .iter()
        .map(|event| publisher.prepare(event, &voice))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unpublished(&error))?;
    spent(async {
        raw::publish(broker, "ml.run.trial", messages, WINDOW).await.map_err(|error| unpublished(&error))
    })
    .await
}
