//! What the contract costs: an event written and read in both encodings, and published beside the same bytes sent raw.

mod batches;
mod codec;
mod publishing;
mod raw;
mod specimen;
mod turns;

use service_kit::error::CliError;

use crate::cli::Effort;
use crate::table::Finding;

/// Measures the codec first, on an idle machine, then publishing.
pub(crate) async fn measure(effort: Effort) -> Result<Vec<Finding>, CliError> {
    let mut findings = codec::measure(effort)?;
    findings.extend(publishing::measure(effort).await?);
    findings.extend(batches::measure(effort).await?);
    Ok(findings)
}
