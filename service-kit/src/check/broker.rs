//! The broker and what lies on it.

use async_nats::jetstream::stream;
use schemas::subject::STREAM;

use super::Finding;
use super::program::version_in;
use crate::broker::Broker;
use crate::schema_registry::standing::Standing;
use crate::topology;

/// Atomic batches and per-message TTL need it.
pub const OLDEST_BROKER: (u32, u32) = (2, 12);
/// What helps against everything that is not there yet.
pub const CREATED_BY: &str =
    "every service creates what is missing: start one, for example with `cerebros up`";

/// New enough, and JetStream on.
pub async fn server(broker: &Broker) -> Finding {
    let version = broker.client.server_info().version;
    let (major, minor) = OLDEST_BROKER;
    if version_in(&version).is_none_or(|version| version < OLDEST_BROKER) {
        let message = format!("nats-server {version} at {} is older than {major}.{minor}", broker.url());
        return Finding::error(message, format!("upgrade it to {major}.{minor} or newer"));
    }
    match broker.jetstream.query_account().await {
        Ok(_) => Finding::ok(format!("nats-server {version} with JetStream at {}", broker.url())),
        Err(error) => Finding::error(
            format!("JetStream does not answer at {}: {error}", broker.url()),
            "start nats-server with JetStream (-js), and allow us its JetStream API",
        ),
    }
}

/// Streams, consumers and buckets: there, and as they should be.
pub async fn streams(broker: &Broker) -> Finding {
    let mut missing = Vec::new();
    let mut different = Vec::new();
    for wanted in topology::streams() {
        match broker.jetstream.get_stream(&wanted.name).await {
            Ok(found) => different.extend(differences(&wanted, &found.cached_info().config)),
            Err(_) => missing.push(format!("stream {}", wanted.name)),
        }
    }
    for bucket in [topology::RUNS_BUCKET, topology::MLFLOW_BUCKET, topology::SCHEMAS_BUCKET] {
        if broker.jetstream.get_key_value(bucket).await.is_err() {
            missing.push(format!("bucket {bucket}"));
        }
    }
    if broker.jetstream.get_object_store(topology::ARTIFACTS_BUCKET).await.is_err() {
        missing.push(format!("object store {}", topology::ARTIFACTS_BUCKET));
    }
    if let Ok(stream) = broker.jetstream.get_stream_no_info(STREAM).await {
        for wanted in topology::consumers() {
            let name = wanted.durable_name.unwrap_or_default();
            if stream.consumer_info(&name).await.is_err() {
                missing.push(format!("consumer {name}"));
            }
        }
    }
    if !missing.is_empty() {
        return Finding::warning(format!("not there yet: {}", missing.join(", ")), CREATED_BY);
    }
    if !different.is_empty() {
        let remedy = "nothing to do if somebody meant it: what exists is never changed";
        return Finding::warning(format!("not as we would create them: {}", different.join(", ")), remedy);
    }
    Finding::ok("streams, consumers and buckets are as they should be")
}

/// Where a stream differs in what our services count on.
fn differences(wanted: &stream::Config, found: &stream::Config) -> Vec<String> {
    let sorted = |subjects: &[String]| {
        let mut subjects = subjects.to_vec();
        subjects.sort();
        subjects
    };
    let facts = [
        ("subjects", sorted(&wanted.subjects) == sorted(&found.subjects)),
        ("retention", wanted.retention == found.retention),
        ("storage", wanted.storage == found.storage),
        ("max_age", wanted.max_age == found.max_age),
        // Anything below 1 is no limit.
        ("max_message_size", wanted.max_message_size.max(0) == found.max_message_size.max(0)),
        ("duplicate_window", found.duplicate_window >= wanted.duplicate_window),
        ("allow_atomic_publish", found.allow_atomic_publish || !wanted.allow_atomic_publish),
    ];
    facts
        .iter()
        .filter(|(_, is_equal)| !is_equal)
        .map(|(fact, _)| format!("{} {fact}", wanted.name))
        .collect()
}

/// The registry of schemas: does it hold ours, and can we read what others wrote?
pub async fn schemas(broker: &Broker) -> Finding {
    let standing = match Standing::look_up(broker).await {
        Ok(standing) => standing,
        Err(error) => return Finding::warning(format!("not checked: {}", error.what), CREATED_BY),
    };
    if !standing.conflicts.is_empty() {
        let message =
            format!("the registry has other schemas under our versions: {}", standing.conflicts.join(", "));
        return Finding::error(
            message,
            "two builds disagree about a version; `cerebros schemas list --registry` shows both",
        );
    }
    if !standing.unreadable.is_empty() {
        let message =
            format!("somebody writes with schemas we cannot read: {}", standing.unreadable.join(", "));
        return Finding::warning(message, "upgrade this build, or stop that writer");
    }
    if standing.missing > 0 {
        return Finding::warning(
            format!("{} of our schemas are not registered yet", standing.missing),
            CREATED_BY,
        );
    }
    Finding::ok("the registry holds every schema of this build, and this build reads every schema there")
}
