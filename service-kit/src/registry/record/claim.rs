//! Who may have a run, and in which attempt. Pure: the clock is an argument.

use schemas::event::RunRequested;
use schemas::lifecycle::RunState;
use schemas::{Json, RunId, Timestamp};

use super::{RunRecord, blank};

/// A request as a worker finds it.
#[derive(Debug, Clone)]
pub struct Claimant<'a> {
    /// The run.
    pub run_id: &'a RunId,
    /// Data set, objective and limits of the request.
    pub request: &'a RunRequested,
    /// Stream sequence of the request.
    pub sequence: u64,
    /// How often the broker has handed it over.
    pub delivery: u64,
    /// It asks for the failed trials of a run, even of one that completed.
    pub is_retry_of_failed: bool,
    /// Whoever the registry names was looked for and not found: it has stopped writing to the registry, and no request
    /// will bring it back.
    pub is_owner_gone: bool,
    /// When it came in.
    pub requested_at: Timestamp,
    /// Who claims.
    pub worker_id: &'a str,
}

/// What a claim found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The run is ours in this attempt.
    Granted {
        /// The fence.
        attempt: u32,
    },
    /// The run is over; the request has no effect.
    AlreadyOver,
    /// Another request for the same run is being served; this one has no effect.
    Duplicate,
    /// A later hand-over of the same request is being served: this one lay with us until its lease had run out.
    Stale,
    /// Somebody asked for the end of the run before it began.
    Cancelled {
        /// The fence for the events that say so.
        attempt: u32,
    },
}

/// Decides a claim. The record to write comes with every answer that hands out an attempt.
///
/// A redelivery of the same request means that the broker saw the last holder's lease run out: the run is taken over
/// under a new attempt, without looking at any clock. A later request with the same run id restarts a run that failed
/// or was cancelled (a replay, `producer retry`) and has no effect on one that is being served; on one that completed
/// it has only when it asks for the failed trials (`producer retry --only failed`). What would have no effect takes
/// over a run whose owner was looked for and is gone ([`Claimant::is_owner_gone`]).
pub fn claim(
    record: Option<&RunRecord>,
    claimant: &Claimant<'_>,
    now: Timestamp,
) -> (Option<RunRecord>, Claim) {
    let Some(known) = record else {
        let mut record = RunRecord { taken_at: Some(now), ..fresh(claimant) };
        begin(&mut record, claimant, now);
        return (Some(record), Claim::Granted { attempt: 1 });
    };
    let is_newer_request = claimant.sequence > known.request_sequence;
    let may_restart = is_newer_request
        && match known.state {
            RunState::Failed | RunState::Cancelled => true,
            RunState::Completed => claimant.is_retry_of_failed && known.failed_trials > 0,
            RunState::Requested | RunState::Running | RunState::Interrupted => false,
        };
    if known.state.is_final() && !may_restart {
        return (None, Claim::AlreadyOver);
    }
    let is_queued_cancel = known.state == RunState::Requested;
    let is_served = !known.state.is_final() && !claimant.is_owner_gone;
    if is_served && claimant.sequence != known.request_sequence && !is_queued_cancel {
        return (None, Claim::Duplicate);
    }
    if is_served && known.state == RunState::Running && claimant.delivery <= known.delivery {
        return (None, Claim::Stale);
    }
    let mut next = RunRecord {
        dataset_id: claimant.request.dataset_id.clone(),
        objective: claimant.request.objective.clone(),
        budget: claimant.request.budget.clone(),
        spec: spec_of(claimant.request),
        request_sequence: claimant.sequence,
        delivery: claimant.delivery,
        first_sequence: known.first_sequence.min(claimant.sequence),
        cancel_requested: if may_restart { None } else { known.cancel_requested.clone() },
        ..known.clone()
    };
    next.taken_at = taken_at(known, claimant, may_restart, now);
    if was_lost(known, claimant) {
        next.worker_losses += 1;
        next.losses_at_work += u32::from(known.running_trials > 0);
    }
    begin(&mut next, claimant, now);
    let attempt = next.attempt;
    if may_restart {
        restart(&mut next);
    }
    let claim = if next.cancel_requested.is_some() {
        Claim::Cancelled { attempt }
    } else {
        Claim::Granted { attempt }
    };
    (Some(next), claim)
}

/// When a request was taken first, whose run is known already.
fn taken_at(
    known: &RunRecord,
    claimant: &Claimant<'_>,
    may_restart: bool,
    now: Timestamp,
) -> Option<Timestamp> {
    // What is known of a run nobody has claimed is a wish about it.
    let is_first = may_restart || known.state == RunState::Requested;
    let is_same = claimant.sequence == known.request_sequence;
    if is_first { Some(now) } else { known.taken_at.filter(|_| is_same) }
}

/// Whether the worker that has the run is gone. Not when it is the one that claims (a confirmation got lost), and not
/// when the run was claimed for its cancellation only, beside the queue.
fn was_lost(known: &RunRecord, claimant: &Claimant<'_>) -> bool {
    let is_ours = known.worker_id.as_deref() == Some(claimant.worker_id);
    known.state == RunState::Running && !is_ours && known.delivery > 0
}

fn begin(record: &mut RunRecord, claimant: &Claimant<'_>, now: Timestamp) {
    record.attempt += 1;
    record.state = RunState::Running;
    record.worker_id = Some(claimant.worker_id.to_owned());
    record.started_at = record.started_at.or(Some(now));
    record.ended_at = None;
    record.ended_by = None;
    record.failure = None;
    record.running_trials = 0;
}

/// Trials that had succeeded stay; what had failed is trained again, so it no longer counts.
fn restart(record: &mut RunRecord) {
    record.epoch = record.attempt;
    record.failed_trials = 0;
    record.worker_losses = 0;
    record.losses_at_work = 0;
    record.active_ms = 0;
}

fn fresh(claimant: &Claimant<'_>) -> RunRecord {
    RunRecord {
        dataset_id: claimant.request.dataset_id.clone(),
        objective: claimant.request.objective.clone(),
        budget: claimant.request.budget.clone(),
        spec: spec_of(claimant.request),
        request_sequence: claimant.sequence,
        delivery: claimant.delivery,
        first_sequence: claimant.sequence,
        ..blank(claimant.run_id, claimant.requested_at)
    }
}

fn spec_of(request: &RunRequested) -> Json {
    Json(serde_json::to_value(request).expect("a request is plain data"))
}
