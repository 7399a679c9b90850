use proptest::prelude::*;

use super::*;

fn holder(name: &str, nonce: &str) -> Holder {
    Holder { name: name.into(), nonce: nonce.into() }
}

fn candidate(name: &str) -> Candidate {
    Candidate::new(holder(name, "1"))
}

fn key(revision: u64, name: Option<&str>) -> Sight {
    Sight { revision, holder: name.map(|name| holder(name, "1")) }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_free_lease_is_taken_at_once_and_renewed_in_time() {
    let (mut sink, now) = (candidate("a"), Instant::now());
    assert_eq!(sink.look(&key(0, None), now), Move::Write(0));
    sink.wrote(1, now);
    assert_eq!(sink.holds_until(), Some(now + VALID_FOR));
    assert_eq!(sink.look(&key(1, Some("a")), now + seconds(1)), Move::Wait);
    assert_eq!(sink.look(&key(1, Some("a")), now + RENEW_EVERY), Move::Write(1));
}

#[test]
fn a_lease_that_was_given_up_is_taken_at_once() {
    let (mut sink, now) = (candidate("b"), Instant::now());
    assert_eq!(sink.look(&key(7, Some("a")), now), Move::Wait);
    assert_eq!(sink.look(&key(8, None), now), Move::Write(8));
}

#[test]
fn a_sink_started_again_takes_over_from_its_dead_predecessor_at_once() {
    let mut sink = Candidate::new(holder("a", "2"));
    assert_eq!(sink.look(&key(7, Some("a")), Instant::now()), Move::Write(7));
}

#[test]
fn of_two_processes_with_one_name_only_the_first_look_takes_over_and_the_other_holds_nothing() {
    let (mut old, mut copy, now) = (candidate("a"), Candidate::new(holder("a", "2")), Instant::now());
    old.wrote(7, now);
    assert_eq!(copy.look(&key(7, Some("a")), now), Move::Write(7));
    copy.wrote(8, now);
    let taken = Sight { revision: 8, holder: Some(holder("a", "2")) };
    assert_eq!(old.look(&taken, now), Move::Wait);
    assert_eq!(old.holds_until(), None);
    for second in 0..SILENCE.as_secs() {
        assert_eq!(old.look(&taken, now + seconds(second)), Move::Wait, "it is somebody else's");
    }
}

#[test]
fn whoever_lost_the_lease_unawares_stands_back_for_a_look_although_it_is_free() {
    let (mut sink, now) = (candidate("a"), Instant::now());
    assert_eq!(sink.look(&key(3, None), now), Move::Write(3));
    sink.wrote(4, now);
    assert_eq!(sink.look(&key(9, None), now), Move::Wait);
    assert_eq!(sink.holds_until(), None);
    assert_eq!(sink.look(&key(9, None), now), Move::Write(9));
}

#[test]
fn a_write_of_its_own_whose_answer_was_lost_is_gone_on_from() {
    let (mut sink, now) = (candidate("a"), Instant::now());
    sink.wrote(3, now);
    assert_eq!(sink.look(&key(4, Some("a")), now), Move::Write(4));
    assert!(sink.holds_until().is_some());
}

#[test]
fn a_lease_is_given_up_over_the_last_write_of_ours_and_over_nobody_elses() {
    let mut ours = candidate("a");
    ours.wrote(5, Instant::now());
    assert_eq!(ours.ours(&key(6, Some("a"))), Some(6), "the answer to the sixth was lost");
    assert_eq!(ours.ours(&key(7, Some("b"))), None);
    assert_eq!(ours.ours(&key(8, None)), None, "it was given up, and the answer was lost");
    let copy = Sight { revision: 9, holder: Some(holder("a", "of another process")) };
    assert_eq!(ours.ours(&copy), None);
}

#[test]
fn a_holder_that_renews_is_left_alone_and_a_silent_one_is_followed() {
    let (mut sink, mut now) = (candidate("b"), Instant::now());
    for revision in 1..10 {
        assert_eq!(sink.look(&key(revision, Some("a")), now), Move::Wait);
        now += SILENCE - seconds(1);
    }
    assert_eq!(sink.look(&key(9, Some("a")), now + seconds(1)), Move::Write(9));
}

#[test]
fn whoever_was_overtaken_holds_nothing() {
    let (mut sink, now) = (candidate("a"), Instant::now());
    sink.wrote(3, now);
    assert_eq!(sink.look(&key(2, Some("b")), now), Move::Wait, "an old answer says nothing");
    assert!(sink.holds_until().is_some());
    assert_eq!(sink.look(&key(4, Some("b")), now), Move::Wait);
    assert_eq!(sink.holds_until(), None);
    sink.wrote(5, now);
    sink.refused();
    assert_eq!(sink.holds_until(), None);
}

/// A sink and what it has under way: the key it read, or the answer to its write.
struct Player {
    sink: Candidate,
    read: Option<Sight>,
    answer: Option<(Result<u64, ()>, Instant)>,
}

proptest! {
    /// Sinks that read, decide and hear at any moment, sleep for as long as they like and lose answers.
    #[test]
    fn two_sinks_never_hold_the_lease_at_once(
        steps in prop::collection::vec((0_usize..3, 0_u8..5, 0_u64..3000), 0..400)
    ) {
        let mut now = Instant::now();
        let mut server = key(0, None);
        let mut players: Vec<Player> = [("a", "1"), ("a", "2"), ("c", "1")]
            .map(|(name, nonce)| Player { sink: Candidate::new(holder(name, nonce)), read: None, answer: None })
            .into();
        // The lock on the directory holds at the start of a process only where nobody has copied it.
        for player in &mut players {
            assert_eq!(player.sink.look(&key(0, Some("nobody")), now), Move::Wait);
        }
        for (who, action, millis) in steps {
            now += Duration::from_millis(millis);
            let player = &mut players[who];
            match action {
                0 => player.read = Some(server.clone()),
                1 | 2 => {
                    if let Some(read) = player.read.take()
                        && player.answer.is_none()
                        && let Move::Write(over) = player.sink.look(&read, now)
                    {
                        let is_first = over == server.revision;
                        if is_first {
                            server = Sight {
                                revision: server.revision + 1,
                                holder: Some(player.sink.me().clone()),
                            };
                        }
                        player.answer = Some((if is_first { Ok(server.revision) } else { Err(()) }, now));
                    }
                }
                3 => match player.answer.take() {
                    Some((Ok(revision), began)) => player.sink.wrote(revision, began),
                    Some((Err(()), _)) => player.sink.refused(),
                    None => {}
                },
                _ => player.answer = None,
            }
            let holders = players
                .iter()
                .filter(|player| player.sink.holds_until().is_some_and(|until| now < until))
                .count();
            prop_assert!(holders <= 1);
        }
    }
}

#[test]
fn a_wish_for_the_lease_lives_as_long_as_it_is_repeated() {
    let (mut wish, mut now) = (Wish::default(), Instant::now());
    assert!(!wish.is_alive(None, now));
    for revision in 1..5 {
        assert!(wish.is_alive(Some(revision), now));
        now += seconds(5);
    }
    assert!(wish.is_alive(Some(4), now));
    now += SILENCE;
    assert!(!wish.is_alive(Some(4), now), "whoever wished it is gone");
    assert!(wish.is_alive(Some(5), now), "and is there again");
    assert!(!wish.is_alive(None, now), "and has withdrawn it");
}
