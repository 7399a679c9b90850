//! Pruning, case by case.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use search::{Direction, HalvingPruner, MAX_PEERS, MedianPruner, Pruning, PruningSettings, Verdict};

use super::oracle::Report;
use super::told;

const MAXIMIZE: Direction = Direction::Maximize;

fn median(startup_trials: u32, warmup_steps: u32, interval_steps: u32) -> PruningSettings {
    PruningSettings::Median(MedianPruner { startup_trials, warmup_steps, interval_steps })
}

fn halving(min_resource: u32, reduction_factor: u32) -> PruningSettings {
    let min_early_stopping_rate = 0;
    PruningSettings::Halving(HalvingPruner { min_resource, reduction_factor, min_early_stopping_rate })
}

#[test]
fn without_a_pruner_nothing_is_pruned_and_nothing_kept() {
    let pruning = told(&PruningSettings::None, MAXIMIZE, 1, &[(0, 1, 1.0), (1, 1, f64::NAN)]);
    assert!(!pruning.is_active() && !PruningSettings::None.is_active());
    assert_eq!(pruning.verdict(1, 1), Verdict::GoOn);
    assert!(Pruning::new(&median(0, 0, 1), MAXIMIZE, 1).is_active());
}

#[test]
fn a_trial_is_measured_by_its_best_and_against_the_best_of_its_peers() {
    let peers = [(0, 1, 0.5), (0, 2, 0.1), (1, 1, 0.6), (2, 1, 0.2), (2, 2, 0.7)];
    let with =
        |own: &[Report], step| told(&median(3, 0, 1), MAXIMIZE, 1, &[&peers, own].concat()).verdict(3, step);
    assert_eq!(with(&[(3, 1, 0.5)], 1), Verdict::GoOn, "as good as the median");
    assert_eq!(with(&[(3, 1, 0.49)], 1), Verdict::Prune);
    assert_eq!(with(&[(3, 1, 0.6), (3, 2, 0.0)], 2), Verdict::GoOn, "its best counts");
    assert_eq!(with(&[(3, 2, 0.55)], 2), Verdict::Prune, "the median is 0.6 by now");
    assert_eq!(with(&[(3, 7, f64::NAN)], 7), Verdict::Prune);
    assert_eq!(with(&[(3, 0, 0.0)], 0), Verdict::GoOn, "no peer had reported by then");
}

#[test]
fn a_check_on_a_step_without_report_is_made_up_for_once() {
    let bad: Vec<Report> = [3, 6, 8, 9, 13].map(|step| (1, step, 0.0)).into();
    let pruning = told(&median(1, 5, 4), MAXIMIZE, 1, &[&[(0, 0, 1.0)], bad.as_slice()].concat());
    let pruned: Vec<i64> = (0..20).filter(|step| pruning.verdict(1, *step) == Verdict::Prune).collect();
    assert_eq!(pruned, [6, 9, 13], "3 is before the warm-up, 6 stands for 5, and 8 comes after it");
}

#[test]
fn the_median_is_that_of_the_youngest_peers() {
    let old = u64::from(MAX_PEERS);
    let mut reports: Vec<Report> = (0..old).map(|trial| (trial, 1, 0.9)).collect();
    reports.extend((old..2 * old).map(|trial| (trial, 1, 0.1)));
    reports.push((2 * old, 1, 0.2));
    let pruning = told(&median(5, 0, 1), MAXIMIZE, 1, &reports);
    assert_eq!(pruning.verdict(2 * old, 1), Verdict::GoOn, "better than each of the youngest");
    let earlier = told(&median(5, 0, 1), MAXIMIZE, 1, &reports[..usize::try_from(old).unwrap() + 6]);
    assert_eq!(earlier.verdict(old + 5, 1), Verdict::Prune, "most of its peers are the old ones");
}

#[test]
fn the_trial_that_is_furthest_behind_still_has_all_its_peers() {
    let (lag, youngest) = (8, u64::from(MAX_PEERS) + 100);
    let slowest = youngest + 1 - lag;
    let mut pruning = Pruning::new(&median(MAX_PEERS, 0, 1), MAXIMIZE, lag);
    (0..=youngest).for_each(|trial| pruning.record(trial, 1, if trial == slowest { 0.0 } else { 1.0 }));
    assert_eq!(pruning.verdict(slowest, 1), Verdict::Prune, "so many start-up trials are there");
}

#[test]
fn at_a_rung_the_best_part_goes_on() {
    let peers: Vec<Report> = (0..5).map(|trial| (trial, 1, trial as f64)).collect();
    let with = |value| {
        told(&halving(1, 3), MAXIMIZE, 1, &[peers.as_slice(), &[(5, 1, value)]].concat()).verdict(5, 1)
    };
    assert_eq!(with(3.5), Verdict::GoOn, "second of six");
    assert_eq!(with(3.0), Verdict::GoOn, "equal to the second");
    assert_eq!(with(2.9), Verdict::Prune);
    let two = [(0, 1, 0.5), (1, 1, 0.4)];
    assert_eq!(
        told(&halving(1, 3), MAXIMIZE, 1, &two).verdict(1, 1),
        Verdict::Prune,
        "of two the best goes on"
    );
    assert_eq!(told(&halving(1, 3), Direction::Minimize, 1, &two).verdict(1, 1), Verdict::GoOn);
}

#[test]
fn a_rung_without_report_is_reached_by_the_next_and_a_report_can_reach_several() {
    let reports = [(0, 1, 0.9), (0, 3, 0.1), (1, 4, 0.5), (1, 5, 0.0)];
    let pruning = told(&halving(1, 3), MAXIMIZE, 1, &reports);
    assert_eq!(
        pruning.verdict(1, 4),
        Verdict::Prune,
        "it stands for the rungs at 1 and 3, and loses the first"
    );
    assert_eq!(pruning.verdict(1, 5), Verdict::GoOn, "between rungs nobody is judged");
}

#[test]
fn halving_lets_about_one_in_the_factor_pass_each_rung() {
    for factor in [2_u32, 3, 4] {
        let mut pruning = Pruning::new(&halving(1, factor), MAXIMIZE, 4);
        let mut rng = ChaCha8Rng::seed_from_u64(factor.into());
        let trials = 3_000_u64;
        let mut left: Vec<u64> = (0..trials).collect();
        for step in [1, i64::from(factor)] {
            let before = left.len();
            left.retain(|trial| {
                pruning.record(*trial, step, rng.random_range(0.0..1.0));
                pruning.verdict(*trial, step) == Verdict::GoOn
            });
            let share = left.len() as f64 / before as f64;
            let expected = 1.0 / f64::from(factor);
            assert!((share / expected - 1.0).abs() < 0.15, "{share} of factor {factor} at step {step}");
        }
    }
}
