use schemas::cloudevents::Headers;
use schemas::dead_letter::{MAX_REPLAYS, Place, REPLAY_OF, REPLAYS, Verdict};
use schemas::{Failure, FailureClass, Stage, Timestamp};

use super::*;
use crate::operation::Act;

fn moment(micros: i64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + micros)
}

fn letter(sequence: u64, kept_at: u64, replays: u32) -> Kept {
    let place = Place {
        stream: "CEREBROS".into(),
        sequence,
        consumer: "dlq-classifier".into(),
        subject: "cerebros.nas.run.requested".into(),
        deliveries: 1,
        first_seen: moment(0),
    };
    let original = Headers(vec![(REPLAYS.into(), replays.to_string()), (REPLAY_OF.into(), "1-aaaa".into())]);
    let failure = Failure::new(FailureClass::Decode, Stage::Decode, "not JSON");
    let verdict = Verdict::new(&place, &failure, moment(1), &original);
    Kept {
        sequence: kept_at,
        subject: verdict.kept_on(),
        time: moment(1),
        headers: verdict.headers(&original, &place.message_id()),
        payload: b"{".as_slice().into(),
        schema: None,
    }
}

fn record(operation: Operation, kept_at: u64) -> Kept {
    let payload = serde_json::to_vec(&operation).unwrap().into();
    Kept {
        sequence: kept_at,
        subject: operation.subject(),
        time: moment(9),
        headers: Headers::default(),
        payload,
        schema: None,
    }
}

fn act() -> Act {
    Act { actor: "ann@host".into(), reason: None, filter: None }
}

fn book(messages: &[Kept]) -> Book {
    let mut book = Book::default();
    messages.iter().for_each(|message| book.take(message));
    book
}

fn states(book: &Book) -> Vec<State> {
    book.entries().iter().map(|entry| entry.state).collect()
}

#[test]
fn the_state_follows_from_the_stream_alone() {
    let ids: Vec<String> =
        book(&[letter(7, 1, 0), letter(8, 2, 0)]).entries().iter().map(|e| e.id.clone()).collect();
    let replay = Replay {
        id: ids[0].clone(),
        kept_at: 1,
        sequence: 9,
        subject: "s".into(),
        message_id: "m".into(),
        edited: true,
        upcast: false,
        named_run: None,
    };
    let book = book(&[
        letter(7, 1, 0),
        letter(8, 2, 0),
        letter(9, 3, 0),
        record(Operation::replayed(&act(), moment(5), vec![replay.clone()]), 4),
        record(Operation::discarded(&act(), moment(6), vec![ids[1].clone(), "gone-0000".into()]), 5),
    ]);
    assert_eq!(states(&book), [State::Replayed, State::Discarded, State::Open]);
    assert_eq!(book.marks(&ids[0])[0].replay, Some(replay));
    assert_eq!(book.marks(&ids[1])[0].operation, Kind::Discarded);
    assert!(book.marks(&book.entries()[2].id).is_empty());
}

#[test]
fn a_message_that_died_again_after_its_last_replay_is_quarantined() {
    let book = book(&[letter(7, 1, MAX_REPLAYS - 1), letter(8, 2, MAX_REPLAYS)]);
    assert_eq!(states(&book), [State::Open, State::Quarantined]);
    assert_eq!(book.entries()[1].class, FailureClass::ReplayLoop, "it says what it is");
}

#[test]
fn a_second_dead_letter_of_one_cause_is_the_same_entry() {
    let book = book(&[letter(7, 1, 0), letter(7, 2, 0)]);
    assert_eq!(book.entries().len(), 1);
    assert_eq!(book.entries()[0].kept_at, 1);
}

#[test]
fn an_id_may_be_short_while_it_is_one_entry_s() {
    let book = book(&[letter(7, 1, 0), letter(71, 2, 0), letter(9, 3, 0)]);
    let full = book.entries()[0].id.clone();
    assert_eq!(book.find(&full).unwrap().seq, 7);
    assert_eq!(book.find("9").unwrap().seq, 9);
    assert!(matches!(book.find("7"), Err(NotOne::Ambiguous { count: 2, .. })));
    assert_eq!(book.find("8"), Err(NotOne::Unknown("8".into())));
    assert_eq!(
        book.find(""),
        Err(NotOne::Ambiguous {
            prefix: "".into(),
            count: 3,
            examples: book.entries().iter().map(|e| e.id.as_str()).collect::<Vec<_>>().join(", ")
        })
    );
}

#[test]
fn strangers_are_counted_not_trusted() {
    let stranger =
        |subject: &str| Kept { subject: subject.into(), headers: Headers::default(), ..letter(1, 1, 0) };
    let book = book(&[stranger("cerebros.dlq.decode.x"), stranger("cerebros.dlq.operation.replayed")]);
    assert!(book.entries().is_empty());
    assert_eq!(book.strangers, 2);
}
