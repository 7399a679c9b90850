//! Asks the broker for what an audit goes by. Nothing is consumed and nothing is written.

mod consumers;

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use futures_util::TryStreamExt as _;
use schemas::dead_letter::Verdict;
use schemas::subject::{ADVISORY_STREAM, DLQ_STREAM, STREAM};
use schemas::{FailureClass, Timestamp};
use serde::Deserialize;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::history::{self, Depth, Scan};
use service_kit::topology::{self, ADVISORY_CONSUMER, DLQ_BUCKET};

use super::facts::{Advisory, Facts};
use super::ledger::{Ledger, Segment};
use super::ranges::united;
use super::report::Account;
use crate::handled::{self, Handled};
use crate::operation::Kind;
use crate::queue::Queue;

/// A stretch of fewer sequences than this is read rather than counted, which is as fast and exact on a stream that moves.
const SHORT: u64 = 2000;
/// How long the broker keeps a consumer that was made for counting, should we not come back to remove it.
const COUNTER_LIFE: Duration = Duration::from_secs(10);
/// Findings whose subject is looked up.
const MAX_SUBJECTS: usize = 1000;

/// Everything but single messages. In this order: see the module's head.
pub(super) async fn facts(queue: &Queue) -> Result<Facts, CliError> {
    let broker = &queue.broker;
    let stream = broker.jetstream.get_stream(STREAM).await.map_err(|error| unreadable(&error))?;
    let info = stream.info_builder().with_deleted(true).fetch().await.map_err(|error| unreadable(&error))?;
    let state = info.info.state.clone();
    let (first, last) = (state.first_sequence.max(1), state.last_sequence);
    let deleted = state.deleted.unwrap_or_default().into_iter().filter(|seq| (first..=last).contains(seq));
    let created = Timestamp::from(info.info.created).micros();
    let mut facts = Facts {
        created,
        first,
        last,
        gaps: united(deleted.map(|seq| (seq, seq)).collect()),
        ..Facts::default()
    };
    let watched = consumers::watched(broker).await?;
    facts.readers = consumers::readers(broker, &stream, &facts, &watched).await?;
    facts.losses = consumers::losses(watched);
    let advisories_through = advisories_through(broker).await;
    facts.losses.retain(|(_, loss)| loss.at.micros() >= created);
    facts.handled = remembered::<Handled>(broker, handled::KEY).await.and_then(|book| book.of(created));
    letters(queue, &mut facts).await?;
    queue
        .each_operation(|operation, _| {
            if operation.at.micros() < created {
                return;
            }
            match operation.operation {
                Kind::Expired => facts.notices.extend(operation.range),
                Kind::Acknowledged => facts.acknowledged.take(&operation),
                Kind::Replayed | Kind::Discarded | Kind::Resumed | Kind::Purged => {}
            }
            operation.messages().for_each(|(seq, consumer)| facts.dealt_with(seq, consumer));
        })
        .await?;
    facts.advisories = advisories(broker, advisories_through, &facts).await?;
    Ok(facts)
}

async fn letters(queue: &Queue, facts: &mut Facts) -> Result<(), CliError> {
    let mut scan = Scan::open(&queue.broker, DLQ_STREAM, &[], (1, u64::MAX), Depth::Headers).await?;
    while let Some(letter) = scan.next().await? {
        let Some(verdict) = Verdict::find(letter.headers()) else { continue };
        if verdict.stream != STREAM || verdict.first_seen.micros() < facts.created {
            continue;
        }
        let is_given_up = verdict.cause.unwrap_or(verdict.class) == FailureClass::WorkerLost;
        let given_up = is_given_up.then(|| verdict.seen.micros());
        facts.letter(verdict.sequence, &verdict.consumer, &verdict.subject, given_up);
    }
    Ok(())
}

/// The broker's word about deliveries, as far as no letter answers it.
async fn advisories(broker: &Broker, through: u64, facts: &Facts) -> Result<Vec<Advisory>, CliError> {
    #[derive(Deserialize)]
    struct Said {
        consumer: String,
        stream_seq: u64,
    }
    let kinds = ["MAX_DELIVERIES", "MSG_TERMINATED"];
    let filters = kinds.map(|kind| format!("$JS.EVENT.ADVISORY.CONSUMER.{kind}.{STREAM}.>"));
    let mut found = Vec::new();
    let mut scan = Scan::open(broker, ADVISORY_STREAM, &filters, (1, u64::MAX), Depth::Whole).await?;
    while let Some(message) = scan.next().await? {
        let Ok(Said { consumer, stream_seq }) = serde_json::from_slice(message.payload()) else { continue };
        if message.time.micros() >= facts.created && !facts.letters.has_of(stream_seq, &consumer) {
            found.push(Advisory {
                seq: stream_seq,
                consumer,
                is_terminated: message.subject().contains(kinds[1]),
                is_settled: message.sequence <= through,
            });
        }
    }
    Ok(found)
}

