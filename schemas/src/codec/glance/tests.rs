use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::codec::{Decoded, decode, encode};
use crate::event::{MetricReported, TrialReported, TrialStatus};
use crate::headers::Headers;
use crate::{Event, Failure, FailureClass, Json, Real, RunId, Stage, Timestamp, TrialId};

const TRIAL: &str = "ml.run.trial";
const METRIC: &str = "ml.run.metric";

fn json_headers() -> Headers {
    let mut headers = Headers::default();
    headers.push(header::CONTENT_TYPE, "application/json");
    headers.push(header::MESSAGE_ID, "r/1/t");
    headers.push("ce-specversion", "1.0");
    headers
}

/// What an ordinary trial has.
fn trial() -> Value {
    json!({
        "trial_id": "r-t00001", "run_id": "r", "status": "succeeded", "number": 1, "attempt": 2, "pulse_id": null,
        "candidate_id": "9e37", "parent_ids": ["a", "b\u{1}"], "metrics": {"accuracy": 0.5, "loss": -3, "f1": 1e-7},
        "parameters": {"layers": [8, {"deep": [null, true, "é\""]}], "lr": 0.1}, "artifact_uri": "nats://b/x",
        "artifact_refs": [], "duration_ms": 12, "rank": 1, "warnings": ["slow"], "failure": null,
        "spectral_norm": true, "spectral_norm_value": 1.5, "seed": 7, "started_at": "2026-01-31T12:00:00.5Z",
        "finished_at": "2026-02-28T23:59:59+01:00", "worker_id": "w", "mlflow_run_id": null
    })
}

fn metric() -> Value {
    json!({
        "run_id": "r", "trial_id": "r-t00001", "name": "loss", "value": 0.25, "step": 3,
        "recorded_at": "2026-01-31T12:00:00Z", "attempt": 1
    })
}

fn seen<'a>(subject: &str, text: &'a str) -> Option<(&'a str, Option<u32>)> {
    glance(subject, &json_headers(), text.as_bytes()).map(|seen| (seen.run_id, seen.attempt))
}

/// Holds a glance against what reading says; true when it took the event.
fn is_taken_rightly(subject: &str, headers: &Headers, payload: &[u8]) -> bool {
    let Some(seen) = glance(subject, headers, payload) else { return false };
    let read = decode(subject, headers, payload);
    let Ok(Decoded { event, unknown_fields, .. }) = read else {
        panic!("{read:?} {:?}", String::from_utf8_lossy(payload))
    };
    assert_eq!(seen.record, event.record());
    assert_eq!((Some(seen.run_id), seen.attempt), (event.run_id().map(RunId::as_str), event.attempt()));
    assert!(unknown_fields.is_empty(), "{unknown_fields:?}");
    true
}

#[test]
fn an_ordinary_trial_and_an_ordinary_value_are_taken_at_a_glance() {
    assert_eq!(seen(TRIAL, &trial().to_string()), Some(("r", Some(2))));
    assert_eq!(seen(METRIC, &metric().to_string()), Some(("r", Some(1))));
    let least = r#"{"trial_id":"t","run_id":"r","status":"failed"}"#;
    assert_eq!(seen(TRIAL, least), Some(("r", None)));
    for (subject, text) in
        [(TRIAL, trial().to_string()), (METRIC, metric().to_string()), (TRIAL, least.into())]
    {
        assert!(is_taken_rightly(subject, &json_headers(), text.as_bytes()));
        assert!(is_taken_rightly(subject, &Headers::default(), text.as_bytes()), "without any headers");
    }
}

#[test]
fn what_our_own_writers_write_is_taken_at_a_glance() {
    let run = RunId::parse("r").unwrap();
    let at = Timestamp::from_micros(1_769_860_800_123_456);
    let trial = TrialReported {
        number: Some(3),
        attempt: Some(1),
        metrics: [("loss".to_owned(), Real(0.1))].into(),
        parameters: Json(json!({"lr": 0.1})),
        started_at: Some(at),
        finished_at: Some(at),
        ..TrialReported::new(run.clone(), TrialId::numbered(&run, 3), TrialStatus::Pruned)
    };
    let value = MetricReported {
        trial_id: trial.trial_id.clone(),
        run_id: run,
        name: "loss".into(),
        value: Real(0.1),
        step: 3,
        recorded_at: at,
        attempt: Some(1),
    };
    for event in [Event::from(trial), value.into()] {
        let payload = encode(&event, Encoding::Json).unwrap();
        assert!(is_taken_rightly(event.record().subject(), &json_headers(), &payload), "{event:?}");
    }
}

