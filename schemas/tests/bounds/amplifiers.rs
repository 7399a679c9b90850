//! Inputs chosen to become as large as possible: few bytes that ask for much memory.

use schemas::Record;

use crate::{read, read_entry, turn, typed};

const MEGABYTE: usize = 1 << 20;
/// The largest payload that is looked at, and one in the size where nothing is weighed.
const SIZES: [usize; 3] = [64 * 1024, codec_limit(), MEGABYTE];

const fn codec_limit() -> usize {
    schemas::codec::MAX_EVENT_BYTES
}

/// `unit` as often as it fits between head and tail.
fn filled(head: &str, unit: &str, tail: &str, size: usize) -> String {
    let times = (size - head.len() - tail.len()) / unit.len();
    format!("{head}{}{tail}", unit.repeat(times))
}

#[test]
fn json_that_becomes_large_values_is_refused_or_small() {
    let _turn = turn();
    let units = [
        "0,",
        "[],",
        "[0],",
        "{},",
        "{\"\":0},",
        "{\"a\":{\"b\":0}},",
        "\"\",",
        "[[[[0]]]],",
        "1e9,",
        "\"\\u0041\",",
    ];
    for size in SIZES {
        for unit in units {
            for head in [
                "{\"dataset_id\":\"d\",\"extra\":{\"a\":[",
                "{\"dataset_id\":\"d\",\"unknown\":[",
                "{\"dataset_id\":[",
            ] {
                let tail = if head.contains("extra") { "0]}}" } else { "0]}" };
                let payload = filled(head, unit, tail, size);
                drop(read(
                    Record::RunRequested.subject(),
                    &typed("application/json"),
                    payload.as_bytes(),
                    None,
                ));
            }
            let payload = filled(
                "{\"trial_id\":\"t\",\"run_id\":\"r\",\"status\":\"failed\",\"warnings\":[",
                unit,
                "\"\"]}",
                size,
            );
            drop(read(Record::TrialReported.subject(), &typed("application/json"), payload.as_bytes(), None));
        }
        let keys: String = (0..size / 12).map(|key| format!("\"{key:x}\":0,")).collect();
        let keys = &keys[..keys.len().min(size - 100)];
        let keys = &keys[..keys.rfind(',').unwrap()];
        for head in ["{\"dataset_id\":\"d\",\"tags\":{", "{\"dataset_id\":\"d\",\"extra\":{"] {
            let payload = format!("{head}{keys}}}}}");
            drop(read(Record::RunRequested.subject(), &typed("application/json"), payload.as_bytes(), None));
        }
        let payload =
            format!("{{\"trial_id\":\"t\",\"run_id\":\"r\",\"status\":\"failed\",\"metrics\":{{{keys}}}}}");
        drop(read(Record::TrialReported.subject(), &typed("application/json"), payload.as_bytes(), None));
    }
}

#[test]
fn json_text_inside_avro_is_weighed_as_well() {
    let _turn = turn();
    for unit in ["0,", "{\"\":0},", "[[0]],"] {
        let text = filled("{\"a\":[", unit, "0]}", 400 * 1024);
        let mut payload = framed(Record::RunCancelRequested);
        payload.extend([2, b'r', 2]);
        payload.extend(length(text.len()));
        payload.extend(text.as_bytes());
        drop(read(Record::RunCancelRequested.subject(), &typed("application/avro"), &payload, None));
        // RunCompleted: run_id, attempt, status, two counts, two nulls, best_model.
        let mut payload = framed(Record::RunCompleted);
        payload.extend([2, b'r', 2, 2, b's', 0, 0, 0, 0]);
        payload.extend(length(text.len()));
        payload.extend(text.as_bytes());
        payload.extend([4, b'[', b']', 0, 0]);
        let error =
            read(Record::RunCompleted.subject(), &typed("application/avro"), &payload, None).unwrap_err();
        assert!(error.reason.contains("memory"), "{}", error.reason);
    }
}

fn framed(record: Record) -> Vec<u8> {
    let mut payload = vec![0xc3, 0x01];
    payload.extend(record.fingerprint().0);
    payload
}

fn length(mut count: usize) -> Vec<u8> {
    count <<= 1;
    let mut bytes = Vec::new();
    while count >= 0x80 {
        bytes.push((count & 0x7f) as u8 | 0x80);
        count >>= 7;
    }
    bytes.push(count as u8);
    bytes
}

