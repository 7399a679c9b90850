//! One run as the registry knows it, and who may claim it.
//!
//! Pure: the clock is an argument.

use schemas::event::Budget;
use schemas::lifecycle::RunState;
use schemas::{Failure, Json, Real, RunId, Timestamp};
use serde::{Deserialize, Serialize};

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the run's events")]
pub struct RunRecord {
    pub run_id: RunId,
    pub state: RunState,
    /// Current or last attempt; the fence.
    pub attempt: u32,
    /// Attempt in which the run was last restarted after it had failed, 0 if never; see `Event::message_id`.
    #[serde(default)]
    pub epoch: u32,
    pub dataset_id: String,
    pub objective: String,
    /// Hard limits, for progress displays.
    pub budget: Budget,
    /// The request as it came, with every default filled in.
    pub spec: Json,
    /// Stream sequence of the request that is being served.
    pub request_sequence: u64,
    /// How often the broker had handed that request over when it was claimed; what it hands over is numbered.
    #[serde(default)]
    pub delivery: u64,
    /// First sequence that can hold events of this run.
    pub first_sequence: u64,
    /// Last sequence this attempt has published, as of the last update.
    #[serde(default)]
    pub last_sequence: u64,
    pub worker_id: Option<String>,
    #[serde(default)]
    pub completed_trials: u32,
    #[serde(default)]
    pub failed_trials: u32,
    #[serde(default)]
    pub running_trials: u32,
    #[serde(default)]
    pub best_metric: Option<Real>,
    #[serde(default)]
    pub best_trial_id: Option<String>,
    /// Failed attempts of the run.
    #[serde(default)]
    pub failures: u32,
    /// Attempts that ended with their machine, cleanly.
    #[serde(default)]
    pub interruptions: u32,
    /// Attempts whose worker vanished.
    #[serde(default)]
    pub worker_losses: u32,
    /// Those of them that vanished while trials of the run were training.
    #[serde(default)]
    pub losses_at_work: u32,
    /// Time attempts have worked on the run, in milliseconds, as of the last update.
    #[serde(default)]
    pub active_ms: u64,
    pub requested_at: Timestamp,
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When the request that is being served was taken first, which is when it had to be in time; `None` where it took
    /// over what another had begun, and in records of earlier builds.
    #[serde(default)]
    pub taken_at: Option<Timestamp>,
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    /// What ended the run: `max_trials`, `max_seconds`, `cancelled`, a failure class, ...
    #[serde(default)]
    pub ended_by: Option<String>,
    #[serde(default)]
    pub failure: Option<Failure>,
    /// Somebody asked for the end of the run, and why.
    #[serde(default)]
    pub cancel_requested: Option<String>,
    /// Trials that may be under way at once, when somebody has changed it; see [`scale`].
    #[serde(default)]
    pub parallelism: Option<u32>,
    #[serde(default)]
    pub mlflow_run_id: Option<String>,
    /// Page of that run for people.
    #[serde(default)]
    pub mlflow_url: Option<String>,
}

/// A request as a worker finds it.
#[derive(Debug, Clone)]
pub struct Claimant<'a> {
    /// The run.
    pub run_id: &'a RunId,
    /// Data set, objective and limits of the request.
    pub request: &'a schemas::event::RunRequested,
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

/// Records that somebody asked for the end of a run, known or not; no change for a run that is over.
pub fn request_cancel(
    record: Option<&RunRecord>,
    run_id: &RunId,
    reason: &str,
    now: Timestamp,
) -> Option<RunRecord> {
    match record {
        Some(known) if known.state.is_final() || known.cancel_requested.is_some() => None,
        Some(known) => Some(RunRecord { cancel_requested: Some(reason.to_owned()), ..known.clone() }),
        None => {
            let mut record = blank(run_id, now);
            record.cancel_requested = Some(reason.to_owned());
            Some(record)
        }
    }
}

/// A request that no worker has taken up yet.
#[derive(Debug, Clone, Copy)]
pub struct Unclaimed<'a> {
    /// Its stream sequence.
    pub sequence: u64,
    /// When it came in.
    pub requested_at: Timestamp,
    /// What it allows.
    pub budget: &'a Budget,
}

/// What became of the wish to change how many trials of a run may be under way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// It is so from now on.
    Set {
        /// How many there could be until now.
        before: u32,
    },
    /// The search of the run looks back so many trials and no further.
    OutOfRange {
        /// Most that may be under way at once.
        limit: u32,
    },
    /// The run is over.
    Over,
    /// Nobody has asked for the run.
    NotAsked,
}

/// Decides how many trials of a run may be under way at once, from 1 to what its request allows: candidates depend on
/// that number, so that only fewer at a time leave the search what it is.
pub fn scale(
    record: Option<&RunRecord>,
    run_id: &RunId,
    unclaimed: Option<Unclaimed<'_>>,
    parallelism: u32,
) -> (Option<RunRecord>, Scale) {
    let is_waiting = |known: &RunRecord| known.state.is_final() || known.state == RunState::Requested;
    let waiting = unclaimed.filter(|request| {
        record.is_none_or(|known| is_waiting(known) && request.sequence > known.request_sequence)
    });
    let budget = match (record, waiting) {
        (_, Some(request)) => request.budget,
        (Some(known), None) if known.state.is_final() => return (None, Scale::Over),
        (Some(known), None) if known.request_sequence > 0 => &known.budget,
        (Some(_) | None, None) => return (None, Scale::NotAsked),
    };
    let limit = budget.max_parallelism();
    if !(1..=limit).contains(&parallelism) {
        return (None, Scale::OutOfRange { limit });
    }
    let mut next = match (record, waiting) {
        (Some(known), _) => known.clone(),
        (None, waiting) => blank(run_id, waiting.map(|request| request.requested_at).unwrap_or_default()),
    };
    let before = next.parallelism.map_or(limit, |number| number.min(limit));
    let has_changed = next.parallelism.replace(parallelism) != Some(parallelism);
    (has_changed.then_some(next), Scale::Set { before })
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

fn spec_of(request: &schemas::event::RunRequested) -> Json {
    Json(serde_json::to_value(request).expect("a request is plain data"))
}

fn blank(run_id: &RunId, requested_at: Timestamp) -> RunRecord {
    RunRecord {
        run_id: run_id.clone(),
        state: RunState::Requested,
        attempt: 0,
        epoch: 0,
        dataset_id: String::new(),
        objective: String::new(),
        budget: Budget::default(),
        spec: Json::object(),
        request_sequence: 0,
        delivery: 0,
        first_sequence: u64::MAX,
        last_sequence: 0,
        worker_id: None,
        completed_trials: 0,
        failed_trials: 0,
        running_trials: 0,
        best_metric: None,
        best_trial_id: None,
        failures: 0,
        interruptions: 0,
        worker_losses: 0,
        losses_at_work: 0,
        active_ms: 0,
        requested_at,
        started_at: None,
        taken_at: None,
        ended_at: None,
        ended_by: None,
        failure: None,
        cancel_requested: None,
        parallelism: None,
        mlflow_run_id: None,
        mlflow_url: None,
    }
}

#[cfg(test)]
mod tests;
