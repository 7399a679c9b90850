//! Which runs there are: those the registry knows, and the requests no worker has claimed yet.
//!
//! Invariants: a run is listed once; a request that restarts a run makes it `requested` again until a worker claims
//! it; reading creates nothing, and a broker on which nothing ever ran has no runs.

mod requests;
mod row;

use std::collections::BTreeMap;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::GetStreamErrorKind;
use schemas::subject::STREAM;
use schemas::{Event, RunId};
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::registry::record::Unclaimed;
use service_kit::registry::{Registry, RegistryError, RunRecord};

pub use requests::Request;
pub(crate) use requests::asks_for_failed_trials;
use requests::{Requests, ack_floor, is_unclaimed, may_be_asked_again};
pub use row::RunRow;
pub(crate) use row::ShortRow;

/// Unclaimed requests that are listed; whoever has more has another problem.
const MAX_UNCLAIMED: usize = 10_000;

/// A run by its id.
#[derive(Debug, Clone)]
pub enum Run {
    /// Some worker has claimed it. A later request that no worker has taken up yet may stand beside the record.
    Known(Box<RunRecord>, Option<Box<Request>>),
    /// Only its request exists.
    Asked(Box<Request>),
}

impl Run {
    /// True if somebody has asked for the run; a cancel request may come before any other.
    pub(crate) fn is_asked_for(&self) -> bool {
        match self {
            Self::Known(record, None) => record.request_sequence > 0,
            Self::Known(_, Some(_)) | Self::Asked(_) => true,
        }
    }

    /// As it is listed.
    pub fn row(&self) -> RunRow {
        match self {
            Self::Known(record, None) => RunRow::of_record(record),
            Self::Known(record, Some(request)) => RunRow::of_retry(record, request),
            Self::Asked(request) => RunRow::of_request(request),
        }
    }

    /// First sequence that can hold its events.
    pub fn first_sequence(&self) -> u64 {
        match self {
            Self::Known(record, Some(request)) => record.first_sequence.min(request.sequence),
            Self::Known(record, None) => record.first_sequence,
            Self::Asked(request) => request.sequence,
        }
    }

    /// Sequence of the request that counts: what came before belongs to an earlier asking.
    pub fn request_sequence(&self) -> u64 {
        match self {
            Self::Known(_, Some(request)) | Self::Asked(request) => request.sequence,
            Self::Known(record, None) => record.request_sequence,
        }
    }

    /// Trials of it that may be under way at once, and how many its request allows; `None` if nobody asked for it.
    pub fn parallelism(&self) -> Option<(u32, u32)> {
        let (changed, budget) = match self {
            Self::Known(record, Some(request)) => (record.parallelism, &request.request.budget),
            Self::Known(record, None) if record.request_sequence > 0 => (record.parallelism, &record.budget),
            Self::Known(_, None) => return None,
            Self::Asked(request) => (None, &request.request.budget),
        };
        let limit = budget.max_parallelism();
        Some((changed.map_or(limit, |number| number.min(limit)), limit))
    }

    /// Its request, if no worker has taken it up.
    pub(crate) fn unclaimed(&self) -> Option<Unclaimed<'_>> {
        match self {
            Self::Known(_, Some(request)) | Self::Asked(request) => Some(Unclaimed {
                sequence: request.sequence,
                requested_at: request.time,
                budget: &request.request.budget,
            }),
            Self::Known(_, None) => None,
        }
    }

    /// What was asked, as JSON.
    pub fn spec(&self) -> serde_json::Value {
        match self {
            Self::Known(_, Some(request)) | Self::Asked(request) => {
                Event::from(request.request.clone()).to_json()
            }
            Self::Known(record, None) => record.spec.0.clone(),
        }
    }
}

