use service_kit::topology::CLASSIFIER_CONSUMER;

use super::super::facts::{Advisory, Reader};
use super::super::letters::Letters;
use super::*;
use crate::given_up::{GivenUp, Loss};
use crate::handled::{Handled, Hole};
use crate::operation::{Act, Answered, Missing, Operation};

const TRIAL: &str = "ml.run.trial";

/// Ten messages, all trials, each for two consumers that have settled all of them.
fn settled() -> Facts {
    let reader = |name: &str, filter: &str| Reader {
        name: name.to_owned(),
        filters: vec![filter.to_owned()],
        is_ours: true,
        from: 1,
        floor: 10,
        delivered: 10,
        max_deliver: -1,
        ..Reader::default()
    };
    let readers = vec![reader("sink", TRIAL), reader(CLASSIFIER_CONSUMER, "ml.run.*")];
    Facts { first: 1, last: 10, readers, ..Facts::default() }
}

fn audited(facts: Facts) -> Account {
    let mut ledger = Ledger::new(facts);
    for segment in ledger.segments() {
        for seq in segment.range.0..=segment.range.1 {
            ledger.message(&segment, seq, TRIAL);
        }
    }
    ledger.close()
}

fn named(account: &Account) -> Vec<(u64, Option<u64>, &str, u64)> {
    let named = account.unexplained.iter();
    named.map(|one| (one.seq, one.through, one.consumer.as_str(), one.count)).collect()
}

fn is_balanced(account: &Account) -> bool {
    let Sums { last_sequence, done, in_flight, dead, expired, before_records, acknowledged, unexplained } =
        account.sums;
    done + in_flight + dead + expired + before_records + acknowledged + unexplained == last_sequence
}

#[test]
fn what_is_settled_needs_no_look() {
    assert_eq!(Ledger::new(settled()).segments(), []);
    let account = audited(settled());
    assert_eq!((account.sums.done, account.unexplained.len()), (10, 0));
}

#[test]
fn in_hand_and_waiting_are_in_flight_once_and_a_letter_is_stronger() {
    let mut facts = settled();
    facts.readers[0] = Reader { floor: 2, delivered: 6, in_hand: 2, ..facts.readers[0].clone() };
    facts.readers[1] = Reader { floor: 4, delivered: 4, ..facts.readers[1].clone() };
    facts.letter(9, CLASSIFIER_CONSUMER, TRIAL, None);
    let account = audited(facts.clone());
    // 3 and 4 are in the sink's hand, 5 to 10 wait for the classifier; 9 is dead.
    assert_eq!((account.sums.in_flight, account.sums.dead, account.sums.done), (7, 1, 2));
    assert!(is_balanced(&account));

    // The stretch behind all that was delivered need only be counted, and says the same.
    let mut ledger = Ledger::new(facts);
    let segments = ledger.segments();
    assert_eq!(
        segments.iter().map(|one| (one.range, one.is_uniform())).collect::<Vec<_>>(),
        [((3, 4), false), ((5, 6), false), ((7, 10), true)]
    );
    assert_eq!(ledger.filters(&segments[2]), ["ml.run.*"], "one filter covers the other");
    (3..=6).for_each(|seq| ledger.message(&segments[usize::from(seq > 4)], seq, TRIAL));
    ledger.counted(&segments[2], 4);
    assert_eq!(ledger.close().sums, account.sums);
}

#[test]
fn a_stretch_is_read_until_all_that_is_in_hand_was_met() {
    let mut facts = settled();
    facts.readers[0] = Reader { floor: 0, in_hand: 2, ..facts.readers[0].clone() };
    let mut ledger = Ledger::new(facts);
    let segment = ledger.segments().remove(0);
    assert_eq!(segment.range, (1, 10));
    ledger.message(&segment, 1, TRIAL);
    assert_eq!(ledger.rest(&segment, 1), None);
    ledger.message(&segment, 2, TRIAL);
    let rest = ledger.rest(&segment, 2).unwrap();
    assert!(rest.range == (3, 10) && rest.is_settled());
    assert_eq!(ledger.close().sums.in_flight, 2);
}

