//! Writers this build was not made with: newer ones, and hostile ones.

use schemas::cloudevents::{Headers, header};
use schemas::codec::{self, Foreign, foreign_fingerprint};
use schemas::event::{TrialReported, TrialStatus};
use schemas::record::Fingerprint;
use schemas::{Encoding, Event, FailureClass, Record, RunId, TrialId, shape};
use serde_json::{Value, json};

const TRIAL: &str = "ml.run.trial";

fn headers() -> Headers {
    Headers(vec![(header::CONTENT_TYPE.into(), Encoding::Avro.content_type().into())])
}

fn ours() -> Value {
    serde_json::from_str(Record::TrialReported.latest().text).unwrap()
}

/// Our schema with other fields in front, between and behind, as a later version might have them.
fn newer() -> String {
    let mut schema = ours();
    let fields = schema["fields"].as_array_mut().unwrap();
    fields.insert(0, json!({"name": "first", "type": ["null", "string"], "default": null, "doc": "d"}));
    fields.insert(5, json!({"name": "tree", "doc": "d", "default": [], "type": {"type": "array", "items":
        {"type": "record", "name": "Node", "fields": [{"name": "weights", "type": {"type": "map", "values": "float"}}]}}}));
    fields.push(json!({"name": "last", "type": "bytes", "default": "", "doc": "d"}));
    schema.to_string()
}

fn fingerprint_of(text: &str) -> Fingerprint {
    shape::parse(text).unwrap().fingerprint
}

fn trial() -> TrialReported {
    let run = RunId::parse("r").unwrap();
    let mut trial = TrialReported::new(run.clone(), TrialId::numbered(&run, 3), TrialStatus::Succeeded);
    trial.metrics.insert("loss".into(), f64::NAN.into());
    trial.number = Some(3);
    trial
}

/// What the newer writer writes: the old value in the middle of the new fields.
fn written_by_newer() -> (Fingerprint, Vec<u8>, usize) {
    let fingerprint = fingerprint_of(&newer());
    let old = codec::encode(&trial().into(), Encoding::Avro).unwrap()[10..].to_vec();
    // trial_id, run_id and status precede field 5 of the newer schema; number does as well.
    let mut bytes = vec![0xc3, 0x01];
    bytes.extend(fingerprint.0);
    bytes.extend([2, 2, b'x']);
    let split = 1 + "r-t00003".len() + 2 + 1 + 2;
    bytes.extend(&old[..split]);
    // One block of one node with one weight, its size given as some writers do.
    bytes.extend([1, 16, 2, 2, b'k', 0, 0, 128, 63, 0, 0]);
    bytes.extend(&old[split..]);
    let ends = bytes.len();
    bytes.extend([4, 1, 2]);
    (fingerprint, bytes, ends)
}

#[test]
fn an_event_of_a_newer_writer_is_read_with_our_own_schema() {
    let (fingerprint, bytes, _) = written_by_newer();
    assert_eq!(foreign_fingerprint(&headers(), &bytes), Some(fingerprint));
    let foreign = Foreign::read(fingerprint, &newer());
    assert!(foreign.is_readable());
    let decoded = codec::decode_with(TRIAL, &headers(), &bytes, Some(&foreign)).unwrap();
    assert_eq!(decoded.event, Event::from(trial()));
}

#[test]
fn an_event_of_a_newer_writer_that_ends_early_is_refused_at_every_byte() {
    let (fingerprint, bytes, _) = written_by_newer();
    let foreign = Foreign::read(fingerprint, &newer());
    for end in 0..bytes.len() {
        let error = codec::decode_with(TRIAL, &headers(), &bytes[..end], Some(&foreign)).unwrap_err();
        assert_eq!(error.class, FailureClass::Decode, "{end}: {}", error.reason);
    }
}

#[test]
fn a_fingerprint_nobody_knows_is_a_class_of_its_own_and_says_what_to_do() {
    let (_, bytes, _) = written_by_newer();
    let error = codec::decode(TRIAL, &headers(), &bytes).unwrap_err();
    assert_eq!(error.class, FailureClass::SchemaUnknown);
    assert!(error.reason.contains("replay"), "{}", error.reason);
    let text =
        ours().to_string().replace("A trial ended.", "other words").replace("mlflow_run_id", "mlflow_run");
    let other = Foreign::read(fingerprint_of(&text), &text);
    assert!(other.is_readable());
    let error = codec::decode_with(TRIAL, &headers(), &bytes, Some(&other)).unwrap_err();
    assert_eq!(error.class, FailureClass::SchemaUnknown);
}

