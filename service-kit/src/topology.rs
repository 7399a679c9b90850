//! Streams, consumers, buckets: as data, created idempotently.
//!
//! Every service makes sure of all of it at its start, so that none depends on another having run first. What exists
//! with other limits is left as it is: an operator's change is not undone. Only what an earlier build could not know of
//! is added: subjects of a stream, filters of a consumer that had none, the kind of advisories it did not read.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, FromConsumer as _, pull};
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{self, kv, object_store, stream};
use schemas::subject::{ADVISORY_STREAM, DLQ_STREAM, DLQ_SUBJECTS, EVENT_SUBJECTS, STREAM, STREAM_SUBJECTS};

use crate::broker::Broker;
use crate::error::CliError;
use crate::exit::Exit;
use crate::schema_registry;

/// Bucket of the run registry.
pub const RUNS_BUCKET: &str = "cerebros_runs";
/// Bucket of the schemas.
pub const SCHEMAS_BUCKET: &str = "cerebros_schemas";
/// Bucket of the MLflow sinks: which of them takes events, and which MLflow run belongs to which run and trial.
pub const MLFLOW_BUCKET: &str = "cerebros_mlflow";
/// Bucket of the dead-letter queue: what the classifiers remember, replays that are under way.
pub const DLQ_BUCKET: &str = "cerebros_dlq";
/// Bucket of what the classifiers remember of runs beside the registry: who was announced, how each ended.
pub const DLQ_RUNS_BUCKET: &str = "cerebros_dlq_runs";
/// Bucket of the files trials leave behind.
pub const ARTIFACTS_BUCKET: &str = "cerebros_artifacts";

/// Consumer of the run requests, shared by all workers.
pub const WORKER_CONSUMER: &str = "bridge-worker";
/// Consumer of the cancel requests, shared by all workers.
pub const CANCEL_CONSUMER: &str = "bridge-worker-cancel";
/// Consumer of the MLflow sink.
pub const SINK_CONSUMER: &str = "mlflow-sink";
/// What the MLflow sink reads.
pub const SINK_SUBJECTS: [&str; 4] =
    ["ml.run.*", "cerebros.nas.run.completed", "cerebros.nas.run.failed", "cerebros.nas.run.cancelled"];
/// Consumer of the classifier.
pub const CLASSIFIER_CONSUMER: &str = "dlq-classifier";
/// Consumer of the advisories about deliveries that ran out, on the stream of advisories.
pub const ADVISORY_CONSUMER: &str = "dlq-classifier-advisories";

/// Largest message, headers included, the event stream takes in: an event of the largest size with room for headers,
/// and small enough that its dead letter, which has more headers, stays under the broker's default limit of 1 MiB.
pub const MAX_MESSAGE_BYTES: i32 = 640 * 1024;
/// How long events are kept.
const EVENT_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long dead letters are kept.
const DLQ_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long the registry remembers a run after its last change: longer than its events are kept, so that a request that
/// comes again finds that the run is over. Schemas are kept for ever (zero means no limit to the broker).
const REGISTRY_AGE: Duration = Duration::from_secs(90 * 24 * 3600);
/// How long it is remembered which MLflow run is whose: longer than the registry remembers a run, so that one it has
/// dropped is known to be ours when nothing ends it any more.
const MLFLOW_AGE: Duration = Duration::from_secs(180 * 24 * 3600);
/// Window in which the broker drops a second message with the same id.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// The same for dead letters: as long as whoever publishes one may be down between the letter and the end of the delivery.
const DLQ_DUPLICATE_WINDOW: Duration = Duration::from_secs(24 * 3600);
/// A delivery that is neither settled nor extended comes back after this long.
pub const ACK_WAIT: Duration = Duration::from_secs(30);

