use schemas::Timestamp;
use service_kit::topology::CLASSIFIER_CONSUMER;

use super::*;
use crate::audit::facts::Advisory;
use crate::given_up::Loss;
use crate::handled::Handled;
use crate::operation::{Act, Operation};

/// Of twenty, the first ten are gone: 1 and 2 before records, 3 settled, 4 and 5 announced, 6 dead, 7 to 10 in silence. Of
/// the others 12 and 14 are deleted, and the sink lost one between 16 and 18 that nobody can name.
fn facts() -> Facts {
    let mut facts = Facts { first: 11, last: 20, gaps: vec![(12, 12), (14, 14)], ..Facts::default() };
    let floors = [("sink".to_owned(), 3)].into();
    facts.handled = Some(Handled { since: 3, floors, ..Handled::default() });
    facts.notices = vec![(4, 5)];
    facts.dealt_with(6, None);
    let loss = Loss { from: 16, to: 18, count: 1, named: 0, since: 0, at: Timestamp::default() };
    facts.losses = vec![("sink".to_owned(), loss)];
    facts.advisories =
        vec![Advisory { seq: 3, consumer: "sink".into(), is_terminated: true, is_settled: true }];
    facts
}

fn chosen(facts: &Facts, wanted: &[Range], consumer: Option<&str>) -> (Answered, Vec<(String, u64, String)>) {
    let gone = Gone::of(facts);
    let unexplained = Unexplained::of(facts, &gone);
    let answered = unexplained.within(wanted, consumer);
    let told = left(facts, &gone, &unexplained, wanted, &answered);
    let told = told.into_iter().map(|one| (one.sequences, one.count, one.why)).collect();
    (answered, told)
}

/// What is left, with the first words of why.
fn is_told(told: &[(String, u64, String)], expected: &[(&str, u64, &str)]) {
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (one, (sequences, count, words)) in told.iter().zip(expected) {
        assert!(one.0 == *sequences && one.1 == *count && one.2.contains(words), "{told:#?}");
    }
}

#[test]
fn each_sequence_is_answered_for_or_left_with_a_reason_once() {
    let (answered, told) = chosen(&facts(), &[(1, 20)], None);
    assert_eq!(answered.ranges, [(3, 3), (7, 10), (12, 12), (14, 14)]);
    assert_eq!(answered.losses.iter().map(|loss| (loss.from, loss.to)).collect::<Vec<_>>(), [(16, 18)]);
    is_told(
        &told,
        &[
            ("11, 13, 15, 19-20", 5, "still on the stream"),
            ("6", 1, "dead letter"),
            ("4-5", 2, "expired with notice"),
            ("1-2", 2, "before records"),
        ],
    );
    // Once it is on record, nothing of it is left to do.
    let mut facts = facts();
    let act = Act { actor: "ann@host".into(), reason: None, filter: None };
    facts.acknowledged.take(&Operation::acknowledged(&act, Timestamp::default(), answered));
    let (answered, told) = chosen(&facts, &[(7, 12), (16, 18)], None);
    assert!(answered.is_empty());
    is_told(&told, &[("11, 16-18", 4, "still on the stream"), ("7-10, 12", 5, "acknowledged already")]);
}

#[test]
fn for_one_consumer_only_what_it_lost_is_answered_for() {
    let (answered, told) = chosen(&facts(), &[(3, 7), (16, 20)], Some("sink"));
    assert_eq!((answered.ranges.as_slice(), answered.losses.len()), ([(3, 3)].as_slice(), 1));
    assert_eq!(answered.consumer.as_deref(), Some("sink"));
    is_told(
        &told,
        &[("19-20", 2, "still on"), ("7", 1, "--consumer"), ("6", 1, "dead"), ("4-5", 2, "expired")],
    );
    let (answered, told) = chosen(&facts(), &[(3, 3), (16, 18)], Some(CLASSIFIER_CONSUMER));
    assert!(answered.is_empty());
    is_told(&told, &[("16-18", 3, "still on"), ("3", 1, "--consumer")]);
}

#[test]
fn a_loss_is_named_whole_or_told_how() {
    let (answered, told) = chosen(&facts(), &[(16, 17)], None);
    assert!(answered.is_empty());
    is_told(&told, &[("16-18", 1, "name 16-18 as a whole"), ("16-17", 2, "still on")]);
    let (answered, told) = chosen(&facts(), &[(15, 18)], None);
    assert_eq!(answered.losses.len(), 1);
    is_told(&told, &[("15", 1, "still on")]);
}

#[test]
fn what_only_one_of_two_looks_has_found_is_left_for_later() {
    let earlier = Unexplained::of(&facts(), &Gone::of(&facts()));
    let mut later = facts();
    later.gaps.push((19, 19));
    let grown = &mut later.losses[0].1;
    *grown = Loss { count: 2, ..grown.clone() };
    let gone = Gone::of(&later);
    let unexplained = Unexplained::of(&later, &gone).confirming(&earlier);
    let wanted = [(14, 20)];
    let answered = unexplained.within(&wanted, None);
    assert_eq!(
        (answered.ranges.as_slice(), answered.losses.as_slice()),
        ([(14, 14)].as_slice(), [].as_slice())
    );
    let told = left(&later, &gone, &unexplained, &wanted, &answered);
    assert!(told.iter().any(|one| one.sequences == "19" && one.why.contains("a moment ago")), "{told:#?}");
}

#[test]
fn a_million_sequences_with_a_hole_at_every_other_are_told_in_a_few_words() {
    let mut facts = Facts { first: 1, last: 1_000_000, ..Facts::default() };
    facts.gaps = (1..=500_000).map(|number| (2 * number, 2 * number)).collect();
    let (answered, told) = chosen(&facts, &[(1, 1_000_000)], None);
    assert_eq!((answered.ranges.len(), told.len()), (500_000, 1));
    assert!(told[0].0.ends_with("and 499980 more") && told[0].1 == 500_000, "{told:#?}");
}
