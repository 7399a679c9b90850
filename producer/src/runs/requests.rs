//! Requests on the stream, and whether a worker has taken them up.

use schemas::cloudevents::{Headers, header};
use schemas::event::RunRequested;
use schemas::lifecycle::RunState;
use schemas::subject::STREAM;
use schemas::{Event, Record, RunId, Timestamp};
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::event_line::run_of;
use service_kit::history::{History, Kept};
use service_kit::registry::RunRecord;
use service_kit::topology::WORKER_CONSUMER;

/// A request on the stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The run it asks for, derived if it names none.
    pub run_id: RunId,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// When it came in.
    pub time: Timestamp,
    /// What is asked.
    pub request: RunRequested,
    /// True if it wants only the trials again that failed, see [`header::RETRY`].
    pub is_for_failed_trials: bool,
}

/// The requests of the stream, up to the present.
pub(super) struct Requests(History);

impl Requests {
    pub(super) async fn after(broker: &Broker, sequence: u64) -> Result<Self, CliError> {
        let subject = Record::RunRequested.subject();
        History::to_the_present(broker, STREAM, &[subject], sequence + 1).await.map(Self)
    }

    /// The next one that is valid.
    pub(super) async fn next(&mut self) -> Result<Option<Request>, CliError> {
        while let Some(kept) = self.0.next().await? {
            if let Some(request) = read(&kept) {
                return Ok(Some(request));
            }
        }
        Ok(None)
    }
}

fn read(kept: &Kept) -> Option<Request> {
    let event = kept.decode().ok()?.event;
    let run_id = run_of(kept, &event)?;
    let Event::RunRequested(request) = event else { return None };
    let is_for_failed_trials = asks_for_failed_trials(&kept.headers);
    Some(Request { run_id, sequence: kept.sequence, time: kept.time, request, is_for_failed_trials })
}

/// True for the headers of a request that wants only the trials again that failed.
pub(crate) fn asks_for_failed_trials(headers: &Headers) -> bool {
    headers.get(header::RETRY) == Some(header::RETRY_FAILED)
}

/// True if no worker has taken up the request, judged by what the registry has for its run.
pub(super) fn is_unclaimed(record: Option<&RunRecord>, request: &Request) -> bool {
    record.is_none_or(|record| {
        may_be_asked_again(record, request.is_for_failed_trials) && request.sequence > record.request_sequence
    })
}

/// A record for which a later request counts: a run that ended without success, or of which nothing but a cancel
/// request or the like is known yet; one that completed only for its failed trials.
pub(super) fn may_be_asked_again(record: &RunRecord, is_for_failed_trials: bool) -> bool {
    match record.state {
        RunState::Requested | RunState::Failed | RunState::Cancelled => true,
        RunState::Completed => is_for_failed_trials && record.failed_trials > 0,
        RunState::Running | RunState::Interrupted => false,
    }
}

/// Requests up to here are settled, and a worker settles no request of which it left no record. Read before the
/// registry, so that a request claimed in between is still found on the stream. Without a consumer none is settled.
pub(super) async fn ack_floor(broker: &Broker) -> u64 {
    let Ok(stream) = broker.jetstream.get_stream_no_info(STREAM).await else { return 0 };
    stream.consumer_info(WORKER_CONSUMER).await.map_or(0, |consumer| consumer.ack_floor.stream_sequence)
}
