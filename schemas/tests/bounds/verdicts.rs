//! Each kind of broken input and the verdict it gets.

use schemas::cloudevents::Headers;
use schemas::event::RunRequested;
use schemas::{Encoding, FailureClass, codec};

use crate::{read, turn, typed};

const REQUESTED: &str = "cerebros.nas.run.requested";

fn verdict(headers: &Headers, payload: &[u8]) -> (FailureClass, String) {
    let error = read(REQUESTED, headers, payload, None).unwrap_err();
    (error.class, error.reason)
}

fn with(name: &str, value: &str) -> (FailureClass, String) {
    let headers = Headers(vec![(name.to_owned(), value.to_owned())]);
    verdict(&headers, br#"{"dataset_id":"digits"}"#)
}

#[test]
fn every_kind_of_broken_input_has_a_verdict_of_its_own() {
    let _turn = turn();
    let good = codec::encode(&RunRequested::new("digits").into(), Encoding::Avro).unwrap();
    let avro = typed("application/avro");
    let changed = |change: fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    // run_id null, data set, objective, then the direction: branch and symbol.
    let symbol = good.windows(8).position(|part| part == b"accuracy").unwrap() + 8;
    let unknown_symbol = {
        let mut bytes = good.clone();
        bytes.splice(symbol..=symbol, [2, 80]);
        bytes
    };
    let cases: [(&str, (FailureClass, String), FailureClass, &str); 12] = [
        (
            "trailing bytes",
            verdict(&avro, &changed(|bytes| bytes.push(0))),
            FailureClass::Decode,
            "follow the value",
        ),
        ("truncated", verdict(&avro, &changed(|bytes| bytes.truncate(40))), FailureClass::Decode, "at `"),
        ("no header", verdict(&avro, b"{}"), FailureClass::Decode, "C3 01"),
        ("another marker", verdict(&avro, &changed(|bytes| bytes[1] = 2)), FailureClass::Decode, "C3 01"),
        (
            "unknown fingerprint",
            verdict(&avro, &changed(|bytes| bytes[4] ^= 1)),
            FailureClass::SchemaUnknown,
            "registry",
        ),
        ("unknown symbol", verdict(&avro, &unknown_symbol), FailureClass::Decode, "at `direction`"),
        (
            "broken percent-encoding",
            with("ce-source", "/a%2"),
            FailureClass::Decode,
            "ce-source has broken percent-encoding at byte 2",
        ),
        ("percent-encoded garbage", with("CE-Source", "%ff"), FailureClass::Decode, "percent-encoding"),
        ("control header", with("Nats-Rollup", "all"), FailureClass::Validation, "Nats-Rollup"),
        ("time to live", with("nats-ttl", "1s"), FailureClass::Validation, "nats-ttl"),
        ("specversion", with("ce-specversion", "0.3"), FailureClass::Decode, "specversion"),
        (
            "data schema",
            with("ce-dataschema", "cerebros:RunStarted:1:x"),
            FailureClass::SchemaMismatch,
            "RunStarted",
        ),
    ];
    for (name, (class, reason), expected, words) in cases {
        assert_eq!(class, expected, "{name}: {reason}");
        assert!(reason.contains(words), "{name}: {reason}");
    }
}

#[test]
fn what_a_publisher_may_ask_of_the_broker_and_what_the_broker_adds_is_no_fault() {
    let _turn = turn();
    for name in
        ["Nats-Msg-Id", "Nats-Expected-Last-Sequence", "Nats-Batch-Id", "Nats-Time-Stamp", "nats-stream"]
    {
        let headers =
            Headers(vec![(name.to_owned(), "1".to_owned()), ("ce-source".into(), "/caf%C3%A9".into())]);
        read(REQUESTED, &headers, br#"{"dataset_id":"digits"}"#, None).unwrap();
    }
}

#[test]
fn an_event_over_the_limit_is_refused_before_it_is_looked_at() {
    let _turn = turn();
    let (class, reason) = verdict(&typed("application/json"), &vec![b' '; 1 << 20]);
    assert_eq!(class, FailureClass::Validation);
    assert!(reason.contains("limit"), "{reason}");
}
