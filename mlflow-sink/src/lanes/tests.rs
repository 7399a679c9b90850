use proptest::prelude::*;

use super::*;

fn run(name: &str) -> RunId {
    RunId::parse(name).unwrap()
}

#[test]
fn a_run_has_one_batch_at_a_time_and_its_events_stay_in_order() {
    let (mut lanes, now) = (Lanes::default(), Instant::now());
    let count = MAX_BATCH + 5;
    for event in 0..count {
        lanes.push(&run("a"), event).unwrap();
    }
    let (_, first) = lanes.take(now).unwrap();
    assert_eq!(first, (0..MAX_BATCH).collect::<Vec<_>>());
    assert!(lanes.take(now).is_none(), "the lane is busy");
    lanes.settle(&run("a"));
    assert_eq!(lanes.take(now).unwrap().1, (MAX_BATCH..count).collect::<Vec<_>>());
    lanes.settle(&run("a"));
    assert_eq!(lanes.held(), 0);
}

#[test]
fn runs_take_turns() {
    let (mut lanes, now) = (Lanes::default(), Instant::now());
    for event in 0..MAX_BATCH * 2 {
        lanes.push(&run("a"), event).unwrap();
    }
    lanes.push(&run("b"), 0).unwrap();
    assert_eq!(lanes.take(now).unwrap().0, run("a"));
    lanes.settle(&run("a"));
    assert_eq!(lanes.take(now).unwrap().0, run("b"));
}

#[test]
fn a_batch_that_could_not_be_written_comes_first_again_after_growing_pauses() {
    let (mut lanes, mut now) = (Lanes::default(), Instant::now());
    lanes.push(&run("a"), 1).unwrap();
    lanes.push(&run("a"), 2).unwrap();
    let mut last = Duration::ZERO;
    for _ in 0..4 {
        let (name, events) = lanes.take(now).unwrap();
        assert_eq!(events, [1, 2]);
        assert!(lanes.put_back(&name, events, now, 1.0).is_empty());
        assert!(lanes.take(now).is_none(), "paused");
        let due = lanes.next_deadline().unwrap();
        assert!(due - now > last);
        last = due - now;
        now = due;
    }
    assert_eq!(lanes.held(), 2);
}

#[test]
fn a_run_that_is_written_may_take_all_the_room() {
    let mut lanes = Lanes::default();
    for event in 0..MAX_HELD {
        assert!(lanes.has_room());
        lanes.push(&run("a"), event).unwrap();
    }
    assert!(!lanes.has_room());
}

#[test]
fn one_run_that_cannot_be_written_leaves_room_for_the_others() {
    let (mut lanes, mut now) = (Lanes::default(), Instant::now());
    for event in 0..MAX_HELD {
        lanes.push(&run("a"), event).unwrap();
    }
    let mut given_back: Vec<usize> = Vec::new();
    for _ in 0..STUCK_AFTER {
        assert!(given_back.is_empty(), "it may be an outage for all");
        let (name, events) = lanes.take(now).unwrap();
        given_back = lanes.put_back(&name, events, now, 1.0);
        now += MAX_PAUSE;
    }
    assert_eq!(given_back, (MAX_STUCK..MAX_HELD).collect::<Vec<_>>());
    assert_eq!(lanes.push(&run("a"), 7), Err(7));
    assert!(lanes.has_room());
    lanes.push(&run("b"), 8).unwrap();
}

#[test]
fn pauses_are_bounded_whatever_happens() {
    assert!(pause(u32::MAX, 1.0) <= MAX_PAUSE);
    assert!(pause(0, 0.0) > Duration::ZERO);
    assert!(pause(3, f64::NAN.max(0.0)) <= MAX_PAUSE);
}

proptest! {
    #[test]
    fn nothing_is_lost_or_written_out_of_order(steps in prop::collection::vec((0_u8..4, 0_u8..3), 0..300)) {
        let (mut lanes, mut now) = (Lanes::default(), Instant::now());
        let mut pushed: BTreeMap<RunId, Vec<usize>> = BTreeMap::new();
        let mut written: BTreeMap<RunId, Vec<usize>> = BTreeMap::new();
        let mut running: Vec<(RunId, Vec<usize>)> = Vec::new();
        for (index, (action, who)) in steps.into_iter().enumerate() {
            match action {
                0 | 1 => {
                    let name = run(&format!("r{who}"));
                    if lanes.push(&name, index).is_ok() {
                        pushed.entry(name).or_default().push(index);
                    }
                }
                2 => running.extend(lanes.take(now)),
                _ if running.is_empty() => {}
                _ => {
                    let (name, events) = running.remove(0);
                    if who == 0 {
                        prop_assert_eq!(lanes.put_back(&name, events, now, 0.5), Vec::<usize>::new());
                        now += MAX_PAUSE;
                    } else {
                        written.entry(name.clone()).or_default().extend(events);
                        lanes.settle(&name);
                    }
                }
            }
        }
        for (name, events) in running {
            written.entry(name.clone()).or_default().extend(events);
            lanes.settle(&name);
        }
        while let Some((name, events)) = lanes.take(now + MAX_PAUSE) {
            written.entry(name.clone()).or_default().extend(events);
            lanes.settle(&name);
        }
        prop_assert_eq!(lanes.held(), 0);
        prop_assert_eq!(pushed, written);
    }
}
