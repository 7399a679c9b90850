use schemas::RunId;
use schemas::event::RunRequested;
use search::Proposal;
use serde_json::json;

use super::*;
use crate::plan::{Allowed, Work, plan};

fn supervisor(trials: u32, parallelism: u32, max_failed: Option<u32>) -> Supervisor {
    let request: RunRequested = serde_json::from_value(json!({
        "dataset_id": "digits", "seed": 1,
        "budget": {"max_trials": trials, "parallelism": parallelism, "population_size": 4},
    }))
    .unwrap();
    let plan = plan(&RunId::parse("r").unwrap(), &request, &Allowed::default()).unwrap();
    let Work::Search(search) = plan.work else { panic!("no search of ours") };
    Supervisor::new(
        Search::new(*search).unwrap(),
        Limits { max_failed_trials: max_failed, ..Limits::default() },
    )
}

fn trained(commands: &[Command]) -> Vec<Proposal> {
    let proposal = |command: &Command| match command {
        Command::Train(proposal) => Some(proposal.clone()),
        Command::StopTrials(_) | Command::Finish(_) => None,
    };
    commands.iter().filter_map(proposal).collect()
}

fn ending(commands: &[Command]) -> Option<&Ending> {
    commands.iter().find_map(|command| match command {
        Command::Finish(ending) => Some(ending),
        Command::Train(_) | Command::StopTrials(_) => None,
    })
}

fn good(proposal: &Proposal) -> Input {
    let evaluation = Evaluation::succeeded(0.5, proposal.candidate.parameters.clone());
    Input::Ended { number: proposal.number, evaluation, failure: None }
}

fn bad(proposal: &Proposal) -> Input {
    let parameters = proposal.candidate.parameters.clone();
    let evaluation = Evaluation::without_objective(search::Status::Failed, parameters);
    let failure = Some(Failure::new(FailureClass::UserCode, Stage::Execute, "ValueError: no"));
    Input::Ended { number: proposal.number, evaluation, failure }
}

#[test]
fn a_run_trains_exactly_its_trials_never_more_than_allowed_at_once_and_completes() {
    let mut supervisor = supervisor(9, 3, None);
    let mut waiting = trained(&supervisor.start());
    let mut started = waiting.len();
    loop {
        assert!(waiting.len() <= 3);
        let commands = supervisor.handle(good(&waiting.remove(0)));
        let next = trained(&commands);
        started += next.len();
        waiting.extend(next);
        if let Some(ending) = ending(&commands) {
            assert_eq!(ending, &Ending::Completed { status: "succeeded" });
            break;
        }
    }
    assert_eq!((started, supervisor.counts()), (9, (9, 0)));
}

#[test]
fn a_run_without_a_success_fails_with_the_last_cause() {
    let mut supervisor = supervisor(2, 2, None);
    let started = trained(&supervisor.start());
    supervisor.handle(bad(&started[0]));
    let commands = supervisor.handle(bad(&started[1]));
    let Some(Ending::Failed { failure, .. }) = ending(&commands) else { panic!("{commands:?}") };
    assert_eq!(failure.class, FailureClass::UserCode);
    assert!(failure.message.contains("ValueError"));
}

#[test]
fn too_many_failed_trials_stop_the_others_and_the_run() {
    let mut supervisor = supervisor(10, 2, Some(1));
    let started = trained(&supervisor.start());
    assert_eq!(supervisor.handle(bad(&started[0])), [Command::StopTrials(Stop::Cancelled)]);
    let cancelled = Evaluation::without_objective(search::Status::Cancelled, serde_json::Map::new());
    let commands = supervisor.handle(Input::Ended { number: 1, evaluation: cancelled, failure: None });
    assert!(matches!(ending(&commands), Some(Ending::Failed { budget: Some("max_failed_trials"), .. })));
}

#[test]
fn a_cancel_stops_what_is_under_way_and_only_the_first_ending_counts() {
    let mut supervisor = supervisor(10, 2, None);
    let started = trained(&supervisor.start());
    let reason = Some("enough".to_owned());
    assert_eq!(
        supervisor.handle(Input::Outside(News::Cancel { reason: reason.clone() })),
        [Command::StopTrials(Stop::Cancelled)]
    );
    assert!(supervisor.handle(Input::Outside(News::OutOfTime)).is_empty());
    assert!(supervisor.handle(good(&started[0])).is_empty());
    let commands = supervisor.handle(good(&started[1]));
    assert_eq!(commands, [Command::Finish(Ending::Cancelled { reason })]);
    assert!(supervisor.handle(Input::Outside(News::Cancel { reason: None })).is_empty());
}

#[test]
fn a_drained_run_finishes_what_is_under_way_and_is_interrupted() {
    let mut supervisor = supervisor(10, 2, None);
    let started = trained(&supervisor.start());
    assert!(supervisor.handle(Input::Outside(News::Drain)).is_empty());
    assert!(supervisor.handle(good(&started[0])).is_empty());
    assert_eq!(supervisor.handle(good(&started[1])), [Command::Finish(Ending::Interrupted)]);
}