/// True if the event stream exists.
pub async fn has_stream(broker: &Broker) -> Result<bool, CliError> {
    match broker.jetstream.get_stream(STREAM).await {
        Ok(_) => Ok(true),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(answer) if answer.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                Ok(false)
            }
            GetStreamErrorKind::JetStream(_)
            | GetStreamErrorKind::Request
            | GetStreamErrorKind::EmptyName
            | GetStreamErrorKind::InvalidStreamName => Err(unreadable(&error)),
        },
    }
}

/// Every run, oldest first.
pub async fn all(broker: &Broker) -> Result<Vec<Run>, CliError> {
    if !has_stream(broker).await? {
        return Ok(Vec::new());
    }
    let settled = ack_floor(broker).await;
    let records = Registry::open(broker).await?.all().await.map_err(|error| unavailable(&error))?;
    let mut records: BTreeMap<RunId, RunRecord> =
        records.into_iter().map(|record| (record.run_id.clone(), record)).collect();
    let mut runs: BTreeMap<RunId, Run> = BTreeMap::new();
    let mut requests = Requests::after(broker, settled).await?;
    while let Some(request) = requests.next().await? {
        if runs.len() >= MAX_UNCLAIMED {
            service_kit::output::warning(format!(
                "only the first {MAX_UNCLAIMED} unclaimed requests are listed"
            ));
            break;
        }
        if is_unclaimed(records.get(&request.run_id), &request) && !runs.contains_key(&request.run_id) {
            let request = Box::new(request);
            let run_id = request.run_id.clone();
            let run = match records.remove(&run_id) {
                Some(record) => Run::Known(Box::new(record), Some(request)),
                None => Run::Asked(request),
            };
            runs.insert(run_id, run);
        }
    }
    let known = records.into_values().map(|record| Run::Known(Box::new(record), None));
    let mut all: Vec<Run> = runs.into_values().chain(known).collect();
    all.sort_by_cached_key(|run| {
        let row = run.row();
        (row.requested_at, row.run_id)
    });
    Ok(all)
}

/// One run.
pub async fn find(broker: &Broker, run: &RunId) -> Result<Option<Run>, CliError> {
    if !has_stream(broker).await? {
        return Ok(None);
    }
    let settled = ack_floor(broker).await;
    let held = Registry::open(broker).await?.get(run).await.map_err(|error| unavailable(&error))?;
    let record = match held.map(|held| held.record) {
        Some(record) if !may_be_asked_again(&record, true) => {
            return Ok(Some(Run::Known(Box::new(record), None)));
        }
        other => other,
    };
    let mut found = None;
    let served = record.as_ref().map_or(0, |record| record.request_sequence);
    let mut requests = Requests::after(broker, settled.max(served)).await?;
    while let Some(request) = requests.next().await? {
        if request.run_id == *run && is_unclaimed(record.as_ref(), &request) {
            found = Some(Box::new(request));
            break;
        }
    }
    Ok(match (record, found) {
        (Some(record), request) => Some(Run::Known(Box::new(record), request)),
        (None, Some(request)) => Some(Run::Asked(request)),
        (None, None) => None,
    })
}

/// One run, or the error that it does not exist.
pub async fn get(broker: &Broker, run: &RunId) -> Result<Run, CliError> {
    find(broker, run).await?.ok_or_else(|| {
        CliError::new(
            "run-unknown",
            Exit::NotFound,
            format!("there is no run {run} on the broker at {}", broker.url()),
        )
        .help("`producer list` shows the runs there are")
    })
}

pub(crate) fn unavailable(error: &RegistryError) -> CliError {
    CliError::new("registry-unreadable", Exit::Unreachable, "the run registry cannot be read")
        .because(error)
        .help("is the broker up, and were the streams created? `cerebros doctor` tells")
}

fn unreadable(error: &dyn std::error::Error) -> CliError {
    CliError::new("stream-unreadable", Exit::Unreachable, "the event stream cannot be read")
        .because(error)
        .help("the broker must be nats-server 2.12 or later with JetStream on; `cerebros doctor` tells")
}
