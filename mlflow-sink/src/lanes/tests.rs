use proptest::prelude::*;

use super::*;

impl Load for usize {
    fn bytes(&self) -> usize {
        1
    }

    fn sequence(&self) -> u64 {
        *self as u64
    }
}

/// An event that takes up half of the room for a batch, and more.
#[derive(Debug, PartialEq)]
struct Large(u64);

impl Load for Large {
    fn bytes(&self) -> usize {
        640 * 1024
    }

    fn sequence(&self) -> u64 {
        self.0
    }
}

fn run(name: &str) -> RunId {
    RunId::parse(name).unwrap()
}

#[test]
fn a_run_has_one_batch_at_a_time_and_its_events_stay_in_order() {
    let (mut lanes, now) = (Lanes::default(), Instant::now());
    let count = MAX_BATCH + 5;
    for event in 0..count {
        lanes.push(&run("a"), event, now).unwrap();
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
fn a_batch_holds_fewer_of_what_costs_more() {
    #[derive(Debug)]
    struct Costly(u64);
    impl Load for Costly {
        fn bytes(&self) -> usize {
            1
        }

        fn sequence(&self) -> u64 {
            self.0
        }

        fn weight(&self) -> usize {
            MAX_BATCH / 3
        }
    }
    let (mut lanes, now) = (Lanes::default(), Instant::now());
    for event in 0..7 {
        lanes.push(&run("a"), Costly(event), now).unwrap();
    }
    for expected in [3, 3, 1] {
        assert_eq!(lanes.take(now).unwrap().1.len(), expected);
        lanes.settle(&run("a"));
    }
}

#[test]
fn runs_take_turns() {
    let (mut lanes, now) = (Lanes::default(), Instant::now());
    for event in 0..MAX_BATCH * 2 {
        lanes.push(&run("a"), event, now).unwrap();
    }
    lanes.push(&run("b"), 0, now).unwrap();
    assert_eq!(lanes.take(now).unwrap().0, run("a"));
    lanes.settle(&run("a"));
    assert_eq!(lanes.take(now).unwrap().0, run("b"));
}

#[test]
fn a_batch_that_could_not_be_written_comes_first_again_after_growing_pauses() {
    let (mut lanes, mut now) = (Lanes::default(), Instant::now());
    lanes.push(&run("a"), 1, now).unwrap();
    lanes.push(&run("a"), 2, now).unwrap();
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
    let (mut lanes, now) = (Lanes::default(), Instant::now());
    for event in 0..MAX_HELD {
        assert!(lanes.room().0 > 0);
        lanes.push(&run("a"), event, now).unwrap();
    }
    assert_eq!(lanes.room().0, 0);
}

#[test]
fn one_run_that_cannot_be_written_leaves_room_for_the_others() {
    let (mut lanes, mut now) = (Lanes::default(), Instant::now());
    for event in 0..MAX_HELD {
        lanes.push(&run("a"), event, now).unwrap();
    }
    let mut given_back: Vec<usize> = Vec::new();
    for _ in 0..STUCK_AFTER {
        assert!(given_back.is_empty(), "it may be an outage for all");
        let (name, events) = lanes.take(now).unwrap();
        given_back = lanes.put_back(&name, events, now, 1.0);
        now += MAX_PAUSE;
    }
    assert_eq!(given_back, (MAX_STUCK..MAX_HELD).collect::<Vec<_>>());
    assert_eq!(lanes.push(&run("a"), 7, now), Err(7));
    assert!(lanes.room().0 > 0);
    lanes.push(&run("b"), 8, now).unwrap();
}

/// So many runs that have failed until they count as such that cannot be written, with so many events each.
fn all_stuck<T: Load + std::fmt::Debug>(
    runs: usize,
    events: u64,
    now: &mut Instant,
    event: fn(u64) -> T,
) -> (Lanes<T>, Vec<T>) {
    let (mut lanes, mut given_back) = (Lanes::default(), Vec::new());
    let mut next = 0;
    for number in 0..runs {
        for _ in 0..events {
            if lanes.room().0 == 0 || lanes.room().1 < event(0).bytes() {
                break;
            }
            next += 1;
            lanes.push(&run(&format!("stuck{number}")), event(next), *now).unwrap();
        }
        for _ in 0..STUCK_AFTER {
            *now += MAX_PAUSE;
            while let Some((name, events)) = lanes.take(*now) {
                given_back.extend(lanes.put_back(&name, events, *now, 1.0));
            }
        }
    }
    (lanes, given_back)
}

#[test]
fn runs_that_cannot_be_written_leave_room_for_the_others_however_many_they_are() {
    for runs in [8, 300] {
        let mut now = Instant::now();
        let (mut lanes, given_back) = all_stuck(runs, 400, &mut now, |event| event as usize);
        assert!(lanes.held() <= MAX_STUCK, "{runs} runs hold {}", lanes.held());
        assert_eq!(lanes.held_bytes(), lanes.held());
        assert!(!given_back.is_empty());
        lanes.push(&run("healthy"), 1_000_000, now).unwrap();
        assert_eq!(
            std::iter::from_fn(|| lanes.take(now)).filter(|(name, _)| *name == run("healthy")).count(),
            1
        );
    }
}

#[test]
fn a_run_that_holds_nothing_has_its_turn_although_others_have_all_the_room() {
    let mut now = Instant::now();
    let (mut lanes, _) = all_stuck(MAX_STUCK, 1, &mut now, |event| event as usize);
    let (late, event) = (run("late"), 1_000_000);
    lanes.push(&late, event, now).unwrap();
    for _ in 0..STUCK_AFTER {
        now += MAX_PAUSE;
        let (name, events) = lanes.take_most_promising(now).unwrap();
        assert_eq!(name, late);
        let _ = lanes.put_back(&name, events, now, 1.0);
    }
    assert_eq!(lanes.held(), MAX_STUCK, "it keeps nothing");
    assert_eq!(lanes.push(&late, event, now), Err(event));
    now += MAX_PAUSE;
    let (name, events) = lanes.take(now).unwrap();
    assert_eq!(lanes.put_back(&name, events, now, 1.0).len(), 1, "another makes room");
    lanes.push(&late, event, now).unwrap();
}

#[test]
fn what_the_server_takes_is_tried_by_the_run_that_has_failed_least() {
    let mut now = Instant::now();
    let (mut lanes, _) = all_stuck(3, 1, &mut now, |event| event as usize);
    lanes.push(&run("healthy"), 1_000_000, now).unwrap();
    now += MAX_PAUSE;
    assert_eq!(lanes.take_most_promising(now).unwrap().0, run("healthy"));
    assert!(lanes.take_most_promising(now).is_some(), "else any that is due");
}

#[test]
fn a_run_that_can_be_written_again_asks_for_what_it_gave_back() {
    let mut now = Instant::now();
    let (mut lanes, _) = with_events_given_back(&mut now);
    let (name, _) = lanes.take(now).unwrap();
    assert!(lanes.settle(&name));
    lanes.empty();
    lanes.push(&name, MAX_STUCK, now).unwrap();
    lanes.take(now).unwrap();
    assert!(!lanes.settle(&name));
}

#[test]
fn a_run_that_could_not_be_written_is_remembered_as_such_when_everything_is_taken_anew() {
    let mut now = Instant::now();
    let (mut lanes, _) = all_stuck(1, 3, &mut now, |event| event as usize);
    assert_eq!(lanes.empty().len(), 3);
    assert!(lanes.is_stuck(&run("stuck0")) && lanes.is_empty());
    lanes.push(&run("stuck0"), 1, now).unwrap();
    assert!(lanes.take(now).is_none(), "it is still paused");
}

#[test]
fn large_events_of_runs_that_cannot_be_written_leave_room_for_the_others() {
    let mut now = Instant::now();
    let (lanes, _) = all_stuck(12, 8, &mut now, Large);
    assert!(lanes.held_bytes() <= MAX_STUCK_BYTES, "{} bytes", lanes.held_bytes());
}

#[test]
fn bytes_are_bounded_like_events_in_hand_in_a_batch_and_in_a_run_that_cannot_be_written() {
    let (mut lanes, mut now) = (Lanes::default(), Instant::now());
    let mut next = 0;
    while lanes.room().1 >= Large(0).bytes() {
        lanes.push(&run("a"), Large(next), now).unwrap();
        next += 1;
    }
    assert!(lanes.held_bytes() <= MAX_HELD_BYTES && lanes.held_bytes() == lanes.held() * Large(0).bytes());
    let mut given_back = Vec::new();
    for _ in 0..STUCK_AFTER {
        let (name, events) = lanes.take(now).unwrap();
        assert_eq!(events.len(), MAX_BATCH_BYTES / Large(0).bytes());
        given_back = lanes.put_back(&name, events, now, 1.0);
        now += MAX_PAUSE;
    }
    assert!(!given_back.is_empty());
    assert!(lanes.held_bytes() <= MAX_STUCK_BYTES);
    lanes.empty();
    assert_eq!((lanes.held(), lanes.held_bytes()), (0, 0));
}

#[test]
fn a_single_event_larger_than_a_batch_is_written_alone() {
    struct Huge;
    impl Load for Huge {
        fn bytes(&self) -> usize {
            MAX_BATCH_BYTES + 1
        }
        fn sequence(&self) -> u64 {
            1
        }
    }
    let (mut lanes, now) = (Lanes::default(), Instant::now());
    assert!(lanes.push(&run("a"), Huge, now).is_ok());
    assert_eq!(lanes.take(now).unwrap().1.len(), 1);
}

#[test]
fn runs_that_cannot_be_written_share_one_turn() {
    let (mut lanes, mut now) = (Lanes::default(), Instant::now());
    for name in ["a", "b", "c"] {
        lanes.push(&run(name), 1, now).unwrap();
    }
    for _ in 0..STUCK_AFTER {
        let batches: Vec<_> = std::iter::from_fn(|| lanes.take(now)).collect();
        for (name, events) in batches {
            assert!(lanes.put_back(&name, events, now, 1.0).is_empty());
        }
        now += MAX_PAUSE;
    }
    lanes.push(&run("healthy"), 1, now).unwrap();
    let stuck = lanes.take(now).unwrap().0;
    assert_eq!(lanes.take(now).unwrap().0, run("healthy"));
    assert!(lanes.take(now).is_none(), "the others wait for {stuck}");
    lanes.settle(&stuck);
    assert!(lanes.take(now).is_some());
}

/// A run that fails until its lane gives events back.
fn with_events_given_back(now: &mut Instant) -> (Lanes<usize>, Vec<usize>) {
    let mut lanes = Lanes::default();
    for event in 0..MAX_STUCK + 3 {
        lanes.push(&run("a"), event, *now).unwrap();
    }
    let mut given_back = Vec::new();
    for _ in 0..STUCK_AFTER {
        let (name, events) = lanes.take(*now).unwrap();
        given_back = lanes.put_back(&name, events, *now, 1.0);
        *now += MAX_PAUSE;
    }
    (lanes, given_back)
}

#[test]
fn a_run_that_recovers_takes_nothing_before_what_it_gave_back() {
    let mut now = Instant::now();
    let (mut lanes, given_back) = with_events_given_back(&mut now);
    assert_eq!(given_back, [MAX_STUCK, MAX_STUCK + 1, MAX_STUCK + 2]);
    while let Some((name, _)) = lanes.take(now) {
        lanes.settle(&name);
    }
    assert_eq!(lanes.held(), 0);
    // It is healthy again, and what comes is newer than what it gave back.
    assert_eq!(lanes.push(&run("a"), MAX_STUCK + 9, now), Err(MAX_STUCK + 9));
    assert_eq!(lanes.push(&run("a"), MAX_STUCK + 1, now), Err(MAX_STUCK + 1));
    for event in given_back.into_iter().chain([MAX_STUCK + 9, MAX_STUCK + 10]) {
        lanes.push(&run("a"), event, now).unwrap();
    }
    assert_eq!(
        lanes.take(now).unwrap().1,
        [MAX_STUCK, MAX_STUCK + 1, MAX_STUCK + 2, MAX_STUCK + 9, MAX_STUCK + 10]
    );
}

#[test]
fn an_event_that_was_given_back_and_left_the_stream_is_not_waited_for_for_ever() {
    let mut now = Instant::now();
    let (mut lanes, _) = with_events_given_back(&mut now);
    while let Some((name, _)) = lanes.take(now) {
        lanes.settle(&name);
    }
    assert!(lanes.push(&run("a"), MAX_STUCK + 9, now).is_err());
    now += Duration::from_secs(301);
    assert!(lanes.push(&run("a"), MAX_STUCK + 9, now).is_ok());
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
        // As the broker has them: they come again, in order.
        let mut handed_back: BTreeMap<usize, RunId> = BTreeMap::new();
        let mut owners: BTreeMap<usize, RunId> = BTreeMap::new();
        let mut index = 0;
        for (action, who) in steps {
            match action {
                0 | 1 => for _ in 0..60 {
                    index += 1;
                    let name = run(&format!("r{who}"));
                    pushed.entry(name.clone()).or_default().push(index);
                    owners.insert(index, name.clone());
                    if lanes.push(&name, index, now).is_err() {
                        handed_back.insert(index, name);
                    }
                }
                2 => running.extend(lanes.take(now)),
                _ if running.is_empty() => {}
                _ => {
                    let (name, events) = running.remove(0);
                    if who == 0 {
                        for event in lanes.put_back(&name, events, now, 0.5) {
                            handed_back.insert(event, owners[&event].clone());
                        }
                        now += MAX_PAUSE;
                        for (event, name) in std::mem::take(&mut handed_back) {
                            if lanes.push(&name, event, now).is_err() {
                                handed_back.insert(event, name);
                            }
                        }
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
        loop {
            now += MAX_PAUSE;
            while let Some((name, events)) = lanes.take(now) {
                written.entry(name.clone()).or_default().extend(events);
                lanes.settle(&name);
            }
            if handed_back.is_empty() {
                break;
            }
            // One that has nothing in hand still counts as such that cannot be written, until its first batch is.
            let count = handed_back.len();
            for (event, name) in std::mem::take(&mut handed_back) {
                if lanes.push(&name, event, now).is_err() {
                    handed_back.insert(event, name);
                }
            }
            prop_assert!(handed_back.len() < count, "some of them are taken");
        }
        prop_assert_eq!(lanes.held(), 0);
        prop_assert_eq!(pushed, written);
    }
}
