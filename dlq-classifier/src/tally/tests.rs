use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

#[test]
fn an_entry_is_open_until_somebody_deals_with_it_in_whatever_order_that_is_heard() {
    let mut tally = Tally::default();
    tally.letter(1, "1-a", at(10));
    tally.handled("2-b", 5);
    tally.letter(2, "2-b", at(11));
    tally.letter(3, "3-c", at(12));
    tally.letter(4, "3-c", at(13));
    assert_eq!(tally.open(), 2, "the second was dealt with, the third came twice");
    assert_eq!(tally.oldest(at(20)), Duration::from_secs(10));
    tally.handled("1-a", 6);
    assert_eq!((tally.open(), tally.oldest(at(20))), (1, Duration::from_secs(8)));
    tally.handled("3-c", 7);
    assert_eq!((tally.open(), tally.oldest(at(20))), (0, Duration::ZERO));
}

#[test]
fn what_the_stream_has_dropped_is_not_counted() {
    let mut tally = Tally::default();
    for place in 1..=5 {
        tally.letter(place, &place.to_string(), at(0));
    }
    tally.handled("5", 6);
    tally.forget_before(3);
    assert_eq!(tally.open(), 2);
    tally.forget_before(10);
    assert_eq!((tally.open(), tally.places.len(), tally.done.len()), (0, 0, 0));
}

#[test]
fn the_rate_speaks_of_the_last_minute() {
    let mut tally = Tally::default();
    for place in 0..120 {
        tally.letter(place, &place.to_string(), at(i64::try_from(place).unwrap()));
    }
    assert_eq!(tally.rate(at(119)), 60);
    assert_eq!(tally.rate(at(149)), 30);
    assert_eq!(tally.rate(at(1000)), 0);
    assert!(tally.recent.is_empty());
}

#[test]
fn entries_near_their_end_are_told_from_those_that_stay() {
    let mut tally = Tally::default();
    let day = 86_400;
    tally.letter(1, "old", at(0));
    tally.letter(2, "young", at(10 * day));
    let days = |count: u64| Duration::from_secs(count * 86_400);
    assert_eq!(tally.expiring(at(26 * day), days(30), days(3)), 0);
    assert_eq!(tally.expiring(at(28 * day), days(30), days(3)), 1);
    assert_eq!(
        tally.expiring(at(28 * day), Duration::ZERO, days(3)),
        0,
        "a stream without an age keeps them"
    );
}