#[test]
fn a_drained_run_whose_last_trials_finish_is_complete() {
    let mut supervisor = supervisor(2, 2, None);
    let started = trained(&supervisor.start());
    supervisor.handle(Input::Outside(News::Drain));
    supervisor.handle(good(&started[0]));
    let commands = supervisor.handle(good(&started[1]));
    assert!(matches!(ending(&commands), Some(Ending::Completed { .. })));
}

#[test]
fn an_interrupt_drops_trials_even_while_cancelling() {
    let mut supervisor = supervisor(10, 1, None);
    supervisor.start();
    supervisor.handle(Input::Outside(News::Cancel { reason: None }));
    assert_eq!(supervisor.handle(Input::Outside(News::Interrupt)), [Command::StopTrials(Stop::Dropped)]);
    assert_eq!(supervisor.handle(Input::Dropped { number: 0 }), [Command::Finish(Ending::Interrupted)]);
}

#[test]
fn a_resumed_run_trains_only_what_is_missing_and_the_same_candidates() {
    let mut whole = supervisor(6, 1, None);
    let mut seen = Vec::new();
    let mut next = trained(&whole.start());
    while let Some(proposal) = next.pop() {
        seen.push(proposal.clone());
        next = trained(&whole.handle(good(&proposal)));
    }
    let mut resumed = supervisor(6, 1, None);
    for proposal in &seen[..4] {
        let Input::Ended { number, evaluation, failure } = good(proposal) else { unreachable!() };
        assert!(resumed.resume(number, evaluation, failure));
    }
    let mut rest = Vec::new();
    let mut next = trained(&resumed.start());
    while let Some(proposal) = next.pop() {
        rest.push(proposal.clone());
        next = trained(&resumed.handle(good(&proposal)));
    }
    assert_eq!(rest, seen[4..]);
}

#[test]
fn time_that_is_up_keeps_the_best_if_there_is_one() {
    let mut supervisor = supervisor(10, 1, None);
    let started = trained(&supervisor.start());
    supervisor.handle(good(&started[0]));
    assert_eq!(supervisor.handle(Input::Outside(News::OutOfTime)), [Command::StopTrials(Stop::Cancelled)]);
    let commands = supervisor.handle(Input::Dropped { number: 1 });
    assert_eq!(commands, [Command::Finish(Ending::Completed { status: "max_seconds" })]);
}

#[test]
fn failures_in_a_row_end_the_run_and_a_success_between_them_forgives() {
    let mut supervisor = supervisor(20, 1, None);
    supervisor.limits.max_consecutive_failures = Some(2);
    let mut next = trained(&supervisor.start());
    for input in [bad, good, bad] {
        next = trained(&supervisor.handle(input(&next[0])));
    }
    let commands = supervisor.handle(bad(&next[0]));
    let Some(Ending::Failed { failure, budget }) = ending(&commands) else { panic!("{commands:?}") };
    assert_eq!(*budget, Some("max_consecutive_failures"));
    assert!(failure.message.starts_with("2 trials failed in a row"), "{}", failure.message);
}

#[test]
fn a_run_that_is_scaled_trains_fewer_at_once_and_the_same_candidates() {
    let mut whole = supervisor(8, 4, None);
    let mut scaled = supervisor(8, 4, None);
    scaled.handle(Input::Outside(News::Scale { parallelism: 1 }));
    let all = |supervisor: &mut Supervisor, most: usize| {
        let (mut seen, mut waiting) = (Vec::new(), trained(&supervisor.start()));
        while !waiting.is_empty() {
            assert!(waiting.len() <= most, "{waiting:?}");
            let proposal = waiting.remove(0);
            waiting.extend(trained(&supervisor.handle(good(&proposal))));
            seen.push(proposal);
        }
        seen
    };
    let mut fresh = supervisor(8, 4, None);
    fresh.limits.parallelism = Some(1);
    assert_eq!(all(&mut fresh, 1), all(&mut whole, 4));
    // One that is scaled down under way starts nothing until it is below.
    let commands = scaled.handle(Input::Outside(News::Scale { parallelism: 2 }));
    assert!(trained(&commands).len() <= 2);
}

#[test]
fn a_run_that_cannot_go_on_ends_when_the_other_trials_have() {
    let mut supervisor = supervisor(10, 2, None);
    let started = trained(&supervisor.start());
    let failure = Failure::new(FailureClass::Dependency, Stage::Execute, "no interpreter");
    assert_eq!(supervisor.handle(Input::Abort(failure)), [Command::StopTrials(Stop::Cancelled)]);
    let commands = supervisor.handle(Input::Dropped { number: started[1].number });
    assert!(matches!(ending(&commands), Some(Ending::Failed { .. })), "{commands:?}");
}