/// Advisories up to here were dealt with. Where nobody reads them, none waits for anybody.
async fn advisories_through(broker: &Broker) -> u64 {
    let info = async {
        let stream = broker.jetstream.get_stream_no_info(ADVISORY_STREAM).await.ok()?;
        stream.consumer_info(ADVISORY_CONSUMER).await.ok()
    };
    match info.await {
        Some(info) if info.num_pending == 0 && info.num_ack_pending == 0 => info.delivered.stream_sequence,
        Some(info) => info.ack_floor.stream_sequence,
        None => u64::MAX,
    }
}

/// A value in the bucket of the queue; none where there is none that can be read.
async fn remembered<T: for<'de> Deserialize<'de>>(broker: &Broker, key: &str) -> Option<T> {
    let bucket = broker.jetstream.get_key_value(DLQ_BUCKET).await.ok()?;
    let value = bucket.get(key).await.ok()??;
    serde_json::from_slice(&value).ok()
}

/// Looks at one stretch.
pub(super) async fn segment(broker: &Broker, ledger: &mut Ledger, segment: &Segment) -> Result<(), CliError> {
    if segment.is_settled() {
        return Ok(());
    }
    let filters = ledger.filters(segment);
    let (from, to) = segment.range;
    if segment.is_uniform() && to - from >= SHORT {
        // What comes in between the two is counted with neither: the end is asked for first.
        let behind = count(broker, &filters, to + 1).await?;
        let all = count(broker, &filters, from).await?;
        ledger.counted(segment, all.saturating_sub(behind).min(to - from + 1));
        return Ok(());
    }
    let mut scan = Scan::open(broker, STREAM, &filters, (from, to), Depth::Headers).await?;
    while let Some(message) = scan.next().await? {
        ledger.message(segment, message.sequence, message.subject());
        if to - message.sequence >= SHORT
            && let Some(rest) = ledger.rest(segment, message.sequence)
        {
            return Box::pin(self::segment(broker, ledger, &rest)).await;
        }
    }
    Ok(())
}

/// How many messages the stream holds on some subjects from a sequence on: what a consumer that begins there would have
/// to come.
async fn count(broker: &Broker, filters: &[String], from: u64) -> Result<u64, CliError> {
    let stream = broker.jetstream.get_stream_no_info(STREAM).await.map_err(|error| unreadable(&error))?;
    let config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from },
        ack_policy: AckPolicy::None,
        filter_subjects: filters.to_vec(),
        inactive_threshold: COUNTER_LIFE,
        memory_storage: true,
        ..pull::Config::default()
    };
    let counter = stream.create_consumer(config).await.map_err(|error| unreadable(&error))?;
    let info = counter.cached_info();
    if let Err(error) = stream.delete_consumer(&info.name).await {
        tracing::debug!(%error, "the broker removes a consumer that was made for counting by itself");
    }
    Ok(info.num_pending)
}

/// Names the subjects of findings that are still on the stream.
pub(super) async fn subjects(broker: &Broker, account: &mut Account) {
    let nameless = account.unexplained.iter_mut().filter(|finding| finding.subject.is_empty());
    for finding in nameless.filter(|finding| finding.through.is_none()).take(MAX_SUBJECTS) {
        if let Ok(Some(raw)) = history::raw(broker, STREAM, finding.seq).await {
            finding.subject = raw.subject;
        }
    }
}

/// The keys of the runs the registry knows.
pub(super) async fn known_runs(
    broker: &Broker,
) -> Result<impl futures_util::Stream<Item = Result<String, CliError>>, CliError> {
    let bucket =
        broker.jetstream.get_key_value(topology::RUNS_BUCKET).await.map_err(|error| unreadable(&error))?;
    let keys = bucket.keys().await.map_err(|error| unreadable(&error))?;
    Ok(keys.map_err(|error| unreadable(&error)))
}

pub(super) fn unreadable(error: &dyn std::error::Error) -> CliError {
    CliError::new("audit-unreadable", Exit::Unreachable, "the streams cannot be audited")
        .because(error)
        .help("is the broker up, and were the streams created? `cerebros doctor` tells")
}
