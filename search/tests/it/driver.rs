//! The driver's bookkeeping: who is proposed when, what counts, what is kept.

use proptest::prelude::*;
use search::{
    Direction, Evaluation, Plan, Recorded, Search, SearchSpace, Settings, Status, UnknownTrial, trial_seed,
};
use serde_json::{Map, Value, json};

use crate::simulation::{CALM, run};

fn plan(direction: Direction, max_trials: u64, lag: u64) -> Plan {
    Plan {
        space: SearchSpace::parse(&Value::Null, "noop").unwrap(),
        strategy: "ga".to_owned(),
        settings: Settings { population_size: 4, ..Settings::new(1, direction) },
        max_trials,
        lag,
    }
}

fn search(max_trials: u64, lag: u64) -> Search {
    Search::new(plan(Direction::Maximize, max_trials, lag)).unwrap()
}

fn succeeded(objective: f64) -> Evaluation {
    Evaluation::succeeded(objective, x(objective))
}

fn x(value: f64) -> Map<String, Value> {
    json!({"x": value}).as_object().cloned().unwrap()
}

fn numbers(search: &mut Search) -> Vec<u64> {
    std::iter::from_fn(|| search.propose()).map(|proposal| proposal.number).collect()
}

#[test]
fn a_trial_waits_for_all_results_up_to_lag_below_it() {
    let mut search = search(10, 3);
    assert_eq!(numbers(&mut search), [0, 1, 2]);
    assert_eq!(search.record(2, succeeded(0.1)), Ok(Recorded::New));
    assert_eq!(numbers(&mut search), Vec::<u64>::new());
    assert_eq!(search.record(0, succeeded(0.2)), Ok(Recorded::New));
    assert_eq!(numbers(&mut search), [3]);
    assert_eq!(search.record(1, succeeded(0.3)), Ok(Recorded::New));
    assert_eq!(numbers(&mut search), [4, 5]);
    assert_eq!(search.in_flight().collect::<Vec<_>>(), [3, 4, 5]);
}

#[test]
fn recorded_trials_are_not_proposed_again() {
    let mut search = search(6, 2);
    for number in [5, 0, 3, 1] {
        assert_eq!(search.record(number, succeeded(0.5)), Ok(Recorded::New));
    }
    assert!(!search.is_exhausted());
    assert_eq!(numbers(&mut search), [2]);
    assert_eq!(search.record(2, succeeded(0.5)), Ok(Recorded::New));
    assert_eq!(numbers(&mut search), [4]);
    assert!(search.is_exhausted() && !search.is_finished());
    assert_eq!(search.record(4, succeeded(0.5)), Ok(Recorded::New));
    assert!(search.is_finished());
}

#[test]
fn a_second_result_is_ignored_and_said_to_be() {
    let mut search = search(6, 1);
    assert_eq!(search.record(0, succeeded(0.5)), Ok(Recorded::New));
    assert_eq!(search.record(0, succeeded(0.9)), Ok(Recorded::Duplicate));
    assert_eq!(numbers(&mut search), [1]);
    assert_eq!(search.record(0, succeeded(0.9)), Ok(Recorded::Duplicate));
    assert_eq!(search.best().unwrap().objective, 0.5);
    assert_eq!(search.counts().recorded, 1);
}

#[test]
fn a_result_beyond_the_budget_is_an_error() {
    let error = search(6, 1).record(6, succeeded(0.5)).unwrap_err();
    assert_eq!(error, UnknownTrial { number: 6, max_trials: 6 });
    assert_eq!(error.to_string(), "trial 6: expected a number below max_trials, 6");
}

#[test]
fn a_lag_beyond_the_budget_holds_nothing_back() {
    assert_eq!(numbers(&mut search(4, u64::MAX)), [0, 1, 2, 3]);
}

#[test]
fn every_ending_is_counted_and_only_success_can_be_best() {
    let mut search = search(10, 10);
    let endings = [Status::Failed, Status::Skipped, Status::Cancelled, Status::Pruned, Status::Succeeded];
    for (number, status) in (0..).zip(endings) {
        let evaluation = Evaluation { status, objective: Some(9.0 - number as f64), parameters: x(0.0) };
        assert_eq!(search.record(number, evaluation), Ok(Recorded::New));
    }
    assert_eq!(search.record(5, succeeded(f64::NAN)), Ok(Recorded::New));
    let counts = search.counts();
    assert_eq!((counts.recorded, counts.succeeded, counts.failed), (6, 2, 1));
    assert_eq!((counts.skipped, counts.cancelled, counts.pruned), (1, 1, 1));
    let best = search.best().unwrap();
    assert_eq!((best.number, best.objective), (4, 5.0));
}

