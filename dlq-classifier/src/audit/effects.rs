//! Requests by their effect: one that the workers have settled has made a run, or was refused with a letter.
//!
//! A floor tells that a request was settled, not that anything came of it: two readers that each take a request for the
//! other's to give up would both settle it.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use schemas::cloudevents::header;
use schemas::subject::STREAM;
use schemas::{Event, Record, RunId};
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::history::{History, Kept};
use service_kit::topology::{CLASSIFIER_CONSUMER, WORKER_CONSUMER};

use super::facts::Facts;
use super::reading;
use super::report::Finding;

/// Settled requests of which nothing has come.
pub(super) async fn missing(broker: &Broker, facts: &Facts) -> Result<Vec<Finding>, CliError> {
    let through = |name: &str| {
        let reader = facts.readers.iter().find(|reader| reader.name == name);
        reader.map_or(0, |reader| if reader.in_hand == 0 { reader.delivered } else { reader.floor })
    };
    let (settled, classified) = (through(WORKER_CONSUMER).min(facts.last), through(CLASSIFIER_CONSUMER));
    if settled < facts.first {
        return Ok(Vec::new());
    }
    let subject = Record::RunRequested.subject();
    let mut findings = Vec::new();
    let mut asked: HashMap<String, u64> = HashMap::new();
    let mut requests = History::to_the_present(broker, STREAM, &[subject], facts.first).await?;
    while let Some(request) = requests.next().await?.filter(|request| request.sequence <= settled) {
        // A reserved request is carried out by a process of its own, whenever that comes.
        if facts.letters.excuse(request.sequence, WORKER_CONSUMER)
            || request.headers.get(header::RESERVED).is_some()
        {
            continue;
        }
        match run_of(&request) {
            Some(run) => drop(asked.entry(run.to_string()).or_insert(request.sequence)),
            None if request.sequence <= classified => {
                let why = "it cannot be read, everybody has settled it, and it has no dead letter";
                findings.push(Finding::of(request.sequence, subject, CLASSIFIER_CONSUMER, why));
            }
            None => {}
        }
    }
    if !asked.is_empty() {
        let mut runs = std::pin::pin!(reading::known_runs(broker).await?);
        while let Some(run) = runs.try_next().await? {
            asked.remove(&run);
        }
    }
    let why = "the workers have settled it, and the registry knows no run of it";
    findings.extend(asked.into_values().map(|seq| Finding::of(seq, subject, WORKER_CONSUMER, why)));
    Ok(findings)
}

fn run_of(request: &Kept) -> Option<RunId> {
    let Ok(Event::RunRequested(asked)) = request.decode().map(|decoded| decoded.event) else { return None };
    let millis = u64::try_from(request.time.millis()).unwrap_or(0);
    Some(asked.run_id.unwrap_or_else(|| RunId::derive(STREAM, request.sequence, millis)))
}