#[test]
fn a_floor_that_stands_with_nothing_in_hand_names_what_was_given_up() {
    let mut facts = settled();
    facts.readers[0] = Reader { floor: 2, redelivered: 1, ..facts.readers[0].clone() };
    let account = audited(facts.clone());
    assert_eq!(named(&account), [(3, None, "sink", 1)]);
    assert!(is_balanced(&account));
    // Of a consumer with one delivery the broker remembers nothing; the next one is lost all the same.
    facts.readers[0].redelivered = 0;
    assert_eq!(named(&audited(facts.clone())), [(3, None, "sink", 1)]);
    // Two were given up, and the second can be any of those behind the first.
    facts.readers[0].redelivered = 2;
    assert_eq!(named(&audited(facts.clone())), [(3, None, "sink", 1), (4, Some(10), "sink", 1)]);
    // The classifier is about to see to it.
    facts.readers[0].redelivered = 1;
    let advisory = Advisory { seq: 3, consumer: "sink".into(), is_terminated: false, is_settled: false };
    facts.advisories = vec![advisory];
    let account = audited(facts.clone());
    assert_eq!((account.unexplained.len(), account.sums.in_flight), (0, 1));
    // It has.
    facts.advisories.clear();
    facts.letter(3, "sink", TRIAL, Some(0));
    assert_eq!(named(&audited(facts)), []);
}

#[test]
fn a_floor_that_jumped_is_not_taken_for_done() {
    let mut facts = settled();
    facts.readers[0].redelivered = 1;
    let account = audited(facts.clone());
    assert_eq!(named(&account), [(1, Some(10), "sink", 1)]);
    assert_eq!((account.sums.done, account.sums.unexplained), (9, 1));
    facts.letter(4, "sink", TRIAL, Some(0));
    assert_eq!(named(&audited(facts)), []);
}

#[test]
fn a_consumer_that_is_not_there_or_began_late_has_read_nothing_before() {
    let mut facts = settled();
    let missing = Reader { from: u64::MAX, floor: 0, delivered: 0, ..facts.readers[0].clone() };
    facts.readers[0] = missing.clone();
    assert_eq!(named(&audited(facts.clone())), [(1, Some(10), "sink", 10)]);
    facts.readers[0] = Reader { from: 4, floor: 10, delivered: 10, ..missing };
    assert_eq!(named(&audited(facts.clone())), [(1, Some(3), "sink", 3)]);
    // One of the same name had settled these.
    let floors = [("sink".to_owned(), 3), (CLASSIFIER_CONSUMER.to_owned(), 3)].into();
    facts.handled = Some(Handled { since: 1, floors, ..Handled::default() });
    assert_eq!(named(&audited(facts)), []);
}

#[test]
fn what_is_gone_was_settled_or_announced_or_is_named() {
    let mut facts = Facts { first: 8, gaps: vec![(9, 9)], ..settled() };
    let account = audited(facts.clone());
    assert_eq!(named(&account), [(1, Some(7), "", 7), (9, None, "", 1)]);
    assert!(is_balanced(&account));

    let floors = [("sink".to_owned(), 3), (CLASSIFIER_CONSUMER.to_owned(), 5)].into();
    facts.handled = Some(Handled { since: 2, floors, ..Handled::default() });
    facts.notices = vec![(4, 6)];
    facts.letters = Letters::default();
    facts.letter(9, CLASSIFIER_CONSUMER, TRIAL, None);
    let account = audited(facts.clone());
    assert_eq!(named(&account), [(7, None, "", 1)]);
    assert_eq!((account.sums.expired, account.sums.before_records, account.sums.dead), (3, 1, 1));
    assert!(is_balanced(&account));

    // What somebody purged stays named though the floors moved on.
    let handled = facts.handled.as_mut().unwrap();
    handled.floors = [("sink".to_owned(), 10), (CLASSIFIER_CONSUMER.to_owned(), 10)].into();
    let at = schemas::Timestamp::default();
    handled.holes =
        vec![Hole { from: 4, to: 6, at, is_known: true }, Hole { from: 7, to: 7, at, is_known: false }];
    let account = audited(facts);
    assert_eq!(named(&account), [(7, None, "", 1)]);
    assert_eq!(account.sums.expired, 3);
    assert!(is_balanced(&account));
}

