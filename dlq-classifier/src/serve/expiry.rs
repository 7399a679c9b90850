//! Keeps the book of what was settled while it was on the stream ([`crate::handled`]), and gives notice before the stream
//! drops by age what was not.
//!
//! A notice is a record beside the dead letters (`cerebros.dlq.operation.expired`), so that it outlives the messages and
//! an audit can tell what was known from what was lost. Several classifiers keep one book, by compare-and-set; whoever
//! loses looks again at the next round. The notice is published before the book says so: killed in between, it is
//! published again, and the broker drops the second.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::consumer;
use schemas::Timestamp;
use schemas::cloudevents::{Headers, header};
use schemas::subject::STREAM;
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::history;
use service_kit::publish::{self, Outgoing};
use service_kit::shutdown::Shutdown;
use service_kit::topology::{self, DLQ_BUCKET};

use super::notes::Notes;
use crate::handled::{Handled, KEY};
use crate::operation::{Act, Operation};

/// Longest pause between two rounds.
const ROUND: Duration = Duration::from_secs(10);
/// Shortest, whatever the stream's age is.
const LEAST_ROUND: Duration = Duration::from_millis(200);
/// Notice is given so long before messages leave, or a quarter of the time they are kept where that is less.
const NOTICE: Duration = Duration::from_secs(3600);
/// How long a notice is repeated while the broker does not confirm; the next round tries again.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(broker: Broker, shutdown: Shutdown) {
    loop {
        let pause = round(&broker).await.unwrap_or_else(|error| {
            tracing::warn!(error, "the book of what is settled cannot be kept yet");
            ROUND
        });
        tokio::select! {
            () = shutdown.drain() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One round; returns the pause until the next.
async fn round(broker: &Broker) -> Result<Duration, String> {
    let stream = broker.jetstream.get_stream(STREAM).await.map_err(|error| error.to_string())?;
    let info = stream.cached_info();
    let (last, max_age) = (info.state.last_sequence, info.config.max_age);
    let notes = Notes::open(broker, DLQ_BUCKET).await?;
    let known = notes.read::<Handled>(KEY).await?;
    let created = Timestamp::from(info.created).micros();
    let book = known.said.clone().and_then(|book| book.of(created));
    let mut book = book.unwrap_or_else(|| Handled::begin(created, info.state.first_sequence));
    let mut floors = BTreeMap::new();
    for config in topology::consumers() {
        let name = config.durable_name.unwrap_or_default();
        let floor = match stream.consumer_info(&name).await {
            Ok(info) => settled(broker, &info, last).await?,
            // It settles nothing while it is not there.
            Err(_) => book.floors.get(&name).copied().unwrap_or(book.since - 1),
        };
        floors.insert(name, floor);
    }
    // Asked last: what leaves before a consumer is asked, the broker takes for settled.
    let asked = stream.get_info().await.map_err(|error| error.to_string())?;
    let (first, now) = (asked.state.first_sequence.max(1), clock::now());
    book.advance(first, floors, now);
    if max_age > Duration::ZERO {
        notice(broker, &mut book, (first, last), max_age, now).await?;
    }
    if known.said.as_ref() != Some(&book) && notes.write(KEY, &known, &book).await?.is_none() {
        tracing::debug!("another classifier keeps the book");
    }
    let pause = if max_age > Duration::ZERO { (max_age / 16).min(ROUND) } else { ROUND };
    Ok(pause.max(LEAST_ROUND))
}

/// Everything up to here, of what is on the stream up to `last`, is settled by a consumer.
async fn settled(broker: &Broker, info: &consumer::Info, last: u64) -> Result<u64, String> {
    let floor = info.ack_floor.stream_sequence;
    if info.num_ack_pending == 0 && info.num_pending == 0 && floor >= info.delivered.stream_sequence {
        return Ok(last);
    }
    let config = &info.config;
    let filters: Vec<&str> = match (config.filter_subject.as_str(), config.filter_subjects.as_slice()) {
        ("", []) => vec![">"],
        ("", several) => several.iter().map(String::as_str).collect(),
        (one, _) => vec![one],
    };
    let mut next = last + 1;
    for filter in filters {
        let found = history::next_at(broker, STREAM, floor + 1, filter).await;
        let found = found.map_err(|error| error.to_string())?;
        next = next.min(found.map_or(next, |message| message.sequence));
    }
    Ok(next - 1)
}

/// Announces what will leave the stream before it is settled.
async fn notice(
    broker: &Broker,
    book: &mut Handled,
    (first, last): (u64, u64),
    max_age: Duration,
    now: Timestamp,
) -> Result<(), String> {
    let from = (book.through() + 1).max(book.noticed + 1).max(first);
    let near_end = Timestamp::from_micros(now.micros() - micros(max_age - NOTICE.min(max_age / 4)));
    let oldest = history::next_at(broker, STREAM, from, ">").await.map_err(|error| error.to_string())?;
    if oldest.is_none_or(|oldest| oldest.time >= near_end) {
        return Ok(());
    }
    let behind = history::first_since(broker, STREAM, (from, last), near_end).await;
    let to = behind.map_err(|error| error.to_string())? - 1;
    let late: Vec<&str> =
        book.floors.iter().filter(|(_, floor)| **floor < to).map(|(name, _)| name.as_str()).collect();
    let reason = format!("not handled yet by {}, and about to leave the stream by age", late.join(", "));
    let act = Act { actor: "dlq-classifier".to_owned(), reason: Some(reason.clone()), filter: None };
    let record = Operation::expired(&act, now, (from, to));
    let mut headers = Headers::default();
    headers.push(header::MESSAGE_ID, format!("dlq-operation:expired:{from}-{to}"));
    headers.push(header::CONTENT_TYPE, "application/json");
    let message = Outgoing {
        subject: record.subject(),
        headers: publish::to_header_map(&headers),
        payload: serde_json::to_vec(&record).expect("a record is plain data").into(),
    };
    publish::send(broker, &message, PATIENCE).await.map_err(|error| error.to_string())?;
    tracing::warn!(from, to, reason, "messages {from} to {to} are about to leave the stream unhandled");
    book.noticed = to;
    Ok(())
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
