//! Pruning: the same trials are pruned whatever the world does, and none without reason.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use search::{Direction, Pruning, PruningSettings, Verdict};

use self::oracle::{Report, directions, oracle, pruners, reports};
use crate::simulation::{CALM, Weather};

mod examples;
mod oracle;
mod settings;

fn told(settings: &PruningSettings, direction: Direction, lag: u64, reports: &[Report]) -> Pruning {
    let mut pruning = Pruning::new(settings, direction, lag);
    reports.iter().for_each(|(trial, step, value)| pruning.record(*trial, *step, *value));
    pruning
}

fn verdicts(pruning: &Pruning) -> BTreeMap<(u64, i64), bool> {
    let places = (0..12).flat_map(|trial| (-1..15).map(move |step| (trial, step)));
    places.map(|(trial, step)| ((trial, step), pruning.verdict(trial, step) == Verdict::Prune)).collect()
}

proptest! {
    #[test]
    fn every_verdict_is_what_the_rule_says(
        settings in pruners(), direction in directions(), lag in 1..5_u64, reports in reports()
    ) {
        let pruning = told(&settings, direction, lag, &reports);
        for (place, is_pruned) in verdicts(&pruning) {
            let expected = oracle(&settings, direction, lag, &reports, place) == Verdict::Prune;
            prop_assert_eq!(is_pruned, expected, "trial and step {:?}", place);
        }
    }

    #[test]
    fn the_order_of_recording_makes_no_difference(
        settings in pruners(), direction in directions(), lag in 1..5_u64, reports in reports(), order: u64
    ) {
        // Which of two values of the same step counts is all that order decides.
        let mut seen = BTreeSet::new();
        let mut once: Vec<Report> = reports;
        once.retain(|(trial, step, _)| seen.insert((*trial, *step)));
        let recorded = verdicts(&told(&settings, direction, lag, &once));
        once.shuffle(&mut ChaCha8Rng::seed_from_u64(order));
        prop_assert_eq!(recorded, verdicts(&told(&settings, direction, lag, &once)));
    }

    #[test]
    fn a_verdict_knows_the_visible_peers_and_the_trial_up_to_the_step_alone(
        settings in pruners(), direction in directions(), lag in 1..5_u64, reports in reports(),
        trial in 0..12_u64, step in 0..15_i64
    ) {
        let is_known = |(other, at, _): &Report| other + lag <= trial || (*other == trial && *at <= step);
        let known: Vec<Report> = reports.iter().copied().filter(is_known).collect();
        let all = told(&settings, direction, lag, &reports);
        let some = told(&settings, direction, lag, &known);
        prop_assert_eq!(all.verdict(trial, step), some.verdict(trial, step));
    }

    #[test]
    fn who_has_no_peers_is_never_pruned(
        settings in pruners(), direction in directions(), lag in 1..5_u64, reports in reports()
    ) {
        let is_first = |trial: u64| match &settings {
            PruningSettings::Median(pruner) => trial + 1 < lag + u64::from(pruner.startup_trials.max(1)),
            PruningSettings::None | PruningSettings::Halving(_) => trial < lag,
        };
        for ((trial, _), is_pruned) in verdicts(&told(&settings, direction, lag, &reports)) {
            prop_assert!(!(is_first(trial) && is_pruned), "trial {}", trial);
        }
    }

    #[test]
    fn who_finishes_first_slots_and_crashes_make_no_difference(
        settings in pruners(), direction in directions(), lag in 1..6_u64,
        (slots, order, crash_after) in (1..6_usize, any::<u64>(), prop::option::of(1..200_usize))
    ) {
        let calm = run(&settings, direction, lag, &CALM);
        let weather = Weather { slots: slots.min(usize::try_from(lag).unwrap()), order, crash_after };
        prop_assert_eq!(calm, run(&settings, direction, lag, &weather));
    }

    #[test]
    fn no_step_trial_lag_or_value_makes_it_panic(
        settings in pruners(), lag: u64, reports: Vec<(u64, i64, f64)>
    ) {
        let edges = [(0, i64::MIN, f64::MAX), (u64::MAX, i64::MAX, f64::NAN), (search::MAX_TRIALS - 1, i64::MAX, 0.0)];
        let reports: Vec<Report> = reports.into_iter().chain(edges).collect();
        let pruning = told(&settings, Direction::Maximize, lag, &reports);
        for (trial, step, _) in reports {
            let _ = pruning.verdict(trial, step);
        }
    }
}

/// Where each trial of a run is pruned. Every trial reports ten values that are always the same.
fn run(settings: &PruningSettings, direction: Direction, lag: u64, weather: &Weather) -> BTreeMap<u64, i64> {
    const TRIALS: u64 = 30;
    const STEPS: i64 = 10;
    let rng = &mut ChaCha8Rng::seed_from_u64(weather.order);
    let mut pruning = Pruning::new(settings, direction, lag);
    let mut stream: Vec<Report> = Vec::new();
    let (mut over, mut pruned, mut in_flight) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
    let mut crash_after = weather.crash_after;
    loop {
        let mut next = (0..TRIALS).filter(|trial| !over.contains(trial));
        while in_flight.len() < weather.slots
            && let Some(trial) = next.next()
            && (0..TRIALS).take_while(|peer| peer + lag <= trial).all(|peer| over.contains(&peer))
        {
            if in_flight.iter().all(|(flying, _)| *flying != trial) {
                in_flight.push((trial, 0));
            }
        }
        if in_flight.is_empty() {
            return pruned;
        }
        let place = rng.random_range(0..in_flight.len());
        let (trial, step) = in_flight[place];
        stream.push((trial, step, value_of(trial, step)));
        pruning.record(trial, step, value_of(trial, step));
        in_flight[place].1 += 1;
        let verdict = pruning.verdict(trial, step);
        if crash_after.take_if(|after| *after <= stream.len()).is_some() {
            // Nobody has heard the verdict. The stream, read from behind, is as good as any other order.
            in_flight.clear();
            stream.reverse();
            pruning = told(settings, direction, lag, &stream);
        } else if verdict == Verdict::Prune || step + 1 == STEPS {
            in_flight.swap_remove(place);
            over.insert(trial);
            if verdict == Verdict::Prune {
                pruned.insert(trial, step);
            }
        }
    }
}

/// A noise around a level of the trial.
fn value_of(trial: u64, step: i64) -> f64 {
    let noise = |seed: u64| (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let own = noise(trial * 64 + step.unsigned_abs()) % 100;
    if noise(trial * 31) % 20 == 0 { f64::NAN } else { (noise(trial) % 100 + own) as f64 }
}

#[test]
fn the_simulated_runs_prune_some_and_not_all() {
    for settings in
        [PruningSettings::Median(Default::default()), PruningSettings::Halving(Default::default())]
    {
        let pruned = run(&settings, Direction::Maximize, 4, &CALM).len();
        assert!((5..28).contains(&pruned), "{settings:?} pruned {pruned} of 30");
    }
}