#[test]
fn an_advisory_that_was_dealt_with_without_a_letter_is_named_once() {
    let mut facts = settled();
    let advisory =
        |seq: u64| Advisory { seq, consumer: "sink".into(), is_terminated: true, is_settled: true };
    facts.advisories = vec![advisory(4), advisory(5), advisory(6)];
    facts.letter(5, "sink", TRIAL, None);
    facts.dealt_with(6, Some("sink"));
    assert_eq!(named(&audited(facts.clone())), [(4, None, "sink", 1)]);
    // What was taken out of the stream with a letter was terminated for everybody who had it.
    facts.gaps = vec![(4, 4)];
    facts.letter(4, CLASSIFIER_CONSUMER, TRIAL, None);
    assert_eq!(named(&audited(facts)), []);
}

#[test]
fn a_letter_in_a_stranger_s_name_excuses_nobody_else() {
    let mut facts = settled();
    let missing = Reader { from: u64::MAX, floor: 0, delivered: 0, ..facts.readers[0].clone() };
    facts.readers[0] = missing;
    facts.letter(2, "monitor", TRIAL, Some(0));
    facts.letter(3, "sink", TRIAL, Some(0));
    facts.letter(4, CLASSIFIER_CONSUMER, TRIAL, Some(0));
    // Read or counted, nobody handles the second for the sink.
    let account = audited(facts.clone());
    assert_eq!(named(&account), [(1, Some(10), "sink", 8)]);
    assert_eq!((account.sums.dead, account.sums.done), (2, 0));
    assert!(is_balanced(&account));
    let mut ledger = Ledger::new(facts.clone());
    let segment = ledger.segments().remove(0);
    ledger.counted(&segment, 10);
    assert_eq!(ledger.close().sums, account.sums);

    // What is gone, alone or with others, and what was terminated, is no more excused.
    let mut facts = Facts { first: 4, gaps: vec![(6, 6), (8, 9)], readers: settled().readers, ..facts };
    facts.letter(6, "monitor", TRIAL, Some(0));
    facts.letter(9, "monitor", TRIAL, Some(0));
    facts.letter(7, "monitor", TRIAL, Some(0));
    let advisory = |seq| Advisory { seq, consumer: "sink".into(), is_terminated: true, is_settled: true };
    facts.advisories = vec![advisory(4), advisory(7)];
    facts.notices = vec![(1, 1)];
    let account = audited(facts);
    assert_eq!(
        named(&account),
        [(2, None, "", 1), (6, None, "", 1), (7, None, "sink", 1), (8, Some(9), "", 2)]
    );
    let Sums { dead, expired, done, .. } = account.sums;
    assert_eq!((dead, expired, done), (2, 1, 2));
    assert!(is_balanced(&account));
}

#[test]
fn letters_of_before_do_not_excuse_what_is_lost_later() {
    // Of five candidates each has a letter that says so, though three were lost; two more are lost behind them.
    let mut facts = settled();
    (1..=5).for_each(|seq| facts.letter(seq, "sink", TRIAL, Some(50)));
    facts.readers[0].redelivered = 5;
    facts.readers[0].given_up = GivenUp { accounted: 3, through: 5, losses: Vec::new() };
    assert_eq!(named(&audited(facts.clone())), [(1, Some(10), "sink", 2)]);
    facts.letter(7, "sink", TRIAL, Some(60));
    assert_eq!(named(&audited(facts.clone())), [(1, Some(10), "sink", 1)]);
    facts.letter(8, "sink", TRIAL, Some(60));
    assert_eq!(named(&audited(facts.clone())), []);
    // The consumer was made anew, and the new one has lost two.
    facts.readers[0] =
        Reader { redelivered: 2, created: 55, given_up: GivenUp::default(), ..facts.readers[0].clone() };
    assert_eq!(named(&audited(facts.clone())), []);
    facts.readers[0].created = 61;
    assert_eq!(named(&audited(facts)), [(1, Some(10), "sink", 2)]);
}

