//! What the contract costs: an event written and read in both encodings, and published beside the same bytes sent raw.

mod batches;
mod codec;
mod publishing;
mod raw;
mod specimen;
mod turns;

use std::time::Duration;

use schemas::Encoding;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::publish::Outgoing;

use crate::cli::Effort;
use crate::table::Finding;

pub(crate) use specimen::{run_started, trials, voice};

/// How long so many trials of ordinary size take from the first to the last confirmation, prepared and sent raw.
pub(crate) async fn raw_publishing(broker: &Broker, run: &str, count: u32) -> Result<Duration, CliError> {
    publishing::prepared(broker, Encoding::Json, run, count).await.map(|spent| spent.time)
}

/// Publishes prepared messages on one subject as fast as a bare client can.
pub(crate) async fn publish_raw(
    broker: &Broker,
    subject: &'static str,
    messages: Vec<Outgoing>,
) -> Result<(), CliError> {
    raw::publish(broker, subject, messages, publishing::WINDOW)
        .await
        .map_err(|error| turns::unpublished(&error))
}

/// Measures the codec first, on an idle machine, then publishing.
pub(crate) async fn measure(effort: Effort) -> Result<Vec<Finding>, CliError> {
    let mut findings = codec::measure(effort)?;
    findings.extend(publishing::measure(effort).await?);
    findings.extend(batches::measure(effort).await?);
    Ok(findings)
}
