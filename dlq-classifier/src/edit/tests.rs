use schemas::event::RunRequested;
use serde_json::json;

use super::*;

const REQUESTED: &str = "cerebros.nas.run.requested";

fn message(payload: &[u8], headers: &[(&str, &str)]) -> Draft {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Draft {
        subject: REQUESTED.to_owned(),
        headers: Headers(headers),
        payload: payload.to_vec(),
        schema: None,
    }
}

fn jq(expression: &str, draft: Draft) -> Draft {
    Edit::Jq(expression.to_owned()).apply(draft, REQUESTED).unwrap()
}

#[test]
fn json_is_edited_as_json() {
    let edited = jq(
        ".budget.max_trials = 6",
        message(br#"{"dataset_id":"digits","budget":{"max_trials":"six"}}"#, &[]),
    );
    let value: Value = serde_json::from_slice(&edited.payload).unwrap();
    assert_eq!(value, json!({"dataset_id": "digits", "budget": {"max_trials": 6}}));
    assert!(edited.headers.0.is_empty(), "absent headers mean JSON");
}

#[test]
fn garbage_is_edited_as_text() {
    let edited = jq("{dataset_id: .[0:6]}", message(b"digits please", &[("Content-Type", "image/png")]));
    assert_eq!(edited.payload, br#"{"dataset_id":"digits"}"#);
    assert_eq!(edited.headers.get("content-type"), Some("application/json"));
    jq(". | length | {dataset_id: \"x\", extra: {length: .}}", message(b"\xff\xfe", &[]));
}

#[test]
fn avro_is_edited_as_json_and_goes_back_as_json() {
    let payload = codec::encode(&RunRequested::new("digits").into(), Encoding::Avro).unwrap();
    let edited = jq(".dataset_id = \"iris\"", message(&payload, &[("Content-Type", "application/avro")]));
    let decoded = codec::decode(REQUESTED, &edited.headers, &edited.payload).unwrap();
    assert_eq!(decoded.event, RunRequested::new("iris").into());
}

#[test]
fn a_patch_merges() {
    let patch = Edit::Patch(json!({"dataset_id": "iris", "budget": null}));
    let edited = patch.apply(message(br#"{"dataset_id":1,"budget":[],"tau":2}"#, &[]), REQUESTED).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&edited.payload).unwrap(),
        json!({"dataset_id": "iris", "tau": 2})
    );
}

#[test]
fn the_envelope_follows_an_edited_payload() {
    let headers =
        [("ce-type", "ml.run.trial.v1"), ("Cerebros-Run-Id", "old"), ("ce-subject", "old"), ("X", "stays")];
    let edited = jq(".run_id = \"new\"", message(br#"{"dataset_id":"digits"}"#, &headers));
    assert_eq!(edited.headers.get("ce-type"), Some("cerebros.nas.run.requested.v1"));
    assert_eq!(edited.headers.get("Cerebros-Run-Id"), Some("new"));
    assert_eq!(edited.headers.get("ce-subject"), Some("new"));
    assert_eq!(edited.headers.get("X"), Some("stays"));
    codec::decode(REQUESTED, &edited.headers, &edited.payload).unwrap();
}

#[test]
fn a_result_over_the_limit_is_refused() {
    let edit = Edit::Jq(format!("{{dataset_id: (\"x\" * {MAX_EVENT_BYTES})}}"));
    assert!(matches!(edit.apply(message(b"{}", &[]), REQUESTED), Err(EditError::TooLarge(_))));
}
