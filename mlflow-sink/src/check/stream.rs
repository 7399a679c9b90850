//! What the stream says: read once, folded into what MLflow should have.

use std::collections::{BTreeMap, BTreeSet};

use schemas::dead_letter::Verdict;
use schemas::subject::{DLQ_PREFIX, DLQ_STREAM, STREAM};
use schemas::{FailureClass, RunId, Timestamp};
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::history::History;
use service_kit::registry::{Registry, RunRecord};
use service_kit::topology::{SINK_CONSUMER, SINK_SUBJECTS};

use super::survey::{Scope, Stuck};
use crate::progress::Progress;
use crate::projection::expected::Expected;
use crate::projection::{Seen, millis};
use crate::replay::seen;
use crate::unsettled::{self, Reach, Waiting};
use crate::writer::sweep::over;

/// What of the stream is asked about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) run: Option<RunId>,
    pub(crate) since: Option<Timestamp>,
}

/// The stream, read.
pub(crate) struct Reading {
    pub(crate) expected: Expected,
    pub(crate) scope: Scope,
    /// Events MLflow refused.
    pub(crate) refused: usize,
    /// Last sequence that was seen.
    last: u64,
}

/// Reads the stream up to what the sink has settled; what is behind that is on its way.
pub(crate) async fn read(
    broker: &Broker,
    registry: &Registry,
    asked: &Asked,
    progress: &Progress,
) -> Result<Reading, CliError> {
    let reach = reach(broker).await?;
    let refused = refused(broker).await?;
    let first = first_of_stream(broker).await?;
    let mut history = match asked.since {
        Some(since) => History::since(broker, STREAM, &SINK_SUBJECTS, since).await?,
        None => History::to_the_present(broker, STREAM, &SINK_SUBJECTS, 1).await?,
    };
    let mut expected = Expected::default();
    let mut scope = Scope { only: asked.run.clone(), ..Scope::default() };
    let (mut last, mut count) = (first.sequence.saturating_sub(1), 0_u64);
    let stuck: BTreeMap<&RunId, &Waiting> = reach.stuck().collect();
    while let Some(kept) = history.next().await? {
        (last, count) = (kept.sequence, count + 1);
        progress.say(|| format!("{count} events read"));
        let Some(seen) = seen(&kept) else { continue };
        let Some(run) = seen.run().filter(|run| asked.run.as_ref().is_none_or(|asked| asked == *run)) else {
            continue;
        };
        if let Some(waiting) = stuck.get(run).filter(|waiting| waiting.first == seen.sequence) {
            scope.stuck.insert(run.clone(), Stuck::of(waiting, kept.time));
        }
        if !reach.has(run, seen.sequence) {
            scope.moving.insert(run.clone());
            scope.waits_first.get_or_insert_with(|| (run.clone(), seen.sequence, kept.time));
        } else {
            expected.see(&seen, refused.contains(&seen.sequence));
        }
    }
    let records = records(registry).await?;
    end_by_registry(&mut expected, records.values().filter(|record| reach.is_behind(record)));
    expected.finish();
    let is_cut = asked.since.is_some() || first.sequence > 1;
    if is_cut {
        let is_whole = |run: &RunId, begins: bool| {
            let is_recent = |record: &RunRecord| {
                record.first_sequence >= first.sequence
                    && asked.since.is_none_or(|since| record.requested_at >= since)
            };
            begins && records.get(run).is_none_or(is_recent)
        };
        let cut = expected.runs.iter().filter(|(run, known)| !is_whole(run, known.begins));
        scope.partial = cut.map(|(run, _)| run.clone()).collect();
        let known_since = asked.since.max((first.sequence > 1).then_some(first.time).flatten());
        scope.known_since = known_since.map(millis);
    }
    Ok(Reading { expected, scope, refused: refused.len(), last })
}

/// Events that came while the server was read: what they are about may have changed under our eyes.
pub(crate) async fn note_what_moved(broker: &Broker, reading: &mut Reading) -> Result<(), CliError> {
    let mut history = History::to_the_present(broker, STREAM, &SINK_SUBJECTS, reading.last + 1).await?;
    while let Some(kept) = history.next().await? {
        reading.last = kept.sequence;
        if let Some(run) = seen(&kept).as_ref().and_then(Seen::run) {
            reading.scope.moving.insert(run.clone());
        }
    }
    Ok(())
}

async fn reach(broker: &Broker) -> Result<Reach, CliError> {
    unsettled::reach(broker).await.map_err(|reason| {
        CliError::new("consumer-unknown", Exit::Unreachable, "it is not known how far the sink has come")
            .because(reason)
            .help("start a sink once: it creates what is missing")
    })
}

/// Sequences of the events that are dead letters, because MLflow refused them.
async fn refused(broker: &Broker) -> Result<BTreeSet<u64>, CliError> {
    let subject = format!("{DLQ_PREFIX}{}.>", FailureClass::SinkRefused);
    let mut letters = History::to_the_present(broker, DLQ_STREAM, &[&subject], 1).await?;
    let mut refused = BTreeSet::new();
    while let Some(letter) = letters.next().await? {
        let verdict = Verdict::read(&letter.headers);
        if let Some(verdict) =
            verdict.filter(|verdict| verdict.stream == STREAM && verdict.consumer == SINK_CONSUMER)
        {
            refused.insert(verdict.sequence);
        }
    }
    Ok(refused)
}

struct First {
    sequence: u64,
    time: Option<Timestamp>,
}

async fn first_of_stream(broker: &Broker) -> Result<First, CliError> {
    let stream = broker.jetstream.get_stream(STREAM).await.map_err(|error| {
        CliError::new("stream-unreadable", Exit::Unreachable, "the stream cannot be read")
            .because(error)
            .help("is the broker up, and were the streams created? `cerebros doctor` tells")
    })?;
    let state = &stream.cached_info().state;
    Ok(First {
        sequence: state.first_sequence,
        time: (state.messages > 0).then(|| state.first_timestamp.into()),
    })
}

async fn records(registry: &Registry) -> Result<BTreeMap<RunId, RunRecord>, CliError> {
    let all = registry.all().await.map_err(|error| {
        CliError::new("registry-unreadable", Exit::Unreachable, "the run registry cannot be read")
            .because(error)
    })?;
    Ok(all.into_iter().map(|record| (record.run_id.clone(), record)).collect())
}

/// A run that never said its end ends as the registry tells, as the sweep of the sink has it.
fn end_by_registry<'a>(expected: &mut Expected, records: impl Iterator<Item = &'a RunRecord>) {
    for record in records {
        if let Some((writes, told)) = over(record) {
            expected.end_by_registry(&record.run_id, &writes, told);
        }
    }
}
