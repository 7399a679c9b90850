//! The broker and what lies on it.

use std::time::Duration;

use async_nats::jetstream::stream;
use dlq_classifier::book::Book;
use dlq_classifier::entry::State;
use schemas::Timestamp;
use schemas::subject::{DLQ_STREAM, STREAM};
use serde::Deserialize;
use service_kit::broker::Broker;
use service_kit::config::BrokerTarget;
use service_kit::history::History;
use service_kit::topology::{self, WORKER_CONSUMER};
use service_kit::{clock, error::CliError};

use super::check::{Check, Finding, bounded};
use super::machine::{OLDEST_BROKER, version_in};
use crate::schemas::registry;

/// How long a broker that refuses connections is asked again.
const PATIENCE: Duration = Duration::from_millis(500);
/// How far the clocks may be apart: more than this, and times in one listing contradict each other.
const MAX_SKEW: Duration = Duration::from_secs(2);
const CREATED_BY: &str = "every service creates what is missing: start one, for example with `cerebros up`";
/// The checks that need a broker, in the order in which they are shown.
const DEPENDENT: [&str; 5] = ["streams", "schemas", "worker", "dlq", "clock"];

/// The broker itself, and if it answers everything that lies on it.
pub(super) async fn checks(target: &BrokerTarget) -> Vec<Check> {
    let mut connected = Err(None);
    let first = bounded("broker", async {
        connected = Broker::connect(target, "cerebros-doctor", PATIENCE).await.map_err(Some);
        match &connected {
            Ok(broker) => server(broker).await,
            Err(Some(error)) => unreachable(error),
            Err(None) => Finding::error(format!("no answer from {}", target.url), "check network and load"),
        }
    })
    .await;
    let Ok(broker) = connected else {
        let finding =
            Finding::warning("not checked: the broker does not answer", "make the broker answer first");
        let dependent = DEPENDENT.into_iter().map(|name| finding.clone().named(name));
        return std::iter::once(first).chain(dependent).collect();
    };
    let [streams_name, schemas_name, worker_name, dlq_name, clock_name] = DEPENDENT;
    let (streams, schemas, worker, dlq, clock) = tokio::join!(
        bounded(streams_name, streams(&broker)),
        bounded(schemas_name, schemas(&broker)),
        bounded(worker_name, worker(&broker)),
        bounded(dlq_name, dead_letters(&broker)),
        bounded(clock_name, skew(&broker)),
    );
    vec![first, streams, schemas, worker, dlq, clock]
}

fn unreachable(error: &CliError) -> Finding {
    let because = error.because.as_ref().map(|because| format!(": {because}")).unwrap_or_default();
    let remedy = error.help.clone().unwrap_or_else(|| "check NATS_URL".to_owned());
    Finding::error(format!("{}{because}", error.what), remedy)
}

/// New enough, and JetStream on.
async fn server(broker: &Broker) -> Finding {
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
async fn streams(broker: &Broker) -> Finding {
    let mut missing = Vec::new();
    let mut different = Vec::new();
    for wanted in topology::streams() {
        match broker.jetstream.get_stream(&wanted.name).await {
            Ok(found) => different.extend(differences(&wanted, &found.cached_info().config)),
            Err(_) => missing.push(format!("stream {}", wanted.name)),
        }
    }
    for bucket in [topology::RUNS_BUCKET, topology::SCHEMAS_BUCKET] {
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
async fn schemas(broker: &Broker) -> Finding {
    let standing = match registry::standing(broker).await {
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

/// Does anybody take run requests?
async fn worker(broker: &Broker) -> Finding {
    let stream = match broker.jetstream.get_stream_no_info(STREAM).await {
        Ok(stream) => stream,
        Err(error) => return Finding::warning(format!("not checked: {error}"), CREATED_BY),
    };
    let Ok(consumer) = stream.consumer_info(WORKER_CONSUMER).await else {
        return Finding::warning("no worker has ever been here", CREATED_BY);
    };
    let (waiting, busy, queued) = (consumer.num_waiting, consumer.num_ack_pending, consumer.num_pending);
    if waiting > 0 || busy > 0 {
        return Finding::ok(format!(
            "takes requests: {waiting} open pulls, {busy} runs in hand, {queued} queued"
        ));
    }
    let remedy = "start one: `cerebros up`, or `bridge-worker serve`";
    Finding::warning(format!("nobody takes requests; {queued} are queued"), remedy)
}

/// How many dead letters nobody has dealt with.
async fn dead_letters(broker: &Broker) -> Finding {
    let open = async {
        let mut book = Book::default();
        let mut history = History::to_the_present(broker, DLQ_STREAM, &[], 1).await?;
        while let Some(kept) = history.next().await? {
            book.take(&kept);
        }
        let open = book.entries().iter().filter(|entry| entry.state == State::Open).count();
        Ok::<_, CliError>((open, book.entries().len()))
    };
    match open.await {
        Ok((0, all)) => Finding::ok(format!("no open dead letters ({all} in all)")),
        Ok((open, all)) => Finding::warning(
            format!("{open} open dead letters ({all} in all)"),
            "`cerebros dlq groups` tells what is wrong with them, `cerebros dlq replay` brings them back",
        ),
        Err(error) => Finding::warning(format!("not checked: {error}"), CREATED_BY),
    }
}

/// How far the broker's clock is from ours.
async fn skew(broker: &Broker) -> Finding {
    #[derive(Deserialize)]
    struct Answer {
        ts: Option<Timestamp>,
    }
    let asked = clock::now();
    let answer = broker.client.request(format!("$JS.API.STREAM.INFO.{STREAM}"), "".into()).await;
    let answered = clock::now();
    let answer = answer.ok().and_then(|message| serde_json::from_slice::<Answer>(&message.payload).ok());
    let Some(theirs) = answer.and_then(|answer| answer.ts) else {
        return Finding::warning("not checked: the broker does not tell the time", CREATED_BY);
    };
    // Asked and answered around the moment it was written down.
    let ours = i64::midpoint(asked.micros(), answered.micros());
    let skew = Duration::from_micros(ours.abs_diff(theirs.micros()));
    if skew > MAX_SKEW {
        let message = format!("the broker's clock is {:.1} s from ours", skew.as_secs_f64());
        return Finding::warning(message, "set both by NTP");
    }
    Finding::ok(format!("within {} ms of the broker's", skew.as_millis()))
}
