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
    pub requested_at: Timestamp,
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    /// What ended the run: `trials`, `max_seconds`, `cancelled`, a failure class, ...
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
/// it has only when it asks for the failed trials (`producer retry --only failed`).
pub fn claim(
    record: Option<&RunRecord>,
    claimant: &Claimant<'_>,
    now: Timestamp,
) -> (Option<RunRecord>, Claim) {
    let Some(known) = record else {
        let mut record = fresh(claimant);
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
    if !known.state.is_final() && claimant.sequence != known.request_sequence && !is_queued_cancel {
        return (None, Claim::Duplicate);
    }
    if known.state == RunState::Running && claimant.delivery <= known.delivery {
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
    if known.state == RunState::Running {
        next.worker_losses += 1;
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
        requested_at,
        started_at: None,
        ended_at: None,
        ended_by: None,
        failure: None,
        cancel_requested: None,
        parallelism: None,
        mlflow_run_id: None,
    }
}

#[cfg(test)]
mod tests {
    use schemas::event::RunRequested;

    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    /// A hand-over of the request, the first one.
    fn claimant<'a>(run_id: &'a RunId, request: &'a RunRequested, sequence: u64) -> Claimant<'a> {
        Claimant {
            run_id,
            request,
            sequence,
            delivery: 1,
            is_retry_of_failed: false,
            requested_at: at(1),
            worker_id: "w",
        }
    }

    /// The next hand-over of the request.
    fn ask(record: Option<&RunRecord>, sequence: u64) -> (Option<RunRecord>, Claim) {
        let (run_id, request) = (RunId::parse("r").unwrap(), RunRequested::new("digits"));
        let delivery = record.map_or(1, |record| record.delivery + 1);
        claim(record, &Claimant { delivery, ..claimant(&run_id, &request, sequence) }, at(2))
    }

    fn ended(state: RunState) -> RunRecord {
        RunRecord { state, ..ask(None, 7).0.unwrap() }
    }

    #[test]
    fn the_first_claim_is_attempt_one_and_a_redelivery_takes_over_as_a_worker_loss() {
        let (record, claim) = ask(None, 7);
        assert_eq!(claim, Claim::Granted { attempt: 1 });
        let (record, claim) = ask(record.as_ref(), 7);
        assert_eq!(claim, Claim::Granted { attempt: 2 });
        assert_eq!(record.unwrap().worker_losses, 1);
    }

    #[test]
    fn an_interrupted_run_goes_on_without_counting_a_worker_loss() {
        let (record, claim) = ask(Some(&ended(RunState::Interrupted)), 7);
        assert_eq!((claim, record.unwrap().worker_losses), (Claim::Granted { attempt: 2 }, 0));
    }

    #[test]
    fn a_second_request_for_a_running_or_completed_run_has_no_effect() {
        let (running, _) = ask(None, 7);
        assert_eq!(ask(running.as_ref(), 8), (None, Claim::Duplicate));
        assert_eq!(ask(Some(&ended(RunState::Completed)), 8), (None, Claim::AlreadyOver));
        assert_eq!(ask(Some(&ended(RunState::Failed)), 7), (None, Claim::AlreadyOver));
    }

    #[test]
    fn a_later_request_restarts_a_failed_run_under_the_next_attempt() {
        let (record, claim) = ask(Some(&ended(RunState::Failed)), 8);
        assert_eq!(claim, Claim::Granted { attempt: 2 });
        let record = record.unwrap();
        assert_eq!((record.first_sequence, record.epoch), (7, 2));
    }

    #[test]
    fn a_hand_over_that_was_overtaken_by_a_later_one_takes_nothing_over() {
        let (run_id, request) = (RunId::parse("r").unwrap(), RunRequested::new("digits"));
        let running = ask(ask(None, 7).0.as_ref(), 7).0;
        assert_eq!(running.as_ref().unwrap().delivery, 2);
        let old = claimant(&run_id, &request, 7);
        assert_eq!(claim(running.as_ref(), &old, at(3)), (None, Claim::Stale));
    }

    #[test]
    fn the_failed_trials_of_a_completed_run_are_trained_again_only_when_they_are_asked_for() {
        let (run_id, request) = (RunId::parse("r").unwrap(), RunRequested::new("digits"));
        let retry = Claimant { is_retry_of_failed: true, ..claimant(&run_id, &request, 8) };
        let completed = RunRecord { failed_trials: 1, ..ended(RunState::Completed) };
        assert_eq!(claim(Some(&ended(RunState::Completed)), &retry, at(3)), (None, Claim::AlreadyOver));
        let (next, granted) = claim(Some(&completed), &retry, at(3));
        assert_eq!(granted, Claim::Granted { attempt: 2 });
        assert_eq!(next.unwrap().epoch, 2);
        let same = Claimant { sequence: 7, ..retry };
        assert_eq!(claim(Some(&completed), &same, at(3)), (None, Claim::AlreadyOver));
    }

    #[test]
    fn a_cancel_that_comes_before_the_request_is_remembered() {
        let run_id = RunId::parse("r").unwrap();
        let record = request_cancel(None, &run_id, "changed my mind", at(1));
        let (next, claim) = ask(record.as_ref(), 9);
        assert_eq!(claim, Claim::Cancelled { attempt: 1 });
        assert_eq!(next.unwrap().first_sequence, 9);
        assert_eq!(request_cancel(Some(&ended(RunState::Completed)), &run_id, "late", at(3)), None);
    }

    #[test]
    fn a_run_under_way_is_scaled_up_to_what_its_request_allows_and_the_next_attempt_keeps_it() {
        let run_id = RunId::parse("r").unwrap();
        let running = ask(None, 7).0.unwrap();
        let to = |record: &RunRecord, number| scale(Some(record), &run_id, None, number);
        let (scaled, said) = to(&running, 2);
        let scaled = scaled.unwrap();
        assert_eq!((scaled.parallelism, said), (Some(2), Scale::Set { before: 4 }));
        assert_eq!(to(&scaled, 2), (None, Scale::Set { before: 2 }));
        assert_eq!(to(&scaled, 4).1, Scale::Set { before: 2 });
        for number in [0, 5, u32::MAX] {
            assert_eq!(to(&scaled, number), (None, Scale::OutOfRange { limit: 4 }));
        }
        assert_eq!(ask(Some(&scaled), 7).0.unwrap().parallelism, Some(2));
        assert_eq!(to(&ended(RunState::Completed), 1), (None, Scale::Over));
    }

    #[test]
    fn a_run_in_the_queue_is_scaled_ahead_of_its_claim() {
        let run_id = RunId::parse("r").unwrap();
        let budget = Budget { parallelism: Some(2), ..Budget::default() };
        let request = Unclaimed { sequence: 9, requested_at: at(5), budget: &budget };
        let to = |record: Option<&RunRecord>, number| scale(record, &run_id, Some(request), number);
        let (waiting, said) = to(None, 1);
        let waiting = waiting.unwrap();
        assert_eq!((said, waiting.requested_at), (Scale::Set { before: 2 }, at(5)));
        assert_eq!(to(Some(&waiting), 3), (None, Scale::OutOfRange { limit: 2 }));
        let (claimed, claim) = ask(Some(&waiting), 9);
        assert_eq!((claim, claimed.unwrap().parallelism), (Claim::Granted { attempt: 1 }, Some(1)));
        assert_eq!(to(Some(&ended(RunState::Failed)), 1).0.unwrap().state, RunState::Failed);
        let served = RunRecord { request_sequence: 9, ..ended(RunState::Failed) };
        assert_eq!(to(Some(&served), 1), (None, Scale::Over));
        assert_eq!(scale(None, &run_id, None, 1), (None, Scale::NotAsked));
        assert_eq!(scale(Some(&waiting), &run_id, None, 1), (None, Scale::NotAsked));
    }
}
