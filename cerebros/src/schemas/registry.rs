//! Questions to the registry in the broker.

use std::time::Duration;

use schemas::Record;
use schemas::record::Fingerprint;
use service_kit::broker::Broker;
use service_kit::config::BrokerArgs;
use service_kit::error::CliError;
use service_kit::schema_registry::{self, standing};

/// How long a broker that refuses connections is asked again.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn connect(args: &BrokerArgs) -> Result<Broker, CliError> {
    Broker::connect(&args.resolve()?, "cerebros-schemas", PATIENCE).await
}

/// The text the registry has for a fingerprint.
pub(super) async fn look_up(broker: &Broker, fingerprint: Fingerprint) -> Result<Option<String>, CliError> {
    schema_registry::look_up(broker, fingerprint).await.map_err(standing::silent)
}

/// The number the registry has for a schema of a record.
pub(super) async fn number_of(
    broker: &Broker,
    record: Record,
    fingerprint: Fingerprint,
) -> Result<Option<u32>, CliError> {
    let contents = schema_registry::contents(broker).await.map_err(standing::silent)?;
    let wanted = fingerprint.to_string();
    let versions = contents.versions.get(record.name()).into_iter().flatten();
    Ok(versions.into_iter().find(|(_, known)| **known == wanted).map(|(number, _)| *number))
}