#[test]
fn what_a_sweep_could_not_name_is_told_until_it_has_letters() {
    let mut facts = settled();
    let loss = Loss { from: 3, to: 8, count: 3, named: 1, since: 40, at: schemas::Timestamp::default() };
    facts.losses = vec![("sink".to_owned(), loss)];
    facts.readers[0].redelivered = 3;
    facts.readers[0].given_up = GivenUp { accounted: 3, through: 8, losses: Vec::new() };
    let account = audited(facts.clone());
    assert_eq!(named(&account), [(3, Some(8), "sink", 2)]);
    assert!(is_balanced(&account));
    facts.readers.remove(0);
    assert_eq!(named(&audited(facts.clone())), [(3, Some(8), "sink", 2)], "its consumer is gone");
    facts.letter(3, "sink", TRIAL, Some(30));
    (4..=5).for_each(|seq| facts.letter(seq, "sink", TRIAL, Some(50)));
    assert_eq!(named(&audited(facts)), [(3, Some(8), "sink", 1)], "one of them was known before");
}

#[test]
fn what_somebody_has_dealt_with_needs_no_letter_any_more_and_a_stranger_s_entry_covers_nobody() {
    let mut facts = settled();
    facts.gaps = vec![(5, 6)];
    facts.readers[0] = Reader { floor: 1, redelivered: 1, ..facts.readers[0].clone() };
    let advisory = |seq| Advisory { seq, consumer: "sink".into(), is_terminated: true, is_settled: true };
    facts.advisories = vec![advisory(8), advisory(9)];
    let all = [(2, None, "sink", 1), (5, Some(6), "", 2), (8, None, "sink", 1), (9, None, "sink", 1)];
    assert_eq!(named(&audited(facts.clone())), all);
    [2, 5, 6, 8, 9].into_iter().for_each(|seq| facts.dealt_with(seq, Some("monitor")));
    let account = audited(facts.clone());
    assert_eq!(named(&account), all);
    assert!(is_balanced(&account));
    facts.readers[0].given_up = GivenUp { accounted: 1, through: 10, losses: Vec::new() };
    facts.dealt_with(2, Some("sink"));
    facts.dealt_with(5, Some(CLASSIFIER_CONSUMER));
    facts.dealt_with(6, Some("sink"));
    facts.dealt_with(8, Some(CLASSIFIER_CONSUMER));
    facts.dealt_with(9, Some("sink"));
    let account = audited(facts);
    assert_eq!(named(&account), []);
    assert_eq!((account.sums.dead, account.sums.done), (5, 5));
}

/// A record of what somebody answers for.
fn answer(facts: &mut Facts, ranges: &[(u64, u64)], losses: Vec<Missing>, consumer: Option<&str>) {
    let act = Act { actor: "ann@host".into(), reason: Some("by hand".into()), filter: None };
    let consumer = consumer.map(str::to_owned);
    let answered = Answered { ranges: ranges.to_vec(), losses, consumer };
    facts.acknowledged.take(&Operation::acknowledged(&act, schemas::Timestamp::default(), answered));
}