/// The streams.
pub fn streams() -> Vec<stream::Config> {
    let events = stream::Config {
        name: STREAM.to_owned(),
        description: Some("runs and their machine-learning records".to_owned()),
        subjects: STREAM_SUBJECTS.map(str::to_owned).to_vec(),
        max_age: EVENT_AGE,
        max_message_size: MAX_MESSAGE_BYTES,
        duplicate_window: DUPLICATE_WINDOW,
        allow_atomic_publish: true,
        allow_direct: true,
        ..stream::Config::default()
    };
    let dead_letters = stream::Config {
        name: DLQ_STREAM.to_owned(),
        description: Some("messages that could not be handled, untouched, with their verdicts".to_owned()),
        subjects: vec![DLQ_SUBJECTS.to_owned()],
        max_age: DLQ_AGE,
        max_bytes: 4 << 30,
        // A full queue refuses letters, so that the originals stay where they are; it does not drop those nobody has seen.
        discard: stream::DiscardPolicy::New,
        duplicate_window: DLQ_DUPLICATE_WINDOW,
        allow_direct: true,
        ..stream::Config::default()
    };
    let advisories = stream::Config {
        name: ADVISORY_STREAM.to_owned(),
        description: Some("the broker's word that deliveries ran out or were terminated".to_owned()),
        subjects: vec![
            "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>".to_owned(),
            "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>".to_owned(),
        ],
        max_age: DLQ_AGE,
        max_bytes: 256 << 20,
        ..stream::Config::default()
    };
    vec![events, dead_letters, advisories]
}