fn refused(text: &str) -> (FailureClass, String) {
    let (_, bytes, _) = written_by_newer();
    let fingerprint = foreign_fingerprint(&headers(), &bytes).unwrap();
    let foreign = Foreign::read(fingerprint, text);
    let error = codec::decode_with(TRIAL, &headers(), &bytes, Some(&foreign)).unwrap_err();
    (error.class, error.reason)
}

#[test]
fn a_registry_entry_that_is_not_what_its_key_says_is_refused() {
    for (text, words) in [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("{\"type\": \"nonsense\"}", "schema-unreadable"),
        (Record::TrialReported.latest().text, "has the fingerprint"),
        (&"[".repeat(100), "not JSON"),
        (&format!("\"{}\"", "a".repeat(70_000)), "schema-too-large"),
    ] {
        let (class, reason) = refused(text);
        assert_eq!(class, FailureClass::SchemaUnknown, "{reason}");
        assert!(reason.contains(words), "{reason}");
    }
}

/// The verdict on a schema by its own fingerprint, with a datum of no bytes.
fn verdict(schema: &Value) -> (FailureClass, String) {
    let text = schema.to_string();
    let avro = apache_avro::Schema::parse_str(&text).unwrap();
    let print = avro.fingerprint::<apache_avro::rabin::Rabin>().bytes;
    let fingerprint = Fingerprint(print.try_into().unwrap());
    let mut bytes = vec![0xc3, 0x01];
    bytes.extend(fingerprint.0);
    let foreign = Foreign::read(fingerprint, &text);
    let error = codec::decode_with(TRIAL, &headers(), &bytes, Some(&foreign)).unwrap_err();
    (error.class, error.reason)
}

#[test]
fn hostile_schemas_are_refused_by_rule() {
    let list = json!({"type": "record", "name": "List", "namespace": "a", "fields": [
        {"name": "next", "type": ["null", "List"]}]});
    let nothing = json!({"type": "record", "name": "Many", "namespace": "a", "fields": [
        {"name": "nothing", "type": {"type": "array", "items": "null"}}]});
    let huge = json!({"type": "record", "name": "Huge", "namespace": "a", "fields": [
        {"name": "block", "type": {"type": "fixed", "name": "Block", "size": 1_u64 << 40}}]});
    let mut laughs =
        json!({"type": "record", "name": "L0", "namespace": "a", "fields": [{"name": "x", "type": "long"}]});
    for level in 1..16 {
        laughs = json!({"type": "record", "name": format!("L{level}"), "namespace": "a", "fields": [
            {"name": "a", "type": laughs}, {"name": "b", "type": format!("L{}", level - 1)}]});
    }
    let stranger = json!({"type": "record", "name": "Stranger", "namespace": "elsewhere", "fields": []});
    for (schema, rule) in [
        (&list, "recursive-type"),
        (&nothing, "type-unsupported"),
        (&huge, "type-unsupported"),
        (&laughs, "schema-too-large"),
        (&stranger, "no record of the contract"),
    ] {
        let (class, reason) = verdict(schema);
        assert_eq!(class, FailureClass::SchemaUnknown, "{reason}");
        assert!(reason.contains(rule), "{rule}: {reason}");
    }
}

#[test]
fn a_writer_that_broke_the_contract_is_a_mismatch_that_names_the_field() {
    let mut schema = ours();
    let fields = schema["fields"].as_array_mut().unwrap();
    fields.iter_mut().find(|field| field["name"] == "metrics").unwrap()["type"]["values"] = "string".into();
    let (class, reason) = verdict(&schema);
    assert_eq!(class, FailureClass::SchemaMismatch);
    assert!(reason.contains("metrics") && reason.contains("string") && reason.contains("double"), "{reason}");
    let mut schema = ours();
    schema["fields"].as_array_mut().unwrap().retain(|field| field["name"] != "run_id");
    let (class, reason) = verdict(&schema);
    assert_eq!(class, FailureClass::SchemaMismatch);
    assert!(reason.contains("run_id"), "{reason}");
}

