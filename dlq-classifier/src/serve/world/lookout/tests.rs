use super::*;

fn run(name: &str) -> RunId {
    RunId::parse(name).unwrap()
}

#[test]
fn an_announcement_waits_for_as_long_as_it_is_above_the_floor() {
    let mut waiting = Waiting::default();
    assert!(waiting.begin(4));
    assert!(waiting.take(7, Some(run("a")), 4) && waiting.take(9, None, 4));
    assert!(waiting.has(&run("a"), 4) && waiting.has(&run("a"), 6));
    assert!(!waiting.has(&run("a"), 7), "it is settled, and was no announcement that counts");
    assert!(!waiting.has(&run("b"), 4));
    assert_eq!(waiting.next, 10);
    assert!(!waiting.begin(8));
    assert_eq!(waiting.next, 10, "nothing is read twice");
    assert!(!waiting.begin(20));
    assert_eq!((waiting.next, waiting.runs.len()), (21, 0), "nor what is settled");
}

#[test]
fn of_a_consumer_that_was_set_back_everything_is_read_again() {
    let mut waiting = Waiting::default();
    waiting.begin(10);
    waiting.take(12, Some(run("a")), 10);
    assert!(waiting.begin(3));
    assert_eq!((waiting.next, waiting.runs.len()), (4, 0));
}

#[test]
fn of_a_run_that_is_announced_twice_the_later_word_counts() {
    let mut waiting = Waiting::default();
    waiting.begin(0);
    waiting.take(1, Some(run("a")), 0);
    waiting.take(5, Some(run("a")), 0);
    assert!(waiting.has(&run("a"), 4));
}

#[test]
fn a_floor_counts_when_it_is_half_a_second_old_and_not_for_ever() {
    let start = Instant::now();
    let after = |millis| start + Duration::from_millis(millis);
    let mut floors = Floors::default();
    assert!(floors.is_due(start));
    floors.take(5, start);
    assert_eq!(floors.ripe(after(200)), Err(Duration::from_millis(300)));
    assert!(!floors.is_due(after(499)) && floors.is_due(after(500)));
    floors.take(8, after(500));
    assert_eq!(floors.ripe(after(500)), Ok(5));
    assert!(floors.is_due(after(1000)));
    assert_eq!(floors.ripe(after(1000)), Ok(8));
    assert!(floors.is_due(after(60_000)));
    assert_eq!(floors.ripe(after(60_000)), Err(RIPE_AFTER));
}