#[test]
fn what_somebody_answers_for_is_its_own_sum_while_it_is_gone_and_nothing_else_tells_of_it() {
    let mut facts = Facts { first: 8, gaps: vec![(9, 9)], ..settled() };
    facts.readers[0] = Reader { from: u64::MAX, floor: 0, delivered: 0, ..facts.readers[0].clone() };
    // Whatever it says: what is on the stream, and what the stream has not got, is not hidden.
    answer(&mut facts, &[(2, 8), (10, u64::MAX)], Vec::new(), None);
    let account = audited(facts.clone());
    assert_eq!(named(&account), [(1, None, "", 1), (8, Some(10), "sink", 3), (9, None, "", 1)]);
    assert_eq!((account.sums.acknowledged, account.acknowledgements.len()), (6, 1));
    answer(&mut facts, &[(1, 1), (9, 9)], Vec::new(), None);
    facts.readers = settled().readers;
    let account = audited(facts.clone());
    assert_eq!((named(&account), account.sums.acknowledged, account.sums.done), (vec![], 8, 2));
    assert!(is_balanced(&account));
    // A letter and a notice are stronger, and it is counted once when the book has begun behind it.
    facts.letter(9, CLASSIFIER_CONSUMER, TRIAL, None);
    facts.notices = vec![(6, 7)];
    let floors = [("sink".to_owned(), 4), (CLASSIFIER_CONSUMER.to_owned(), 4)].into();
    facts.handled = Some(Handled { since: 3, floors, ..Handled::default() });
    let account = audited(facts.clone());
    let Sums { acknowledged, dead, expired, before_records, done, .. } = account.sums;
    assert_eq!((acknowledged, dead, expired, before_records, done), (5, 1, 2, 0, 2));
    // When the stream begins behind a gap, it still is what it was.
    facts = Facts { first: 10, gaps: Vec::new(), letters: Letters::default(), ..facts };
    let floors = [("sink".to_owned(), 10), (CLASSIFIER_CONSUMER.to_owned(), 10)].into();
    facts.handled = Some(Handled { since: 1, floors, ..Handled::default() });
    let account = audited(facts);
    assert_eq!((account.sums.acknowledged, account.sums.done), (9, 1));
    assert!(is_balanced(&account));
}

#[test]
fn an_answer_for_one_consumer_covers_no_other_and_nothing_that_is_on_the_stream() {
    let mut facts = settled();
    let floors = [("sink".to_owned(), 10), (CLASSIFIER_CONSUMER.to_owned(), 10)].into();
    facts.handled = Some(Handled { since: 1, floors, ..Handled::default() });
    let advisory = |seq, consumer: &str| Advisory {
        seq,
        consumer: consumer.into(),
        is_terminated: true,
        is_settled: true,
    };
    facts.advisories = vec![advisory(3, "sink"), advisory(3, "other"), advisory(8, "sink")];
    answer(&mut facts, &[(3, 3), (8, 8)], Vec::new(), Some("sink"));
    facts.first = 6;
    let account = audited(facts.clone());
    assert_eq!(named(&account), [(3, None, "other", 1), (8, None, "sink", 1)]);
    assert_eq!(account.sums.acknowledged, 0, "what one still misses is not done with");
    facts.advisories.remove(1);
    let account = audited(facts.clone());
    assert_eq!((named(&account), account.sums.acknowledged), (vec![(8, None, "sink", 1)], 1));
    // A hole is nobody's in particular.
    facts.gaps = vec![(9, 9)];
    answer(&mut facts, &[(9, 9)], Vec::new(), Some("sink"));
    assert_eq!(named(&audited(facts)), [(8, None, "sink", 1), (9, None, "", 1)]);
}

#[test]
fn an_answer_for_a_loss_is_for_that_one_and_for_no_more_than_it_says() {
    let mut facts = settled();
    let at = schemas::Timestamp::from_micros(70);
    let loss = Loss { from: 3, to: 8, count: 3, named: 0, since: 40, at };
    facts.losses = vec![("sink".to_owned(), loss.clone())];
    let missing = Missing { consumer: "sink".into(), from: 3, to: 8, count: 2, found: at };
    answer(&mut facts, &[], vec![missing], None);
    let account = audited(facts.clone());
    assert_eq!((named(&account), account.sums.acknowledged), (vec![(3, Some(8), "sink", 1)], 2));
    assert!(is_balanced(&account));
    facts.letter(5, "sink", TRIAL, Some(50));
    assert_eq!(named(&audited(facts.clone())), []);
    // Another one of the same consumer, or the same of another, is not meant.
    let later = Loss { at: schemas::Timestamp::from_micros(71), ..loss.clone() };
    facts.losses = vec![("sink".to_owned(), later), ("other".to_owned(), loss)];
    assert_eq!(named(&audited(facts)), [(3, Some(8), "other", 3), (3, Some(8), "sink", 2)]);
}