#[test]
fn a_foreign_schema_of_another_record_is_out_of_place() {
    let mut schema: Value = serde_json::from_str(Record::RunStarted.latest().text).unwrap();
    schema["fields"].as_array_mut().unwrap().push(json!({"name": "more", "type": "long", "default": 0}));
    let (class, reason) = verdict(&schema);
    assert_eq!(class, FailureClass::SchemaMismatch);
    assert!(reason.contains("RunStarted") && reason.contains("TrialReported"), "{reason}");
}

#[test]
fn a_union_whose_branches_all_fit_is_read_as_the_plain_type() {
    let cancel = Record::RunCancelRequested;
    let text = cancel.latest().text.replacen("\"type\": \"string\"", "\"type\": [\"string\"]", 1);
    let fingerprint = fingerprint_of(&text);
    let foreign = Foreign::read(fingerprint, &text);
    assert!(foreign.is_readable());
    // The reason looks like another request: lost bytes of the run's name would cancel the run "j".
    let mut bytes = [&[0xc3, 0x01], &fingerprint.0[..], &[0, 12], b"victim", b"\x02j\x02f"].concat();
    bytes.extend([b'x'; 51]);
    let decoded = codec::decode_with(cancel.subject(), &headers(), &bytes, Some(&foreign)).unwrap();
    let Event::RunCancelRequested(request) = decoded.event else { panic!("a request to cancel") };
    assert_eq!(request.run_id.as_str(), "victim");
    assert!(request.reason.unwrap().starts_with("\x02fxxx"));
}

#[test]
fn a_block_of_the_smallest_number_is_refused_and_panics_nobody() {
    let oldest = &Record::TrialReported.versions()[0];
    // trial_id, run_id, status, then number to candidate_id null, then the first block of parent_ids.
    let mut bytes = [&[0xc3, 0x01], &oldest.fingerprint.0[..], &[2, b't', 2, b'r', 0, 0, 0, 0, 0]].concat();
    bytes.extend([0xff; 9]);
    bytes.extend([0x01, 0, 0]);
    let error = codec::decode(TRIAL, &headers(), &bytes).unwrap_err();
    assert_eq!(error.class, FailureClass::Decode);
    assert!(error.reason.contains("parent_ids"), "{}", error.reason);
}

#[test]
fn what_a_foreign_schema_lets_grow_stays_within_the_limits() {
    // A list of records of one byte each: too many of them, and such that each gains a long default.
    let with_list = |default: &str| {
        let mut schema = ours();
        let item = json!({"type": "record", "name": "ArtifactRef", "fields": [
            {"name": "uri", "type": "string"}, {"name": "media_type", "type": ["null", "string"], "default": null}]});
        let fields = schema["fields"].as_array_mut().unwrap();
        let list = fields.iter_mut().find(|field| field["name"] == "artifact_refs").unwrap();
        list["type"]["items"] = item;
        list["doc"] = default.into();
        schema.to_string()
    };
    let text = with_list("d");
    let foreign = Foreign::read(fingerprint_of(&text), &text);
    assert!(foreign.is_readable());
    let old = codec::encode(&trial().into(), Encoding::Avro).unwrap();
    let refs = old.len() - written_after_refs(&old);
    for (count, words) in [(30_000_usize, "more values"), (2_001, "artifact_refs")] {
        let mut payload = vec![0xc3, 0x01];
        payload.extend(foreign.fingerprint.0);
        payload.extend(&old[10..refs]);
        payload.extend(varint(count));
        payload.extend([0, 0].repeat(count));
        payload.extend(&old[refs..]);
        let error = codec::decode_with(TRIAL, &headers(), &payload, Some(&foreign)).unwrap_err();
        assert!(error.reason.contains(words), "{}", error.reason);
    }
}

/// Bytes of a trial from the end of its list of files on: the list itself is one byte, its end.
fn written_after_refs(payload: &[u8]) -> usize {
    // duration_ms, rank null; no warnings; no failure; no spectral norm; six nulls.
    let after = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert!(payload.ends_with(&after[..11]));
    12
}

fn varint(count: usize) -> Vec<u8> {
    let mut rest = count << 1;
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}