#[test]
fn what_cannot_be_read_or_has_more_than_is_known_is_not_taken() {
    let spoilt = |field: &str, value: Value| {
        let mut trial = trial();
        trial[field] = value;
        trial.to_string()
    };
    let many: serde_json::Map<String, Value> = (0..2001).map(|at| (format!("m{at}"), json!(1))).collect();
    for text in [
        spoilt("trial_id", json!("a/b")),
        spoilt("run_id", json!("")),
        spoilt("run_id", json!(["r"])),
        spoilt("status", json!("done")),
        spoilt("status", json!({"failed": null})),
        spoilt("attempt", json!(0)),
        spoilt("attempt", json!(-1)),
        spoilt("number", json!(4_294_967_296_u64)),
        spoilt("number", json!(1.0)),
        spoilt("metrics", json!({"": 1})),
        spoilt("metrics", json!({"loss": "low"})),
        spoilt("metrics", json!({"loss": null})),
        spoilt("metrics", json!(many)),
        spoilt("metrics", json!(["loss", 1])),
        spoilt("parent_ids", json!("a")),
        spoilt("parent_ids", Value::Null),
        spoilt("parent_ids", json!(vec!["p"; 2001])),
        spoilt("parameters", json!([1])),
        spoilt("duration_ms", json!(-1)),
        spoilt("spectral_norm", Value::Null),
        spoilt("failure", json!([])),
        spoilt("artifact_refs", json!({})),
        spoilt("artifact_refs", json!([null])),
        spoilt("started_at", json!("2026-02-29T12:00:00Z")),
        spoilt("started_at", json!("yesterday")),
        spoilt("started_at", json!(1_769_860_800)),
        spoilt("surprise", json!(1)),
        trial().to_string().replace("0.5,", "1e999,"),
        trial().to_string().replace("\"9e37\"", "\"\\ud800\""),
        trial().to_string().replace("\"9e37\"", "\"\u{1}\""),
        trial().to_string().replace("\"slow\"", "\"\\x\""),
        trial().to_string().replacen('{', "{\"rank\":1,", 1),
        format!("{} x", trial()),
        format!("[{}]", trial()),
        r#"["t","r","succeeded"]"#.to_owned(),
    ] {
        assert_eq!(seen(TRIAL, &text), None, "{text}");
        let read = decode(TRIAL, &json_headers(), text.as_bytes());
        assert!(read.is_err() || text.contains("surprise"), "{text}");
    }
    let text = trial().to_string();
    let [mut typed, mut commanded, mut renamed] = [json_headers(), json_headers(), json_headers()];
    typed.push("content-TYPE", "image/png");
    commanded.push("Nats-Rollup", "sub");
    renamed.push("ce-type", "ml.run.metric.v1");
    for headers in [typed, commanded, renamed] {
        assert_eq!(glance(TRIAL, &headers, text.as_bytes()), None, "{headers:?}");
    }
    for subject in [METRIC, "ml.run.start", "ml.run.trial.more", ""] {
        assert_eq!(seen(subject, &text), None, "{subject}");
    }
    assert_eq!(glance(TRIAL, &json_headers(), b"\xff{"), None);
    assert_eq!(glance(TRIAL, &json_headers(), b""), None);
}

#[test]
fn what_has_a_form_of_its_own_is_left_to_reading() {
    let mut with_failure = trial();
    let failure = Failure::new(FailureClass::Oom, Stage::Execute, "killed");
    with_failure["failure"] = serde_json::to_value(failure).unwrap();
    let mut strange = trial();
    strange["metrics"] = json!({"loss": "NaN", "é": 1});
    let mut long = trial();
    long["warnings"] = json!(["w".repeat(MAX_BYTES)]);
    let escaped = trial().to_string().replace("\"run_id\":\"r\"", "\"run_id\":\"\\u0072\"");
    for text in [with_failure.to_string(), strange.to_string(), long.to_string(), escaped] {
        assert_eq!(seen(TRIAL, &text), None);
        decode(TRIAL, &json_headers(), text.as_bytes()).unwrap();
    }
}

/// What is put in the place of a few bytes.
fn snippet() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "null",
        "-1",
        "0",
        "1e999",
        "-0.0",
        "1E400",
        "\"NaN\"",
        "\"\\ud800\"",
        "[",
        "]",
        "{}",
        "[]",
        "}",
        "{",
        ",",
        "\"\"",
        "\\",
        "\\u0000",
        "\"a\":1,",
        "\"attempt\":7,",
        "\"metrics\":{},",
        "true",
        "18446744073709551616",
        "99999999999999999999",
        "\u{e9}",
        " ",
        "\t",
        "T24:00:00Z",
        "60",
        "-00:00",
        ".1234567890123",
    ];
    prop_oneof![
        3 => prop::sample::select(known.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..3),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn whatever_is_taken_at_a_glance_is_read_as_the_same(
        is_trial: bool,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize, snippet()), 0..4),
    ) {
        let (subject, event) = if is_trial { (TRIAL, trial()) } else { (METRIC, metric()) };
        let mut payload = event.to_string().into_bytes();
        for (at, removed, put) in edits {
            let from = at.index(payload.len() + 1);
            let to = (from + removed).min(payload.len());
            payload.splice(from..to, put);
        }
        is_taken_rightly(subject, &json_headers(), &payload);
    }

    #[test]
    fn a_value_of_another_kind_is_never_taken_wrongly(
        field in any::<prop::sample::Index>(),
        value in prop::sample::select(vec![
            json!(null), json!(true), json!(-1), json!(0), json!(1.5), json!(5_000_000_000_u64), json!("r"),
            json!("2026-12-31T23:59:60Z"), json!("0000-01-01T00:00:00Z"), json!([]), json!(["r"]), json!({}),
            json!({"r": 1}), json!({"r": [{}]}), json!([[[[[[[[[[1]]]]]]]]]]),
        ]),
        is_trial: bool,
        is_removed: bool,
    ) {
        let (subject, mut event) = if is_trial { (TRIAL, trial()) } else { (METRIC, metric()) };
        let members = event.as_object_mut().unwrap();
        let name = members.keys().nth(field.index(members.len())).unwrap().clone();
        if is_removed { members.remove(&name); } else { members.insert(name, value); }
        is_taken_rightly(subject, &json_headers(), event.to_string().as_bytes());
    }
}
