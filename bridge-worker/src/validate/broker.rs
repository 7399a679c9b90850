//! The broker, and what lies on it.

use std::time::Duration;

use service_kit::broker::Broker;
use service_kit::check::broker::{schemas, server, streams};
use service_kit::check::{Check, Finding, bounded};
use service_kit::config::BrokerTarget;
use service_kit::error::CliError;

/// How long a broker that refuses connections is asked again.
const PATIENCE: Duration = Duration::from_millis(500);

pub(super) async fn checks(target: Result<BrokerTarget, CliError>) -> Vec<Check> {
    let mut connected = None;
    let first = bounded("broker", async {
        let target = match target {
            Ok(target) => target,
            Err(error) => return Finding::of(error),
        };
        match Broker::connect(&target, "bridge-worker-validate", PATIENCE).await {
            Ok(broker) => {
                let finding = server(&broker).await;
                connected = Some(broker);
                finding
            }
            Err(error) => Finding::of(error),
        }
    })
    .await;
    let Some(broker) = connected else {
        let unknown =
            Finding::warning("not checked: the broker does not answer", "make the broker answer first");
        return vec![first, unknown.clone().named("streams"), unknown.named("schemas")];
    };
    let (streams, schemas) =
        tokio::join!(bounded("streams", streams(&broker)), bounded("schemas", schemas(&broker)));
    vec![first, streams, schemas]
}
