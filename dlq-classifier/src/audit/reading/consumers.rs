//! The durable consumers of the event stream: ours, whether or not they are there, and those of others.

use std::collections::HashMap;

use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy};
use async_nats::jetstream::stream::Stream;
use futures_util::StreamExt as _;
use schemas::subject::STREAM;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::history;
use service_kit::topology::{self, SINK_CONSUMER};

use super::{remembered, unreadable};
use crate::audit::facts::{Facts, Reader};

pub(super) async fn readers(
    broker: &Broker,
    stream: &Stream,
    facts: &Facts,
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
        let is_watched = is_watched(broker, &name).await;
        let reader = match found.remove(&name) {
            Some(info) => {
                let (from, why_from) = begins(broker, &info, facts).await?;
                Reader { is_ours: true, from, why_from, is_watched, ..reader(info) }
            }
            None => Reader {
                filters: config.filter_subjects,
                is_ours: true,
                from: u64::MAX,
                why_from: "its consumer is not there, so nobody handles it".to_owned(),
                is_watched,
                name,
                ..Reader::default()
            },
        };
        readers.push(reader);
    }
    for (name, info) in found {
        let is_watched = is_watched(broker, &name).await;
        readers.push(Reader { is_watched, ..reader(info) });
    }
    Ok(readers)
}

fn reader(info: consumer::Info) -> Reader {
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
        is_watched: false,
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

/// True if a sweep remembers a consumer: it dead-letters what that gives up.
async fn is_watched(broker: &Broker, consumer: &str) -> bool {
    remembered::<serde_json::Value>(broker, &format!("sweep.{consumer}")).await.is_some()
}
