use proptest::prelude::*;

use super::*;

fn key(revision: u64, holder: Option<&str>) -> Sight {
    Sight { revision, holder: holder.map(str::to_owned) }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_free_lease_is_taken_at_once_and_renewed_in_time() {
    let (mut sink, now) = (Candidate::new("a".into()), Instant::now());
    assert_eq!(sink.look(&key(0, None), now), Move::Write(0));
    sink.wrote(1, now);
    assert_eq!(sink.holds_until(), Some(now + VALID_FOR));
    assert_eq!(sink.look(&key(1, Some("a")), now + seconds(1)), Move::Wait);
    assert_eq!(sink.look(&key(1, Some("a")), now + RENEW_EVERY), Move::Write(1));
}

#[test]
fn a_lease_that_was_given_up_is_taken_at_once() {
    let (mut sink, now) = (Candidate::new("b".into()), Instant::now());
    assert_eq!(sink.look(&key(7, Some("a")), now), Move::Wait);
    assert_eq!(sink.look(&key(8, None), now), Move::Write(8));
}

#[test]
fn a_sink_started_again_takes_over_from_its_dead_predecessor_at_once() {
    let mut sink = Candidate::new("a".into());
    assert_eq!(sink.look(&key(7, Some("a")), Instant::now()), Move::Write(7));
}

#[test]
fn a_holder_that_renews_is_left_alone_and_a_silent_one_is_followed() {
    let (mut sink, mut now) = (Candidate::new("b".into()), Instant::now());
    for revision in 1..10 {
        assert_eq!(sink.look(&key(revision, Some("a")), now), Move::Wait);
        now += SILENCE - seconds(1);
    }
    assert_eq!(sink.look(&key(9, Some("a")), now + seconds(1)), Move::Write(9));
}

#[test]
fn whoever_was_overtaken_holds_nothing() {
    let (mut sink, now) = (Candidate::new("a".into()), Instant::now());
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
        let mut players: Vec<Player> = ["a", "b", "c"]
            .map(|name| Player { sink: Candidate::new(name.into()), read: None, answer: None })
            .into();
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
                                holder: Some(player.sink.name().to_owned()),
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
