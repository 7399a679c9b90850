use proptest::prelude::*;

use super::*;

fn at(number: u32, objective: Option<f64>) -> Finished {
    let outcome = if objective.is_some() { Outcome::Finished } else { Outcome::Failed };
    Finished { objective, outcome, attempt: 1, at: i64::from(number) * 10 }
}

#[test]
fn the_best_never_falls_and_a_failed_trial_counts_as_finished() {
    let mut curve = Curve::default();
    let mut points = Vec::new();
    for (number, objective) in [(0, None), (1, Some(0.5)), (2, Some(0.4)), (3, None), (4, Some(0.6))] {
        points.extend(curve.feed(number, at(number, objective), Some(Direction::Maximize)));
    }
    let drawn: Vec<_> = points.iter().map(|point| (point.step, point.value, point.at)).collect();
    let best = |step: i64, value| (step, value, (step - 1) * 10);
    assert_eq!(
        drawn,
        [best(1, None), best(2, Some(0.5)), best(3, Some(0.5)), best(4, Some(0.5)), best(5, Some(0.6))]
    );
    assert_eq!(points[4].counts, Counts { finished: 3, failed: 2, pruned: 0 });
}

#[test]
fn a_loss_is_better_when_it_is_smaller() {
    let mut curve = Curve::default();
    curve.feed(0, at(0, Some(2.0)), Some(Direction::Minimize));
    assert_eq!(curve.feed(1, at(1, Some(1.0)), Some(Direction::Minimize))[0].value, Some(1.0));
}

#[test]
fn a_trial_that_never_comes_holds_the_curve_up_only_so_long() {
    let mut curve = Curve::default();
    let count = u32::try_from(MAX_WAITING).unwrap() + 1;
    let points: usize = (1..=count)
        .map(|number| curve.feed(number, at(number, Some(1.0)), Some(Direction::Maximize)).len())
        .sum();
    assert_eq!(points, MAX_WAITING + 1);
    let late = curve.feed(0, at(0, Some(9.0)), Some(Direction::Maximize));
    let last = i64::from(count) + 1;
    let counts = Counts { finished: count + 1, ..Counts::default() };
    assert_eq!(late, [Best { step: last, value: Some(9.0), counts, at: 10 * (last - 1), is_again: true }]);
    assert_eq!(curve.feed(0, at(0, Some(9.0)), Some(Direction::Maximize)), [], "it is known");
    assert_eq!(curve.feed(count + 1, at(count + 1, None), Some(Direction::Maximize))[0].value, Some(9.0));
}

#[test]
fn a_trial_that_is_trained_again_is_counted_as_it_ended_last() {
    let mut curve = Curve::default();
    let feed = |curve: &mut Curve, outcome, attempt| {
        let objective = (outcome == Outcome::Finished).then_some(0.5);
        let finished = Finished { objective, outcome, attempt, at: 7 };
        curve.feed(0, finished, Some(Direction::Maximize)).pop().map(|best| (best.counts, best.value))
    };
    let counts = |finished, failed, pruned| Counts { finished, failed, pruned };
    assert_eq!(feed(&mut curve, Outcome::Failed, 1), Some((counts(0, 1, 0), None)));
    assert_eq!(feed(&mut curve, Outcome::Pruned, 2), Some((counts(0, 0, 1), None)));
    assert_eq!(feed(&mut curve, Outcome::Failed, 1), None, "that was before");
    assert_eq!(feed(&mut curve, Outcome::Finished, 3), Some((counts(1, 0, 0), Some(0.5))));
    assert_eq!(feed(&mut curve, Outcome::Failed, 9), None, "a result stays one");
}

proptest! {
    #[test]
    fn order_and_redelivery_do_not_change_the_curve(
        objectives in prop::collection::vec(prop::option::of(-1.0..1.0_f64), 1..20),
        again in prop::collection::vec(0_usize..20, 0..20),
        seed in any::<u64>(),
    ) {
        let trial = |number: usize| (u32::try_from(number).unwrap(), objectives[number]);
        let mut order: Vec<usize> = (0..objectives.len()).collect();
        order.extend(again.iter().map(|index| index % objectives.len()));
        order.sort_by_key(|index| (*index as u64 + 1).wrapping_mul(seed | 1).rotate_left(17));
        let draw = |order: &mut dyn Iterator<Item = usize>| {
            let mut curve = Curve::default();
            let mut points = Vec::new();
            for (number, objective) in order.map(trial) {
                points.extend(curve.feed(number, at(number, objective), Some(Direction::Maximize)));
            }
            points.extend(curve.finish(Some(Direction::Maximize)));
            points
        };
        prop_assert_eq!(draw(&mut order.into_iter()), draw(&mut (0..objectives.len())));
    }
}