/// The durable consumers of the event stream.
pub fn consumers() -> Vec<pull::Config> {
    let consumer = |name: &str, about: &str, filters: &[&str], ack_pending: i64| pull::Config {
        durable_name: Some(name.to_owned()),
        description: Some(about.to_owned()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_deliver: -1,
        filter_subjects: filters.iter().map(|filter| (*filter).to_owned()).collect(),
        max_ack_pending: ack_pending,
        ..pull::Config::default()
    };
    vec![
        consumer(
            WORKER_CONSUMER,
            "run requests, one per free capacity",
            &["cerebros.nas.run.requested"],
            10_000,
        ),
        consumer(CANCEL_CONSUMER, "cancel requests", &["cerebros.nas.run.cancel_requested"], 1000),
        consumer(
            SINK_CONSUMER,
            "runs and trials on their way into MLflow",
            &SINK_SUBJECTS,
            // Far above what a sink holds: the events of a run that MLflow does not take wait here and hold up nobody.
            50_000,
        ),
        consumer(CLASSIFIER_CONSUMER, "every event, once, for validation", &EVENT_SUBJECTS, 5000),
    ]
}

/// The durable consumer of the advisory stream: deliveries that ran out or were terminated, only on the event stream.
pub fn advisory_consumer() -> pull::Config {
    pull::Config {
        durable_name: Some(ADVISORY_CONSUMER.to_owned()),
        description: Some(
            "deliveries that came to nothing, on their way into the dead-letter stream".to_owned(),
        ),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_deliver: -1,
        filter_subjects: ["MAX_DELIVERIES", "MSG_TERMINATED"]
            .map(|kind| format!("$JS.EVENT.ADVISORY.CONSUMER.{kind}.{STREAM}.>"))
            .to_vec(),
        max_ack_pending: 1000,
        ..pull::Config::default()
    }
}

/// The key-value buckets.
pub fn buckets() -> Vec<kv::Config> {
    let bucket = |name: &str, about: &str, max_age: Duration| kv::Config {
        bucket: name.to_owned(),
        description: about.to_owned(),
        history: 1,
        max_age,
        ..kv::Config::default()
    };
    vec![
        bucket(RUNS_BUCKET, "run registry", REGISTRY_AGE),
        bucket(MLFLOW_BUCKET, "the MLflow sinks: who takes events, which MLflow run is whose", MLFLOW_AGE),
        bucket(
            DLQ_BUCKET,
            "the dead-letter queue: what its classifiers remember, its replays",
            Duration::ZERO,
        ),
        bucket(DLQ_RUNS_BUCKET, "the classifiers: which runs were announced, how each ended", REGISTRY_AGE),
        bucket(SCHEMAS_BUCKET, "schemas by fingerprint and by record", Duration::ZERO),
    ]
}

/// Creates what is missing.
pub async fn ensure(broker: &Broker) -> Result<(), CliError> {
    let jetstream = &broker.jetstream;
    let replicas = broker.replicas;
    for config in streams() {
        let name = config.name.clone();
        let config = stream::Config { num_replicas: replicas, ..config };
        stream_exists(jetstream, config).await.map_err(|error| failed(&format!("stream {name}"), &*error))?;
    }
    for config in buckets() {
        let name = config.bucket.clone();
        if jetstream.get_key_value(&name).await.is_err() {
            let config = kv::Config { num_replicas: replicas, ..config };
            jetstream
                .create_key_value(config)
                .await
                .map_err(|error| failed(&format!("bucket {name}"), &error))?;
        }
    }
    if jetstream.get_object_store(ARTIFACTS_BUCKET).await.is_err() {
        let config = object_store::Config {
            bucket: ARTIFACTS_BUCKET.to_owned(),
            num_replicas: replicas,
            ..object_store::Config::default()
        };
        jetstream.create_object_store(config).await.map_err(|error| failed("object store", &error))?;
    }
    let stream = jetstream.get_stream_no_info(STREAM).await.map_err(|error| failed("stream", &error))?;
    for config in consumers() {
        let name = config.durable_name.clone().unwrap_or_default();
        consumer_exists(&stream, config)
            .await
            .map_err(|error| failed(&format!("consumer {name}"), &*error))?;
    }
    let stream =
        jetstream.get_stream_no_info(ADVISORY_STREAM).await.map_err(|error| failed("stream", &error))?;
    advisory_consumer_exists(&stream)
        .await
        .map_err(|error| failed(&format!("consumer {ADVISORY_CONSUMER}"), &*error))?;
    schema_registry::register(broker).await.map_err(|error| failed("registry of schemas", &error))
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Creates a stream, or adds the subjects it lacks.
async fn stream_exists(jetstream: &jetstream::Context, ours: stream::Config) -> Result<(), AnyError> {
    let known = jetstream.get_or_create_stream(ours.clone()).await?;
    let known = &known.cached_info().config;
    let missing: Vec<String> =
        ours.subjects.into_iter().filter(|subject| !known.subjects.contains(subject)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    tracing::info!(stream = known.name, subjects = missing.join(", "), "stream takes in more subjects now");
    let subjects = known.subjects.iter().cloned().chain(missing).collect();
    jetstream.update_stream(stream::Config { subjects, ..known.clone() }).await?;
    Ok(())
}

/// Creates a consumer, or gives it the filters it lacks altogether, and room for as many messages in hand as it needs.
async fn consumer_exists(stream: &Stream<()>, ours: pull::Config) -> Result<(), AnyError> {
    let name = ours.durable_name.clone().unwrap_or_default();
    let known = stream.get_or_create_consumer(&name, ours.clone()).await?;
    let known = &known.cached_info().config;
    let is_unfiltered = known.filter_subject.is_empty() && known.filter_subjects.is_empty();
    let is_narrow = known.max_ack_pending > 0 && known.max_ack_pending < ours.max_ack_pending;
    if !(is_unfiltered && !ours.filter_subjects.is_empty() || is_narrow) {
        return Ok(());
    }
    // What an operator has set otherwise stays.
    let mut wider = pull::Config::try_from_consumer_config(known.clone())?;
    if is_unfiltered {
        wider.filter_subjects = ours.filter_subjects;
    }
    if is_narrow {
        tracing::info!(
            consumer = name,
            messages = ours.max_ack_pending,
            "consumer may have more in hand now"
        );
        wider.max_ack_pending = ours.max_ack_pending;
    }
    stream.update_consumer(wider).await?;
    Ok(())
}

/// Creates the consumer of the advisories, or widens the one an earlier build made, which knew of one kind only.
async fn advisory_consumer_exists(stream: &Stream<()>) -> Result<(), AnyError> {
    let ours = advisory_consumer();
    let known = stream.get_or_create_consumer(ADVISORY_CONSUMER, ours.clone()).await?;
    let known = &known.cached_info().config;
    if ours.filter_subjects.contains(&known.filter_subject) {
        tracing::info!(consumer = ADVISORY_CONSUMER, "consumer takes in terminated deliveries now");
        let widened =
            pull::Config { ack_wait: known.ack_wait, max_ack_pending: known.max_ack_pending, ..ours };
        stream.update_consumer(widened).await?;
    }
    Ok(())
}

fn failed(what: &str, error: &dyn std::error::Error) -> CliError {
    CliError::new("topology", Exit::Unreachable, format!("cannot create the {what}")).because(error).help(
        "the broker must be nats-server 2.12 or later with JetStream on, and allow us its JetStream API",
    )
}
