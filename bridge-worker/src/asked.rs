//! What was asked for: a request with the facts that came with it.

use schemas::cloudevents::{Context, Headers, Voice, header};
use schemas::codec::DecodeError;
use schemas::dead_letter::REPLAY_OF;
use schemas::event::RunRequested;
use schemas::{Event, Failure, RunId, Timestamp, expiry};
use service_kit::delivery::Delivery;
use service_kit::history::Kept;
use service_kit::registry::RunRecord;
use service_kit::registry::record::Claimant;

/// Asks for the failed trials of a run, even of one that completed.
const RETRY: &str = "Cerebros-Retry";

/// A request for a run.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The run; derived from the message when the request leaves it out.
    pub run_id: RunId,
    /// The request.
    pub request: RunRequested,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// How often the broker has handed it over; 0 when it was found on the stream instead.
    pub delivery: u64,
    /// When the stream took it in.
    pub at: Timestamp,
    /// Its headers.
    pub headers: Headers,
    /// When it is no longer wanted, unless it was taken before.
    pub expires: Option<Timestamp>,
    /// Why it is to be ended instead of executed.
    pub cancelled: Option<String>,
    /// Whoever has its run was looked for and not found.
    pub is_owner_gone: bool,
}

impl Asked {
    /// The request in a delivery; `None` when the event is another one.
    ///
    /// # Errors
    /// Why nothing can be read in it.
    pub fn of(delivery: &Delivery) -> Result<Option<Self>, DecodeError> {
        let decoded = delivery.decode()?;
        let Event::RunRequested(request) = decoded.event else { return Ok(None) };
        Ok(Some(Self {
            run_id: request.run_id.clone().unwrap_or_else(|| delivery.derived_run_id()),
            request,
            sequence: delivery.sequence(),
            delivery: delivery.place().deliveries,
            at: delivery.published(),
            headers: delivery.headers().clone(),
            expires: decoded.expires,
            cancelled: None,
            is_owner_gone: false,
        }))
    }

    /// The request for `run` in a message of stream `stream`, if it is one.
    pub fn found(kept: &Kept, stream: &str, run: &RunId) -> Option<Self> {
        if kept.headers.get(header::RUN_ID).is_some_and(|id| id != run.as_str()) {
            return None;
        }
        let decoded = kept.decode().ok()?;
        let Event::RunRequested(request) = decoded.event else { return None };
        let derived = || RunId::derive(stream, kept.sequence, u64::try_from(kept.time.millis()).unwrap_or(0));
        let run_id = request.run_id.clone().unwrap_or_else(derived);
        (run_id == *run).then(|| Self {
            run_id,
            request,
            sequence: kept.sequence,
            delivery: 0,
            at: kept.time,
            headers: kept.headers.clone(),
            expires: decoded.expires,
            cancelled: None,
            is_owner_gone: false,
        })
    }

    /// The request a record was claimed with; `None` when it does not hold one.
    pub fn remembered(record: &RunRecord) -> Option<Self> {
        Some(Self {
            run_id: record.run_id.clone(),
            request: serde_json::from_value(record.spec.0.clone()).ok()?,
            sequence: record.request_sequence,
            delivery: record.delivery,
            at: record.requested_at,
            headers: Headers::default(),
            // It was taken, whenever that was.
            expires: None,
            cancelled: None,
            is_owner_gone: false,
        })
    }

    /// True for a replay of the message at a sequence of the stream, which has become a dead letter.
    pub fn is_replay_of(&self, sequence: u64) -> bool {
        let entry = self.headers.get(REPLAY_OF).and_then(|entry| entry.split_once('-'));
        entry.is_some_and(|(dead, _)| dead.parse() == Ok(sequence))
    }

    /// True when a process of its own carries the request out; see [`crate::oneshot`].
    pub fn is_reserved(&self) -> bool {
        self.headers.get(header::RESERVED).is_some()
    }

    /// Why the run of a record is refused that has come to nothing yet: its request was taken too late. The record says
    /// when, so that every attempt comes to the same answer, and none of a request that was taken in time.
    pub fn too_late(&self, record: &RunRecord) -> Option<Failure> {
        expiry::refusal(self.expires, record.taken_at?)
    }

    /// Who claims, on behalf of `worker_id`.
    pub fn claimant<'a>(&'a self, worker_id: &'a str) -> Claimant<'a> {
        Claimant {
            run_id: &self.run_id,
            request: &self.request,
            sequence: self.sequence,
            delivery: self.delivery,
            is_retry_of_failed: self.headers.get(RETRY) == Some("failed"),
            is_owner_gone: self.is_owner_gone,
            requested_at: self.at,
            worker_id,
        }
    }

    /// How events about the run speak of where they come from.
    pub fn voice(&self, record: &RunRecord, worker_id: &str) -> Voice {
        let header = |name: &str| self.headers.get(name).map(str::to_owned);
        let context = Context {
            source: format!("/cerebros/bridge-worker/{worker_id}"),
            traceparent: header(header::TRACEPARENT),
            causation_id: header("ce-id").or_else(|| header(header::MESSAGE_ID)),
            correlation_id: self.request.correlation_id.clone().or_else(|| header(header::CORRELATION_ID)),
        };
        Voice { run: record.run_id.clone(), attempt: record.attempt, epoch: record.epoch, context }
    }
}
