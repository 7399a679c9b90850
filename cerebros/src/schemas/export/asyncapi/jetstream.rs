//! Streams, consumers and buckets as the services create them.

use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::{kv, stream};
use schemas::ordered_json::Ordered;
use schemas::subject::{ADVISORY_STREAM, STREAM};
use service_kit::topology;

use crate::schemas::facts;

/// All of it.
pub(super) fn all() -> Ordered {
    let streams = topology::streams();
    let consumers = topology::consumers();
    let advisory = topology::advisory_consumer();
    let consumers = consumers.iter().map(|config| consumer(STREAM, config));
    let consumers = consumers.chain([consumer(ADVISORY_STREAM, &advisory)]);
    Ordered::object([
        ("streams", Ordered::Object(streams.iter().map(stream).collect())),
        ("consumers", Ordered::Object(consumers.collect())),
        ("buckets", Ordered::Object(topology::buckets().iter().map(bucket).collect())),
        ("objectStores", [topology::ARTIFACTS_BUCKET].into_iter().collect()),
    ])
}

/// Where a subject is kept and who takes it from there.
pub(super) fn of_subject(subject: &str) -> Ordered {
    let consumers = facts::consumers_of(subject);
    let names = consumers.iter().filter_map(|consumer| consumer.durable_name.as_deref());
    Ordered::object([("stream", STREAM.into()), ("consumers", names.collect())])
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// No limit is no entry.
fn limit(value: i64) -> Option<i64> {
    (value > 0).then_some(value)
}

fn texts(list: &[String]) -> Ordered {
    list.iter().map(String::as_str).collect()
}

fn stream(config: &stream::Config) -> (String, Ordered) {
    let stream = Ordered::Object(Vec::new())
        .with_some("description", config.description.as_deref())
        .with("subjects", texts(&config.subjects))
        .with("retention", format!("{:?}", config.retention).to_lowercase())
        .with("storage", format!("{:?}", config.storage).to_lowercase())
        .with_some("maxAgeSeconds", limit(seconds(config.max_age)))
        .with_some("maxBytes", limit(config.max_bytes))
        .with_some("maxMessageBytes", limit(config.max_message_size.into()))
        .with_some("duplicateWindowSeconds", limit(seconds(config.duplicate_window)))
        .with("allowAtomicPublish", config.allow_atomic_publish);
    (config.name.clone(), stream)
}

fn consumer(stream: &str, config: &pull::Config) -> (String, Ordered) {
    let single = std::slice::from_ref(&config.filter_subject);
    let filters = if config.filter_subject.is_empty() { config.filter_subjects.as_slice() } else { single };
    let consumer = Ordered::object([("stream", stream.into())])
        .with_some("description", config.description.as_deref())
        .with_some("filterSubjects", (!filters.is_empty()).then(|| texts(filters)))
        .with("ackPolicy", format!("{:?}", config.ack_policy).to_lowercase())
        .with("ackWaitSeconds", seconds(config.ack_wait))
        .with_some("maxDeliver", limit(config.max_deliver))
        .with("maxAckPending", config.max_ack_pending);
    (config.durable_name.clone().unwrap_or_default(), consumer)
}

fn bucket(config: &kv::Config) -> (String, Ordered) {
    let bucket = Ordered::object([("description", config.description.as_str().into())])
        .with("history", config.history)
        .with_some("maxAgeSeconds", limit(seconds(config.max_age)));
    (config.bucket.clone(), bucket)
}
