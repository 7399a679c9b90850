use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::cloudevents::header;
use crate::event::{
    ArtifactRef, Budget, Direction, FinalStatus, MetricReported, MlRunFinalized, MlRunStarted,
    RunCancelRequested, RunCancelled, RunCompleted, RunException, RunFailed, RunInterrupted, RunRequested,
    RunStarted, TrialReported, TrialStatus,
};
use crate::{Json, Real, RunId, Timestamp, TrialId};

const REQUESTED: &str = "cerebros.nas.run.requested";

fn plain(payload: &[u8]) -> Result<Decoded, DecodeError> {
    decode(REQUESTED, &Headers::default(), payload)
}

fn typed(content_type: &str) -> Headers {
    Headers(vec![(header::CONTENT_TYPE.into(), content_type.into())])
}

fn reason(payload: &str) -> (FailureClass, Stage, String) {
    let error = plain(payload.as_bytes()).expect_err(payload);
    (error.class, error.stage, error.reason)
}

#[test]
fn a_bare_data_set_by_hand_is_a_valid_request_with_every_default() {
    let decoded = plain(br#"{"dataset_id": "digits"}"#).unwrap();
    assert_eq!(decoded.event, RunRequested::new("digits").into());
    assert!(decoded.unknown_fields.is_empty());
}

#[test]
fn unknown_fields_are_ignored_and_listed_by_path() {
    let decoded = plain(br#"{"dataset_id": "digits", "colour": 1, "budget": {"max_trails": 3}}"#).unwrap();
    assert_eq!(decoded.unknown_fields, ["colour", "budget.max_trails"]);
}

#[test]
fn an_error_names_path_expectation_and_finding() {
    let (class, stage, text) = reason(r#"{"dataset_id": "digits", "budget": {"max_trials": "six"}}"#);
    assert_eq!((class, stage), (FailureClass::Validation, Stage::Decode));
    assert!(text.contains("budget.max_trials") && text.contains("\"six\"") && text.contains("u32"), "{text}");
    let (_, _, text) = reason("{}");
    assert!(text.contains("dataset_id"), "{text}");
    let (class, stage, text) = reason(r#"{"dataset_id": "digits", "budget": {"max_trials": 0}}"#);
    assert_eq!((class, stage), (FailureClass::Validation, Stage::Validate));
    assert!(text.contains("budget.max_trials") && text.contains("found 0"), "{text}");
}

#[test]
fn garbage_is_refused_as_garbage() {
    for garbage in [&b""[..], b"{", b"hello", b"\xff\xfe", b"\xc3\x01", b"{\"dataset_id\":\"a\"} x", b"null"]
    {
        plain(garbage).unwrap_err();
    }
    assert_eq!(reason("{").0, FailureClass::Decode);
    let deep = format!("{{\"dataset_id\":\"a\",\"extra\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let (class, _, text) = reason(&deep);
    assert_eq!(class, FailureClass::Validation);
    assert!(text.contains("nested deeper than 100"), "{}", text.len());
    let wide = format!("{{\"dataset_id\":\"{}\"}}", "a".repeat(MAX_EVENT_BYTES));
    assert!(reason(&wide).2.contains("limit"));
}

#[test]
fn an_event_on_a_foreign_subject_or_with_a_foreign_type_is_refused() {
    let error = decode("ml.run.other", &Headers::default(), b"{}").unwrap_err();
    assert_eq!(error.class, FailureClass::UnsupportedSubject);
    let headers = Headers(vec![("ce-type".into(), "ml.run.trial.v1".into())]);
    let error = decode(REQUESTED, &headers, br#"{"dataset_id":"digits"}"#).unwrap_err();
    assert_eq!(error.class, FailureClass::SchemaMismatch);
    let error = decode(REQUESTED, &typed("image/png"), b"{}").unwrap_err();
    assert!(error.reason.contains("image/png"));
}

#[test]
fn a_list_is_no_record_wherever_it_stands() {
    let headers = Headers::default();
    for (subject, payload) in [
        ("cerebros.nas.run.cancel_requested", r#"["r", "why"]"#),
        (REQUESTED, r#"{"dataset_id": "d", "budget": [3]}"#),
        ("ml.run.trial", r#"{"trial_id": "t", "run_id": "r", "status": "failed", "artifact_refs": [["x"]]}"#),
        (
            "ml.run.trial",
            r#"{"trial_id": "t", "run_id": "r", "status": "failed", "failure": ["oom", "execute"]}"#,
        ),
    ] {
        let error = decode(subject, &headers, payload.as_bytes()).unwrap_err();
        assert_eq!(error.class, FailureClass::Validation, "{payload}");
        assert!(error.reason.contains("expected an object"), "{}", error.reason);
    }
    let structured = br#"["1.0", "ml.run.trial.v1", null, {"trial_id": "t"}]"#;
    let error = decode("ml.run.trial", &typed("application/cloudevents+json"), structured).unwrap_err();
    assert!(error.reason.contains("expected an object"), "{}", error.reason);
}

#[test]
fn a_symbol_is_a_name_and_nothing_that_holds_one() {
    for status in [r#"{"failed": null}"#, r#"["failed"]"#, "1", r#""Failed""#] {
        let payload = format!(r#"{{"trial_id": "t", "run_id": "r", "status": {status}}}"#);
        let error = decode("ml.run.trial", &Headers::default(), payload.as_bytes()).unwrap_err();
        assert!(error.reason.contains("status"), "{}", error.reason);
    }
}

#[test]
fn a_value_no_reader_can_take_is_not_written_either() {
    let deep = |levels: usize| {
        (0..levels).fold(serde_json::Value::Null, |inner, _| serde_json::Value::Array(vec![inner]))
    };
    let end = |levels: usize| RunCompleted {
        run_id: RunId::parse("r").unwrap(),
        attempt: 1,
        status: "succeeded".into(),
        completed_trials: 0,
        failed_trials: 0,
        best_trial_id: None,
        best_metric: None,
        best_model: Json(deep(levels)),
        population_history: Json::list(),
        duration_ms: 0,
        artifact_refs: vec![],
    };
    let readable = Event::from(end(100));
    readable.validate().unwrap();
    let bytes = encode(&readable, Encoding::Json).unwrap();
    decode(readable.record().subject(), &Headers::default(), &bytes).unwrap();
    assert!(Event::from(end(101)).validate().unwrap_err().to_string().contains("best_model"));
}

#[test]
fn a_structured_envelope_is_held_to_its_type_and_its_end() {
    let headers = typed("application/cloudevents+json");
    let text = r#"{"specversion":"1.0","id":"1","source":"/x","type":"ml.run.trial.v1","data":{"dataset_id":"iris"}}"#;
    let error = decode(REQUESTED, &headers, text.as_bytes()).unwrap_err();
    assert_eq!(error.class, FailureClass::SchemaMismatch);
    let text = text.replace("ml.run.trial", REQUESTED) + " {}";
    let error = decode(REQUESTED, &headers, text.as_bytes()).unwrap_err();
    assert!(error.reason.contains("structured mode"), "{}", error.reason);
}

#[test]
fn of_many_unknown_fields_some_are_named() {
    let fields: String = (0..100).map(|number| format!(",\"x{number}\":0")).collect();
    let decoded = plain(format!("{{\"dataset_id\":\"d\"{fields}}}").as_bytes()).unwrap();
    assert_eq!(decoded.unknown_fields.len(), json::MAX_UNKNOWN);
}

#[test]
fn structured_mode_is_understood_with_json_and_with_base64_data() {
    let text = br#"{"specversion":"1.0","id":"1","source":"/x","type":"cerebros.nas.run.requested.v1","data":{"dataset_id":"iris"}}"#;
    let decoded = decode(REQUESTED, &typed("application/cloudevents+json; charset=utf-8"), text).unwrap();
    assert_eq!(decoded.event, RunRequested::new("iris").into());
    let text = br#"{"specversion":"1.0","id":"1","source":"/x","type":"cerebros.nas.run.requested","data_base64":"eyJkYXRhc2V0X2lkIjoiaXJpcyJ9"}"#;
    let decoded = decode(REQUESTED, &typed("application/cloudevents+json"), text).unwrap();
    assert_eq!(decoded.event, RunRequested::new("iris").into());
}

#[test]
fn avro_with_a_hostile_length_or_trailing_bytes_is_refused() {
    let good = encode(&RunRequested::new("digits").into(), Encoding::Avro).unwrap();
    let headers = typed("application/avro");
    decode(REQUESTED, &headers, &good).unwrap();
    let mut trailing = good.clone();
    trailing.push(0);
    assert!(decode(REQUESTED, &headers, &trailing).unwrap_err().reason.contains("follow"));
    for cut in 0..good.len() {
        decode(REQUESTED, &headers, &good[..cut]).unwrap_err();
    }
    // run_id: branch 1, then a string that claims 2^62 bytes.
    let mut hostile = good[..10].to_vec();
    hostile.extend([2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert_eq!(decode(REQUESTED, &headers, &hostile).unwrap_err().class, FailureClass::Decode);
    let mut foreign = good.clone();
    foreign[3] ^= 1;
    assert_eq!(decode(REQUESTED, &headers, &foreign).unwrap_err().class, FailureClass::SchemaUnknown);
    let cancel = encode(
        &RunCancelRequested { run_id: RunId::parse("r").unwrap(), reason: None }.into(),
        Encoding::Avro,
    );
    assert_eq!(
        decode(REQUESTED, &headers, &cancel.unwrap()).unwrap_err().class,
        FailureClass::SchemaMismatch
    );
}

fn real() -> impl Strategy<Value = Real> {
    prop_oneof![any::<f64>(), Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(0.1)]
        .prop_map(Real)
}

fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9é_ -]{0,11}[a-z]"
}

fn key() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_-]{1,20}"
}

fn run_id() -> impl Strategy<Value = RunId> {
    key().prop_map(|text| RunId::parse(&text).unwrap())
}

fn trial_id() -> impl Strategy<Value = TrialId> {
    key().prop_map(TrialId::from_text)
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_micros)
}

fn object() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        word().prop_map(Into::into),
    ];
    let tree = leaf.prop_recursive(3, 12, 3, |inner| prop::collection::vec(inner, 0..3).prop_map(Into::into));
    prop::collection::btree_map(key(), tree, 0..4).prop_map(|map| Json(map.into_iter().collect()))
}

fn metrics() -> impl Strategy<Value = BTreeMap<String, Real>> {
    prop::collection::btree_map(key(), real(), 0..4)
}

fn failure() -> impl Strategy<Value = Failure> {
    (
        0..FailureClass::ALL.len(),
        word(),
        any::<bool>(),
        prop::option::of(any::<i32>()),
        prop::option::of(word()),
    )
        .prop_map(|(class, message, retryable, code, text)| {
            let mut failure = Failure::new(FailureClass::ALL[class], Stage::Execute, message);
            failure.retryable = retryable;
            failure.exit_code = code;
            failure.traceback = text;
            failure
        })
}

fn request() -> impl Strategy<Value = Event> {
    let head = (prop::option::of(run_id()), word(), word(), any::<Option<bool>>(), object());
    let tail = (
        (1..1000_u32, prop::option::of(1..1000_u32), -100..=100_i32),
        prop::option::of(0.1..1e9_f64),
        prop::option::of(0..i64::MAX),
        0.001..1e3_f64,
        object(),
    );
    (head, tail, prop::collection::btree_map(key(), word(), 0..3)).prop_map(
        |((run_id, dataset, objective, up, space), (counts, seconds, seed, tau, extra), tags)| {
            let (trials, max_consecutive_failures, priority) = counts;
            let budget = Budget {
                max_trials: trials,
                max_seconds: seconds.map(Real),
                parallelism: Some(trials),
                max_consecutive_failures,
                ..Budget::default()
            };
            let direction = up.map(|up| if up { Direction::Maximize } else { Direction::Minimize });
            RunRequested {
                run_id,
                objective,
                direction,
                search_space: space,
                budget,
                seed,
                tau: Real(tau),
                tags,
                extra,
                priority,
                ..RunRequested::new(dataset)
            }
            .into()
        },
    )
}

fn trial() -> impl Strategy<Value = Event> {
    let statuses = prop::sample::select(vec![
        TrialStatus::Succeeded,
        TrialStatus::Failed,
        TrialStatus::Skipped,
        TrialStatus::Cancelled,
        TrialStatus::Pruned,
    ]);
    let one = (run_id(), trial_id(), statuses, metrics(), object());
    let two = (
        any::<bool>(),
        prop::option::of(real()),
        prop::option::of(failure()),
        prop::option::of(time()),
        prop::collection::vec(word(), 0..3),
    );
    (one, two).prop_map(
        |((run, trial, status, metrics, parameters), (spectral, value, failure, at, words))| {
            let file = |word: &String| ArtifactRef {
                uri: word.clone(),
                checksum: spectral.then(|| word.clone()),
                bytes: Some(3),
                media_type: None,
            };
            TrialReported {
                artifact_refs: words.iter().map(file).collect(),
                metrics,
                parameters,
                failure,
                number: Some(3),
                attempt: Some(1),
                spectral_norm: spectral,
                spectral_norm_value: value,
                started_at: at,
                finished_at: at,
                warnings: words.clone(),
                parent_ids: words,
                duration_ms: Some(7),
                ..TrialReported::new(run, trial, status)
            }
            .into()
        },
    )
}

fn others() -> impl Strategy<Value = Event> {
    (run_id(), trial_id(), real(), time(), failure(), metrics(), object(), 0..12_u8).prop_map(
        |(run_id, trial_id, value, at, failure, metrics, json, which)| match which {
            0 => RunCancelRequested { run_id, reason: Some("x".into()) }.into(),
            1 => RunStarted {
                run_id,
                attempt: 2,
                worker_id: "w".into(),
                dataset_id: "d".into(),
                objective: "o".into(),
                resumed_trials: 4,
            }
            .into(),
            2 => RunCompleted {
                run_id,
                attempt: 1,
                status: "succeeded".into(),
                completed_trials: 4,
                failed_trials: 1,
                best_trial_id: Some("t".into()),
                best_metric: Some(value),
                best_model: json,
                population_history: Json::list(),
                duration_ms: 9,
                artifact_refs: vec![ArtifactRef {
                    uri: "nats://b/x".into(),
                    checksum: None,
                    bytes: Some(1 << 40),
                    media_type: None,
                }],
            }
            .into(),
            3 => RunFailed { run_id, attempt: 1, failure, completed_trials: 0, duration_ms: 0 }.into(),
            4 => {
                RunCancelled { run_id, attempt: 1, reason: None, completed_trials: 0, duration_ms: 0 }.into()
            }
            5 => RunInterrupted { run_id, attempt: 1, reason: None, completed_trials: 0, duration_ms: 0 }
                .into(),
            6 => MlRunStarted {
                run_id,
                timestamp: at,
                dataset_id: None,
                search_space: json.clone(),
                objective: "o".into(),
                pulse_id: None,
                budget: json.clone(),
                parameters: json.clone(),
                tau: Some(value),
                correlation_id: None,
                extra: json,
            }
            .into(),
            7 => MetricReported {
                run_id,
                trial_id,
                name: "loss".into(),
                value,
                step: 3,
                recorded_at: at,
                attempt: None,
            }
            .into(),
            8 => MlRunFinalized {
                run_id,
                status: FinalStatus::Timeout,
                timestamp: at,
                pulse_id: None,
                correlation_id: None,
                metrics,
                best_trial_id: None,
                duration_ms: Some(1),
                returncode: Some(-9),
                artifact_refs: vec![],
                warnings: vec![],
                stdout_excerpt: None,
                payload: json,
            }
            .into(),
            _ => RunException {
                run_id,
                attempt: 1,
                trial_id: Some(trial_id),
                op: None,
                failure,
                will_retry: true,
                next_attempt_in_ms: Some(5),
            }
            .into(),
        },
    )
}

proptest! {
    #[test]
    fn every_event_means_the_same_in_both_encodings(event in prop_oneof![request(), trial(), others()]) {
        let subject = event.record().subject();
        let json = encode(&event, Encoding::Json).unwrap();
        let from_json = decode(subject, &Headers::default(), &json).unwrap();
        prop_assert_eq!(&from_json.event, &event);
        prop_assert!(from_json.unknown_fields.is_empty());
        let avro = encode(&from_json.event, Encoding::Avro).unwrap();
        let from_avro = decode(subject, &typed("application/avro"), &avro).unwrap();
        prop_assert_eq!(&from_avro.event, &event);
        prop_assert_eq!(encode(&from_avro.event, Encoding::Json).unwrap(), json);
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(payload in prop::collection::vec(any::<u8>(), 0..300), avro: bool, record in 0..12_usize) {
        let record = Record::ALL[record];
        let headers = typed(if avro { "application/avro" } else { "application/json" });
        let _ = decode(record.subject(), &headers, &payload);
        let mut framed = vec![0xC3, 0x01];
        framed.extend(record.fingerprint().0);
        framed.extend(payload);
        let _ = decode(record.subject(), &typed("application/avro"), &framed);
    }
}