#[test]
fn of_equally_good_trials_the_first_is_best_whatever_came_in_first() {
    let mut search = search(10, 10);
    for number in [7, 2, 5] {
        assert_eq!(search.record(number, succeeded(0.5)), Ok(Recorded::New));
    }
    assert_eq!(search.best().unwrap().number, 2);
}

#[test]
fn a_trial_from_outside_the_space_counts_for_the_best_but_is_never_a_parent() {
    let outsider = |proposal: &search::Proposal| match proposal.number {
        0 => Evaluation::succeeded(100.0, x(7.0)),
        _ => Evaluation::succeeded(0.5, proposal.candidate.parameters.clone()),
    };
    let plan = plan(Direction::Maximize, 40, 1);
    let outcome = run(&plan, &CALM, outsider);
    assert_eq!(outcome.search.best().unwrap().parameters, x(7.0));
    let mut parents = outcome.proposals.values().flat_map(|proposal| &proposal.candidate.parents);
    assert!(parents.all(|parent| *parent != 0));
}

#[test]
fn proposals_carry_the_seed_of_their_trial() {
    let mut search = search(5, 5);
    while let Some(proposal) = search.propose() {
        assert_eq!(proposal.seed, trial_seed(1, proposal.number));
    }
}

#[test]
fn no_candidate_is_proposed_twice_while_the_space_holds_others() {
    let space = json!({"x": {"low": 1, "high": 60}});
    let mut plan = plan(Direction::Maximize, 40, 1);
    plan.space = SearchSpace::parse(&space, "noop").unwrap();
    let outcome = run(&plan, &CALM, |proposal| {
        let parameters = proposal.candidate.parameters.clone();
        Evaluation::succeeded(parameters["x"].as_f64().unwrap(), parameters)
    });
    let ids: std::collections::BTreeSet<&str> =
        outcome.proposals.values().map(|proposal| proposal.candidate.id.as_str()).collect();
    assert_eq!(ids.len(), 40);
}

#[test]
fn history_sums_up_each_generation() {
    let mut search = search(12, 12);
    for (number, objective) in (0..).zip([1.0, 2.0, 3.0, 2.0, 1.0]) {
        assert_eq!(search.record(number, succeeded(objective)), Ok(Recorded::New));
    }
    let failed = Evaluation::without_objective(Status::Failed, x(0.0));
    assert_eq!(search.record(9, failed), Ok(Recorded::New));
    let history = serde_json::to_value(search.history()).unwrap();
    assert_eq!(
        history,
        json!([
            {"generation": 0, "best": 3.0, "mean": 2.0, "std": 0.5f64.sqrt(), "size": 4},
            {"generation": 1, "best": 3.0, "mean": 1.0, "std": 0.0, "size": 1},
            {"generation": 2, "best": 3.0, "mean": null, "std": null, "size": 0},
        ])
    );
}

#[test]
fn history_is_empty_before_the_first_result() {
    assert_eq!(search(5, 1).history(), []);
}

proptest! {
    #[test]
    fn the_best_so_far_never_falls(
        maximize: bool,
        results in prop::collection::vec((0u64..50, prop::num::f64::ANY), 1..80),
    ) {
        let direction = if maximize { Direction::Maximize } else { Direction::Minimize };
        let mut search = Search::new(plan(direction, 50, 50)).unwrap();
        let mut before: Option<f64> = None;
        for (number, objective) in results {
            let evaluation = Evaluation { status: Status::Succeeded, objective: Some(objective), parameters: Map::new() };
            let _ = search.record(number, evaluation).unwrap();
            let now = search.best().map(|best| best.objective);
            prop_assert!(before.is_none() || now.is_some_and(|now| !direction.is_better(before.unwrap(), now)));
            before = now;
        }
        let course: Vec<f64> = search.history().iter().filter_map(|generation| generation.best).collect();
        prop_assert!(course.windows(2).all(|pair| !direction.is_better(pair[0], pair[1])));
        prop_assert_eq!(course.last().copied(), before);
    }
}
