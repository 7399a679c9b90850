//! Pruning written down as its rules read, without a thought for cost; and everything a report can be.

use std::collections::BTreeMap;

use proptest::prelude::*;
use search::{Direction, HalvingPruner, MedianPruner, PruningSettings, Verdict};

/// Trial, step, value.
pub(crate) type Report = (u64, i64, f64);

/// The rule read off the reports, in the order in which they came.
pub(crate) fn oracle(
    settings: &PruningSettings,
    direction: Direction,
    lag: u64,
    reports: &[Report],
    (trial, step): (u64, i64),
) -> Verdict {
    let mut first: BTreeMap<u64, BTreeMap<i64, f64>> = BTreeMap::new();
    for (trial, step, value) in reports {
        first.entry(*trial).or_default().entry(*step).or_insert(*value);
    }
    let Some(own) = first.get(&trial).filter(|own| own.contains_key(&step)) else { return Verdict::GoOn };
    let peers: Vec<&BTreeMap<i64, f64>> =
        first.iter().filter(|(peer, _)| **peer + lag <= trial).map(|(_, reports)| reports).collect();
    let is_pruned = match settings {
        PruningSettings::None => false,
        PruningSettings::Median(pruner) => is_below_median(pruner, direction, own, &peers, step),
        PruningSettings::Halving(pruner) => is_halved(pruner, direction, own, &peers, step),
    };
    if is_pruned { Verdict::Prune } else { Verdict::GoOn }
}

fn is_below_median(
    pruner: &MedianPruner,
    direction: Direction,
    own: &BTreeMap<i64, f64>,
    peers: &[&BTreeMap<i64, f64>],
    step: i64,
) -> bool {
    let (warmup, interval) = (i64::from(pruner.warmup_steps), i64::from(pruner.interval_steps));
    let Some(check) = (warmup..=step).rev().find(|candidate| (candidate - warmup) % interval == 0) else {
        return false;
    };
    if own.range(check..step).next().is_some() {
        return false;
    }
    let best = |reports: &BTreeMap<i64, f64>| {
        let mut values: Vec<f64> = reports.range(..=step).map(|(_, value)| *value).collect();
        sort(direction, &mut values);
        values.last().copied()
    };
    let mut bests: Vec<f64> = peers.iter().filter_map(|peer| best(peer)).collect();
    if bests.is_empty() || bests.len() < pruner.startup_trials as usize {
        return false;
    }
    sort(direction, &mut bests);
    let (low, high) = (bests[(bests.len() - 1) / 2], bests[bests.len() / 2]);
    let median = if low.is_finite() && high.is_finite() { low / 2.0 + high / 2.0 } else { low };
    worth(direction, best(own).unwrap()) < worth(direction, median)
}

fn is_halved(
    pruner: &HalvingPruner,
    direction: Direction,
    own: &BTreeMap<i64, f64>,
    peers: &[&BTreeMap<i64, f64>],
    step: i64,
) -> bool {
    let factor = i64::from(pruner.reduction_factor);
    let mut rung = i64::from(pruner.min_resource) * factor.pow(pruner.min_early_stopping_rate);
    while rung <= step {
        let (reached, value) = own.range(rung..).next().unwrap();
        if *reached == step {
            let mut values: Vec<f64> =
                peers.iter().filter_map(|peer| peer.range(rung..).next()).map(|(_, value)| *value).collect();
            values.push(*value);
            sort(direction, &mut values);
            values.reverse();
            let last = (values.len() / factor as usize).max(1) - 1;
            if worth(direction, *value) < worth(direction, values[last]) {
                return true;
            }
        }
        rung *= factor;
    }
    false
}

fn sort(direction: Direction, values: &mut [f64]) {
    values.sort_by(|a, b| worth(direction, *a).partial_cmp(&worth(direction, *b)).unwrap());
}

/// NaN first, then by value; the pair is never NaN itself.
fn worth(direction: Direction, value: f64) -> (bool, f64) {
    let fitness = if direction == Direction::Maximize { value } else { -value };
    if value.is_nan() { (false, 0.0) } else { (true, fitness) }
}

pub(crate) fn directions() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Maximize), Just(Direction::Minimize)]
}

pub(crate) fn pruners() -> impl Strategy<Value = PruningSettings> {
    let median = (0..6_u32, 0..5_u32, 1..5_u32).prop_map(|(startup_trials, warmup_steps, interval_steps)| {
        PruningSettings::Median(MedianPruner { startup_trials, warmup_steps, interval_steps })
    });
    let halving = (1..4_u32, 2..5_u32, 0..3_u32).prop_map(
        |(min_resource, reduction_factor, min_early_stopping_rate)| {
            PruningSettings::Halving(HalvingPruner {
                min_resource,
                reduction_factor,
                min_early_stopping_rate,
            })
        },
    );
    prop_oneof![median, halving]
}

/// Few values, so that there are ties, and all that are no numbers.
pub(crate) fn values() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => (-3..4_i8).prop_map(f64::from),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
    ]
}

/// Of few trials at few steps, in any order, some twice.
pub(crate) fn reports() -> impl Strategy<Value = Vec<Report>> {
    prop::collection::vec((0..12_u64, -1..15_i64, values()), 0..120)
}
