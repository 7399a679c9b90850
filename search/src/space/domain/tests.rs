use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::*;

fn domains() -> impl Strategy<Value = Domain> {
    let choices = prop::collection::btree_set(-50i64..50, 1..8)
        .prop_map(|set| Domain::Choices(set.into_iter().map(Value::from).collect()));
    let integers = (-1_000_000i64..1_000_000, 0i64..1_000_000, 1i64..1_000)
        .prop_map(|(low, span, step)| Domain::Integers { low, high: low + span, step, log: false });
    let log_integers = (1i64..1_000, 0i64..1_000_000, 1i64..50)
        .prop_map(|(low, span, step)| Domain::Integers { low, high: low + span, step, log: true });
    let reals = (-1e9..1e9, 0.0..1e9, prop::option::of(1e-6..10.0))
        .prop_map(|(low, span, step)| Domain::Reals { low, high: low + span, step, log: false });
    let narrow = (-1e6..1e6, 0.0..1e-6).prop_map(|(low, span)| Domain::Reals {
        low,
        high: low + span,
        step: None,
        log: false,
    });
    let log_reals =
        (-300f64..300.0, 0f64..5.0, prop::option::of(0.01..0.5)).prop_map(|(exponent, span, step)| {
            let low = 10f64.powf(exponent);
            Domain::Reals { low, high: low * 10f64.powf(span), step: step.map(|step| step * low), log: true }
        });
    prop_oneof![choices, integers, log_integers, reals, narrow, log_reals]
}

proptest! {
    #[test]
    fn whatever_is_drawn_or_mutated_lies_inside(domain in domains(), seed: u64) {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let mut value = domain.random(rng);
        for _ in 0..20 {
            prop_assert!(domain.contains(&value), "{value} drawn from {domain:?}");
            value = domain.mutate(&value, rng);
        }
    }

    #[test]
    fn a_fixed_domain_stays_at_its_value_and_any_other_moves(domain in domains(), seed: u64) {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let value = domain.random(rng);
        let moved = (0..20).any(|_| domain.mutate(&value, rng) != value);
        // A range too narrow to hold two doubles of its precision may look fixed without being called so.
        prop_assert!(!(moved && domain.is_fixed()));
        if matches!(domain, Domain::Choices(_) | Domain::Integers { .. }) {
            prop_assert_eq!(moved, !domain.is_fixed());
        }
    }

    #[test]
    fn what_is_drawn_survives_json(domain in domains(), seed: u64) {
        let value = domain.random(&mut ChaCha8Rng::seed_from_u64(seed));
        prop_assert_eq!(&serde_json::from_str::<Value>(&value.to_string()).unwrap(), &value);
    }
}

fn draw(domain: &Domain, times: usize) -> Vec<f64> {
    let rng = &mut ChaCha8Rng::seed_from_u64(7);
    (0..times).map(|_| domain.random(rng).as_f64().unwrap()).collect()
}

#[test]
fn a_stepped_range_reads_as_one_would_write_it() {
    let domain = Domain::Reals { low: 0.0, high: 1.0, step: Some(0.1), log: false };
    let mut values = draw(&domain, 1_000);
    values.sort_by(f64::total_cmp);
    values.dedup();
    assert_eq!(values, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]);
}

#[test]
fn a_range_whose_last_step_falls_short_stops_below_its_upper_bound() {
    let domain = Domain::Integers { low: 1, high: 10, step: 4, log: false };
    assert!([1, 5, 9].iter().all(|n| domain.contains(&json!(n))));
    assert!([0, 2, 10, 13].iter().all(|n| !domain.contains(&json!(n))));
    assert!(draw(&domain, 300).contains(&9.0));
}

#[test]
fn a_logarithmic_range_gives_every_order_of_magnitude_its_share() {
    for domain in [
        Domain::Reals { low: 1e-4, high: 1e-1, step: None, log: true },
        Domain::Integers { low: 1, high: 999, step: 1, log: true },
    ] {
        let values = draw(&domain, 3_000);
        let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
        for decade in 0..3 {
            let from = lowest * 10f64.powi(decade);
            let share = values.iter().filter(|x| (from..from * 10.0).contains(*x)).count();
            assert!((900..1_100).contains(&share), "decade {decade} of {domain:?} got {share} of 3000");
        }
    }
}

#[test]
fn every_whole_number_of_a_range_is_drawn_alike() {
    let values = draw(&Domain::Integers { low: 3, high: 6, step: 1, log: false }, 4_000);
    for n in 3..=6 {
        let share = values.iter().filter(|x| **x == f64::from(n)).count();
        assert!((900..1_100).contains(&share), "{n} was drawn {share} times of 4000");
    }
}

#[test]
fn drawn_reals_are_readable() {
    let values = draw(&Domain::Reals { low: 1e-4, high: 1e-1, step: None, log: true }, 100);
    assert!(values.iter().all(|x| x.to_string().trim_start_matches(['0', '.']).len() <= DIGITS));
}
