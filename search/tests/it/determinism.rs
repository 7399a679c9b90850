//! Candidates are a function of the plan and the results; nothing else shows in them.

use proptest::prelude::*;
use search::{Direction, Plan, PruningSettings, STRATEGIES, SearchSpace, Settings};
use serde_json::json;

use crate::simulation::{CALM, Outcome, Weather, erratic, run};
use crate::spaces::spaces;

fn plans() -> impl Strategy<Value = Plan> {
    let settings = (any::<u64>(), any::<bool>(), 1u32..6, 0.0..=1.0, 0.0..=1.0, 0.05..5.0).prop_map(
        |(seed, maximize, population_size, mutation_rate, crossover_rate, tau)| Settings {
            seed,
            direction: if maximize { Direction::Maximize } else { Direction::Minimize },
            population_size,
            mutation_rate,
            crossover_rate,
            elite_size: population_size / 2,
            tau,
            pruning: PruningSettings::None,
        },
    );
    (spaces(), settings, prop::sample::select(STRATEGIES), 1u64..40, 1u64..6).prop_map(
        |(space, settings, strategy, max_trials, lag)| Plan {
            space: SearchSpace::parse(&space, "mlp").unwrap_or_else(|error| panic!("{error} in {space}")),
            strategy: (*strategy).to_owned(),
            settings,
            max_trials,
            lag,
        },
    )
}

fn weather(plan: &Plan) -> impl Strategy<Value = Weather> + use<> {
    let lag = usize::try_from(plan.lag).unwrap();
    let trials = usize::try_from(plan.max_trials).unwrap();
    (1..=lag, any::<u64>(), prop::option::of(1..=trials)).prop_map(|(slots, order, crash_after)| Weather {
        slots,
        order,
        crash_after,
    })
}

fn assert_same(one: &Outcome, other: &Outcome) -> Result<(), TestCaseError> {
    prop_assert_eq!(&one.proposals, &other.proposals);
    prop_assert_eq!(one.search.best(), other.search.best());
    prop_assert_eq!(one.search.history(), other.search.history());
    prop_assert_eq!(one.search.counts(), other.search.counts());
    Ok(())
}

proptest! {
    #[test]
    fn order_of_completion_slots_and_crashes_make_no_difference(
        (plan, weather) in plans().prop_flat_map(|plan| { let weather = weather(&plan); (Just(plan), weather) })
    ) {
        let calm = run(&plan, &CALM, erratic);
        let stormy = run(&plan, &weather, erratic);
        assert_same(&calm, &stormy)?;
    }

    #[test]
    fn exactly_max_trials_are_proposed_and_all_lie_inside_the_space(plan in plans()) {
        let outcome = run(&plan, &CALM, erratic);
        let numbers: Vec<u64> = outcome.proposals.keys().copied().collect();
        prop_assert_eq!(numbers, (0..plan.max_trials).collect::<Vec<_>>());
        prop_assert!(outcome.search.is_exhausted() && outcome.search.is_finished());
        for proposal in outcome.proposals.values() {
            prop_assert!(plan.space.contains(&proposal.candidate.parameters), "{proposal:?}");
            prop_assert_eq!(&proposal.candidate.id, &search::candidate_id(&proposal.candidate.parameters));
            let visible = (proposal.number + 1).saturating_sub(plan.lag);
            prop_assert!(proposal.candidate.parents.iter().all(|parent| *parent < visible));
        }
    }

    #[test]
    fn a_parent_is_always_a_succeeded_trial(plan in plans()) {
        let outcome = run(&plan, &CALM, erratic);
        for parent in outcome.proposals.values().flat_map(|proposal| &proposal.candidate.parents) {
            let evaluation = erratic(&outcome.proposals[parent]);
            prop_assert!(evaluation.usable_objective().is_some(), "trial {parent} was a parent: {evaluation:?}");
        }
    }
}

/// Pins the meaning of a seed: a change here is a change of every search that names its seed.
#[test]
fn the_same_seed_gives_the_same_candidates_in_every_build() {
    let space = json!({"layers": [32, 64], "activation": ["relu", "tanh"], "learning_rate": {"low": 1e-4, "high": 0.1, "log": true}});
    let settings = Settings { population_size: 3, ..Settings::new(42, Direction::Maximize) };
    let plan = Plan {
        space: SearchSpace::parse(&space, "mlp").unwrap(),
        strategy: "ga".to_owned(),
        settings,
        max_trials: 8,
        lag: 2,
    };
    let outcome = run(&plan, &CALM, erratic);
    let ids: Vec<&str> = outcome.proposals.values().map(|proposal| proposal.candidate.id.as_str()).collect();
    let pinned = [
        "289876237919d222",
        "e5b51e93ba486192",
        "b6bb3fe1c92fadae",
        "cf46215df6d0c5e7",
        "32297b5c34d40601",
        "8ffb41562a4b81f3",
        "f6c80299a90b79cf",
        "d9bb13dee8a931c4",
    ];
    assert_eq!(ids, pinned);
}

#[test]
fn derived_seeds_are_pinned_and_fit_their_readers() {
    assert_eq!(search::trial_seed(42, 0), 3_435_589_788);
    assert_eq!(search::seed_from_run_id("0193b5a0-0000-7000-8000-000000000000"), 8_292_804_134_103_171);
    assert!((0..1_000).all(|n| search::seed_from_run_id(&format!("run-{n}")) < 1 << 53));
}
