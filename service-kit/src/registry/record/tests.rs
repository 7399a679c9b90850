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
        is_owner_gone: false,
        requested_at: at(1),
        worker_id: "w",
    }
}

/// The next hand-over of the request.
fn ask(record: Option<&RunRecord>, sequence: u64) -> (Option<RunRecord>, Claim) {
    let (run_id, request) = (RunId::parse("r").unwrap(), RunRequested::new("digits"));
    let delivery = record.map_or(1, |record| record.delivery + 1);
    let worker = format!("w-{delivery}");
    let claimant = Claimant { delivery, worker_id: &worker, ..claimant(&run_id, &request, sequence) };
    claim(record, &claimant, at(2))
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
fn when_a_request_was_taken_first_stays_until_another_restarts_the_run() {
    let (run_id, request) = (RunId::parse("r").unwrap(), RunRequested::new("digits"));
    let asks = |sequence, delivery| Claimant { delivery, ..claimant(&run_id, &request, sequence) };
    let taken = |known: Option<&RunRecord>, claimant: &Claimant<'_>, now| {
        claim(known, claimant, at(now)).0.unwrap().taken_at
    };
    let wish = request_cancel(None, &run_id, "", at(1)).unwrap();
    let wish = RunRecord { cancel_requested: None, ..wish };
    assert_eq!(taken(None, &asks(7, 1), 5), Some(at(5)));
    assert_eq!(taken(Some(&wish), &asks(7, 1), 5), Some(at(5)), "nobody had taken it");
    for state in [RunState::Running, RunState::Interrupted] {
        let begun = RunRecord { taken_at: Some(at(5)), ..ended(state) };
        assert_eq!(taken(Some(&begun), &asks(7, 2), 9), Some(at(5)), "the same request, handed over again");
        let heir = Claimant { is_owner_gone: true, ..asks(8, 1) };
        assert_eq!(taken(Some(&begun), &heir, 9), None, "another takes over what was begun");
    }
    let failed = RunRecord { taken_at: Some(at(5)), ..ended(RunState::Failed) };
    assert_eq!(taken(Some(&failed), &asks(8, 1), 9), Some(at(9)));
    let of_an_earlier_build = RunRecord { taken_at: None, ..ended(RunState::Interrupted) };
    assert_eq!(taken(Some(&of_an_earlier_build), &asks(7, 2), 9), None);
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

#[test]
fn only_a_worker_that_is_gone_is_a_loss_and_only_one_that_trained_a_loss_at_work() {
    let (run_id, request) = (RunId::parse("r").unwrap(), RunRequested::new("digits"));
    let counts = |record: RunRecord, worker_id: &str| {
        let claimant = Claimant { delivery: 5, worker_id, ..claimant(&run_id, &request, 7) };
        let next = claim(Some(&record), &claimant, at(3)).0.unwrap();
        (next.worker_losses, next.losses_at_work)
    };
    let running = ask(None, 7).0.unwrap();
    assert_eq!(counts(running.clone(), "another"), (1, 0));
    assert_eq!(counts(RunRecord { running_trials: 2, ..running.clone() }, "another"), (1, 1));
    assert_eq!(counts(running.clone(), "w-1"), (0, 0), "it claims again what it has");
    assert_eq!(counts(RunRecord { delivery: 0, ..running }, "another"), (0, 0), "claimed to be cancelled");
}