#[test]
fn avro_collections_of_any_claimed_length_take_little() {
    let _turn = turn();
    // trial_id, run_id, status, then number to candidate_id null, then parent_ids.
    let head = [2, b't', 2, b'r', 0, 0, 0, 0, 0];
    for claimed in [1, 1000, 65_000, 65_536, 300_000, 500_000, 1 << 24, 1 << 40, usize::MAX >> 2] {
        for unit in [&[0_u8][..], &[2, b'a'], &[4, b'a', b'b']] {
            for size in SIZES {
                let mut payload = framed(Record::TrialReported);
                payload.extend(head);
                payload.extend(length(claimed));
                while payload.len() + unit.len() < size {
                    payload.extend(unit);
                }
                drop(read(Record::TrialReported.subject(), &typed("application/avro"), &payload, None));
            }
        }
    }
    let mut many_blocks = framed(Record::TrialReported);
    many_blocks.extend(head);
    many_blocks.resize(codec_limit(), 2);
    drop(read(Record::TrialReported.subject(), &typed("application/avro"), &many_blocks, None));
}

#[test]
fn envelopes_that_hold_envelopes_and_long_headers_take_little() {
    let _turn = turn();
    let structured = typed("application/cloudevents+json");
    for size in SIZES {
        let text = filled(
            "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/x\",\"type\":\"ml.run.trial.v1\",\"data_base64\":\"",
            "AAAA",
            "\"}",
            size,
        );
        drop(read(Record::TrialReported.subject(), &structured, text.as_bytes(), None));
        let text = filled(
            "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/x\",\"type\":\"ml.run.trial.v1\",\"data\":",
            "[",
            "",
            size,
        );
        drop(read(Record::TrialReported.subject(), &structured, text.as_bytes(), None));
        let text = filled("{", "\"a\":{},", "\"b\":0}", size);
        drop(read(Record::TrialReported.subject(), &structured, text.as_bytes(), None));
        let mut headers = typed("application/json");
        headers.push("ce-source", "%41".repeat(size / 3));
        drop(read(Record::TrialReported.subject(), &headers, b"{}", None));
    }
}

#[test]
fn registry_entries_of_any_shape_take_little() {
    let _turn = turn();
    let print = Record::TrialReported.fingerprint();
    let field = "{\"name\":\"a\",\"type\":\"null\"},";
    for size in [60 * 1024, MEGABYTE] {
        let entries = [
            filled("", "[", "", size),
            filled(
                "{\"type\":\"record\",\"name\":\"cerebros.events.A\",\"fields\":[",
                field,
                "{\"name\":\"b\",\"type\":\"null\"}]}",
                size,
            ),
            filled("[", "\"null\",", "\"long\"]", size),
            filled("{\"type\":\"enum\",\"name\":\"a.B\",\"symbols\":[", "\"a\",", "\"b\"]}", size),
            filled("", "{\"type\":\"array\",\"items\":", "\"long\"", size),
            filled("{\"type\":\"array\",\"items\":\"", "x", "\"}", size),
            filled(
                "{\"type\":\"record\",\"name\":\"a.R\",\"fields\":[{\"name\":\"f\",\"type\":\"long\",\"default\":[",
                "[],",
                "0]}]}",
                size,
            ),
        ];
        for text in entries {
            assert!(!read_entry(print, &text));
        }
    }
}

#[test]
fn a_large_type_that_is_used_again_and_again_takes_little() {
    let _turn = turn();
    let symbols: Vec<String> = (0..4000).map(|number| format!("\"a{number:x}\"")).collect();
    let list = format!("[{}0]", "0,".repeat(14_000));
    for large in [
        format!("\"type\":\"enum\",\"symbols\":[{}]", symbols.join(",")),
        format!("\"type\":\"record\",\"fields\":[],\"doc\":\"{}\"", "d".repeat(30_000)),
        format!(
            "\"type\":\"record\",\"fields\":[{{\"name\":\"x\",\"type\":{{\"type\":\"array\",\"items\":\"int\"}},\"default\":{list}}}]"
        ),
    ] {
        let again: String =
            (0..600).map(|field| format!(",{{\"name\":\"f{field}\",\"type\":\"L\"}}")).collect();
        let text = format!(
            "{{\"type\":\"record\",\"name\":\"cerebros.events.A\",\"fields\":[{{\"name\":\"f\",\"type\":{{\"name\":\"L\",{large}}}}}{again}]}}"
        );
        assert!(!read_entry(Record::TrialReported.fingerprint(), &text));
    }
}
