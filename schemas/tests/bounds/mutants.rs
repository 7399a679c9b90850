//! Inputs made from good ones: what was recorded, and what the registry holds, with bytes flipped, cut, repeated,
//! spliced and replaced by numbers at the edge.

use proptest::prelude::*;
use schemas::cloudevents::Headers;
use schemas::codec;
use schemas::record::Version;
use schemas::{Encoding, Record, codec::Foreign};

use crate::{read, read_entry, turn, typed};

/// A change to a text of bytes.
#[derive(Debug, Clone)]
enum Change {
    Flip(usize, u8),
    Cut(usize),
    Remove(usize, usize),
    Repeat(usize, usize, usize),
    Insert(usize, Vec<u8>),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len().max(1);
        match self {
            Self::Flip(at, mask) => {
                if let Some(byte) = bytes.get_mut(at % length) {
                    *byte ^= mask;
                }
            }
            Self::Cut(at) => bytes.truncate(at % length),
            Self::Remove(at, count) => {
                let from = (at % length).min(bytes.len());
                bytes.drain(from..(from + count).min(bytes.len()));
            }
            Self::Repeat(at, count, times) => {
                let from = (at % length).min(bytes.len());
                let part = bytes[from..(from + count).min(bytes.len())].repeat(*times);
                bytes.splice(from..from, part);
            }
            Self::Insert(at, part) => {
                let from = (at % length).min(bytes.len());
                bytes.splice(from..from, part.iter().copied());
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let edge = prop::sample::select(vec![
        vec![0xff; 10],
        vec![0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        vec![0x80; 20],
        b"\"NaN\"".to_vec(),
        b"1e999".to_vec(),
        b"[[[[[[[[".to_vec(),
        b"\\ud800".to_vec(),
        b"{\"\":".to_vec(),
        vec![0xf0, 0x9f, 0x98],
    ]);
    prop_oneof![
        4 => (any::<usize>(), 1..=255_u8).prop_map(|(at, mask)| Change::Flip(at, mask)),
        1 => any::<usize>().prop_map(Change::Cut),
        1 => (any::<usize>(), 1..40_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => (any::<usize>(), 1..60_usize, 1..200_usize).prop_map(|(at, count, times)| Change::Repeat(at, count, times)),
        2 => (any::<usize>(), edge).prop_map(|(at, part)| Change::Insert(at, part)),
        1 => (any::<usize>(), prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(at, part)| Change::Insert(at, part)),
    ]
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(change(), 1..6)
}

/// A recorded message of a version in one of its encodings.
fn recorded(version: &Version, encoding: Encoding) -> Vec<u8> {
    let kind = if encoding == Encoding::Avro { "avro" } else { "json" };
    let place = format!(
        "{}/golden/{}.v{}/full.{kind}",
        env!("CARGO_MANIFEST_DIR"),
        version.record.file_name(),
        version.number
    );
    std::fs::read(place).unwrap()
}

fn versions() -> impl Strategy<Value = &'static Version> {
    prop::sample::select(Version::all().collect::<Vec<_>>())
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    changes.iter().for_each(|change| change.apply(&mut bytes));
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_changed_payload_is_read_or_refused_by_name(version in versions(), is_avro: bool, changes in changes()) {
        let _turn = turn();
        let encoding = if is_avro { Encoding::Avro } else { Encoding::Json };
        let payload = changed(recorded(version, encoding), &changes);
        let subject = version.record.subject();
        if let Ok(decoded) = read(subject, &typed(encoding.content_type()), &payload, None) {
            // What is accepted can be written and means the same again.
            let again = codec::encode(&decoded.event, Encoding::Avro).unwrap();
            let read_again = read(subject, &typed("application/avro"), &again, None).unwrap();
            prop_assert_eq!(read_again.event, decoded.event);
        }
    }

    #[test]
    fn changed_registry_entries_never_make_a_reader_fail_otherwise(
        version in versions(), entry in changes(), datum in changes(),
    ) {
        let _turn = turn();
        let text = changed(version.text.as_bytes().to_vec(), &entry);
        let text = String::from_utf8_lossy(&text);
        let _ = read_entry(version.fingerprint, &text);
        // A schema that is still one is used under its own fingerprint, on data that was changed as well.
        if let Ok(parsed) = schemas::shape::parse(&text) {
            let mut payload = recorded(version, Encoding::Avro);
            payload[2..10].copy_from_slice(&parsed.fingerprint.0);
            let subject = version.record.subject();
            drop(read(subject, &typed("application/avro"), &payload, Some(&text)));
            let tail = changed(payload.split_off(10), &datum);
            payload.extend(tail);
            drop(read(subject, &typed("application/avro"), &payload, Some(&text)));
        }
    }

    #[test]
    fn changed_envelopes_and_headers_are_read_or_refused_by_name(
        changes in changes(),
        headers in prop::collection::vec(("(ce-|Nats-|nats-|CE-)?[a-zA-Z-]{0,12}|ce-type|ce-specversion|Content-Type", "[ -~]{0,12}(%[0-9a-fA-F]{0,2})?[ -~é]{0,3}"), 0..6),
        record in prop::sample::select(Record::ALL.to_vec()),
    ) {
        let _turn = turn();
        let structured = format!(
            "{{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/x\",\"type\":\"{}\",\"datacontenttype\":\"application/json\",\"data\":{}}}",
            record.ce_type(),
            String::from_utf8(recorded(record.latest(), Encoding::Json)).unwrap(),
        );
        let payload = changed(structured.clone().into_bytes(), &changes);
        drop(read(record.subject(), &typed("application/cloudevents+json"), &payload, None));
        let mut all = Headers(headers);
        drop(read(record.subject(), &all, &recorded(record.latest(), Encoding::Json), None));
        all.push("Content-Type", "application/cloudevents+json");
        drop(read(record.subject(), &all, structured.as_bytes(), None));
    }

    #[test]
    fn bytes_from_nowhere_are_refused_by_name(payload in prop::collection::vec(any::<u8>(), 0..400), record in prop::sample::select(Record::ALL.to_vec())) {
        let _turn = turn();
        for kind in ["application/json", "application/avro", "application/cloudevents+json"] {
            drop(read(record.subject(), &typed(kind), &payload, None));
        }
        let mut framed = vec![0xc3, 0x01];
        framed.extend(record.fingerprint().0);
        framed.extend(&payload);
        drop(read(record.subject(), &typed("application/avro"), &framed, None));
        let text = String::from_utf8_lossy(&payload);
        drop(Foreign::read(record.fingerprint(), &text));
    }
}
