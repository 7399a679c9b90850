//! The durable consumers of the event stream: ours, whether or not they are there, and those of others.

use std::collections::HashMap;

use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy};
use async_nats::jetstream::stream::Stream;
use futures_util::StreamExt as _;
use schemas::Timestamp;
use schemas::subject::STREAM;
use serde::Deserialize;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::history::{self, Depth, Scan};
use service_kit::topology::{self, DLQ_BUCKET, SINK_CONSUMER};

use super::unreadable;
use crate::audit::facts::{Facts, Reader};
use crate::given_up::{GivenUp, Loss};

/// What a sweep remembers of a consumer, as far as an audit goes by it.
#[derive(Debug, Deserialize)]
pub(super) struct Watched {
    consumer: String,
    reading: Incarnation,
    #[serde(default)]
    given_up: GivenUp,
}

#[derive(Debug, Deserialize)]
struct Incarnation {
    created: i64,
}

pub(super) async fn readers(
    broker: &Broker,
    stream: &Stream,
    facts: &Facts,
    watched: &HashMap<String, Watched>,
) -> Result<Vec<Reader>, CliError> {
    let mut found: HashMap<String, consumer::Info> = HashMap::new();
    let mut infos = stream.consumers();
    while let Some(info) = infos.next().await {
        let info = info.map_err(|error| unreadable(&error))?;
        if info.config.durable_name.is_some() && info.config.ack_policy == AckPolicy::Explicit {
            found.insert(info.name.clone(), info);
        }
    }
    let mut readers = Vec::new();
    for config in topology::consumers() {
        let name = config.durable_name.clone().unwrap_or_default();
        let reader = match found.remove(&name) {
            Some(info) => {
                let (from, why_from) = begins(broker, &info, facts).await?;
                Reader { is_ours: true, from, why_from, ..reader(info, watched) }
            }
            None => Reader {
                filters: config.filter_subjects,
                is_ours: true,
                from: u64::MAX,
                why_from: "its consumer is not there, so nobody handles it".to_owned(),
                name,
                ..Reader::default()
            },
        };
        readers.push(reader);
    }
    readers.extend(found.into_values().map(|info| reader(info, watched)));
    Ok(readers)
}

fn reader(info: consumer::Info, watched: &HashMap<String, Watched>) -> Reader {
    let created = Timestamp::from(info.created).micros();
    // What is known of another one of the name says nothing of this one.
    let known = watched.get(&info.name).filter(|known| known.reading.created == created);
    let mut filters = info.config.filter_subjects;
    if !info.config.filter_subject.is_empty() {
        filters.push(info.config.filter_subject);
    }
    Reader {
        name: info.name,
        filters,
        is_ours: false,
        from: 1,
        why_from: String::new(),
        floor: info.ack_floor.stream_sequence,
        delivered: info.delivered.stream_sequence,
        in_hand: info.num_ack_pending as u64,
        redelivered: info.num_redelivered as u64,
        max_deliver: info.config.max_deliver,
        is_watched: known.is_some(),
        created,
        given_up: known.map(|known| known.given_up.clone()).unwrap_or_default(),
    }
}

/// Where a consumer of ours began to read. Ours are made to read everything; one that was not was made by somebody else.
async fn begins(broker: &Broker, info: &consumer::Info, facts: &Facts) -> Result<(u64, String), CliError> {
    let held = (facts.first, facts.last);
    let began = match info.config.deliver_policy {
        DeliverPolicy::All => return Ok((1, String::new())),
        // On a broker that cannot reset a consumer the sink makes its own anew behind what is settled.
        DeliverPolicy::ByStartSequence { .. } if info.name == SINK_CONSUMER => return Ok((1, String::new())),
        DeliverPolicy::ByStartSequence { start_sequence } => start_sequence,
        DeliverPolicy::ByStartTime { start_time } => {
            history::first_since(broker, STREAM, held, start_time.into()).await?
        }
        DeliverPolicy::New | DeliverPolicy::Last | DeliverPolicy::LastPerSubject => {
            history::first_since(broker, STREAM, held, info.created.into()).await?
        }
    };
    Ok((began, "its consumer was made anew and told to begin behind it".to_owned()))
}

/// What sweeps remember of the consumers, those that are gone as well.
pub(super) async fn watched(broker: &Broker) -> Result<HashMap<String, Watched>, CliError> {
    let stream = format!("KV_{DLQ_BUCKET}");
    let filters = [format!("$KV.{DLQ_BUCKET}.sweep.>")];
    let mut scan = Scan::open(broker, &stream, &filters, (1, u64::MAX), Depth::Whole).await?;
    let mut watched = HashMap::new();
    while let Some(note) = scan.next().await? {
        if let Ok(known) = serde_json::from_slice::<Watched>(note.payload()) {
            watched.insert(known.consumer.clone(), known);
        }
    }
    Ok(watched)
}

/// What consumers gave up and nobody can name.
pub(super) fn losses(watched: HashMap<String, Watched>) -> Vec<(String, Loss)> {
    let of =
        |known: Watched| known.given_up.losses.into_iter().map(move |loss| (known.consumer.clone(), loss));
    watched.into_values().flat_map(of).collect()
}
