//! A second Avro library as judge: fastavro reads what one schema wrote with another, and our resolution must come to
//! the very same bytes wherever the rules say that it can be read.

use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use schemas::evolution::probe;
use schemas::record::Version;
use schemas::resolution::{MismatchKind, Resolution};
use schemas::shape::{self, Shape};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Serialize)]
struct Case {
    writer: Value,
    reader: Value,
    data: Vec<String>,
}

#[derive(Deserialize)]
struct Answer {
    writer_fingerprint: String,
    results: Vec<Option<String>>,
}

async fn ask(cases: &[Case]) -> Vec<Answer> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fixtures/avro_oracle.py");
    let mut oracle = Command::new(testkit::tests_python().await)
        .args(["-I", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = oracle.stdin.take().unwrap();
    let question = serde_json::to_vec(cases).unwrap();
    let asking = std::thread::spawn(move || stdin.write_all(&question).unwrap());
    let output = oracle.wait_with_output().unwrap();
    asking.join().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn shape_of(schema: &Value) -> Shape {
    shape::parse(&schema.to_string()).unwrap().shape
}

fn schema_of(version: &Version) -> Value {
    serde_json::from_str(version.text).unwrap()
}

/// A schema and what changes it may see, good and bad ones.
type Change = (&'static str, fn(&mut Value));

fn changes() -> Vec<Change> {
    fn fields(schema: &mut Value) -> &mut Vec<Value> {
        schema["fields"].as_array_mut().unwrap()
    }
    fn first_of<'a>(schema: &'a mut Value, kind: &str) -> Option<&'a mut Value> {
        fields(schema).iter_mut().find(|field| field["type"] == kind || field["type"]["type"] == kind)
    }
    fn retype(schema: &mut Value, from: &str, to: Value) {
        if let Some(field) = first_of(schema, from) {
            field.as_object_mut().unwrap().remove("default");
            field["type"] = to;
        }
    }
    vec![
        ("nothing", |_| {}),
        ("fields reversed", |schema| fields(schema).reverse()),
        ("first field gone", |schema| drop(fields(schema).remove(0))),
        ("last field gone", |schema| drop(fields(schema).pop())),
        ("a field with a default in front", |schema| {
            fields(schema).insert(0, json!({"name": "zz", "type": {"type": "map", "values": {"type": "array", "items": "long"}}, "default": {"a": [1, 2], "b": []}}));
        }),
        ("a field without default behind", |schema| {
            fields(schema).push(json!({"name": "zz", "type": "long"}))
        }),
        ("a record of defaults behind", |schema| {
            fields(schema).push(json!({"name": "zz", "default": {"x": 2.5}, "type": {"type": "record", "name": "Zz", "fields": [
                {"name": "x", "type": "double"}, {"name": "y", "type": ["null", "string"], "default": null},
                {"name": "z", "type": {"type": "enum", "name": "Zs", "symbols": ["p", "q"]}, "default": "q"}]}}));
        }),
        ("long to double", |schema| retype(schema, "long", json!("double"))),
        ("int to long", |schema| retype(schema, "int", json!("long"))),
        ("string to bytes", |schema| retype(schema, "string", json!("bytes"))),
        ("string to long", |schema| retype(schema, "string", json!("long"))),
        ("string to optional", |schema| retype(schema, "string", json!(["null", "string"]))),
        ("long to a union with double", |schema| retype(schema, "long", json!(["null", "double"]))),
        ("long to a union that a long can read", |schema| retype(schema, "long", json!(["int", "long"]))),
        ("double to a union that a double can read", |schema| {
            retype(schema, "double", json!(["float", "double"]))
        }),
        ("map of doubles to map of strings", |schema| {
            retype(schema, "map", json!({"type": "map", "values": "string"}));
        }),
        ("array to map", |schema| retype(schema, "array", json!({"type": "map", "values": "string"}))),
        ("enum loses its last symbol", |schema| {
            if let Some(field) = first_of(schema, "enum") {
                field["type"]["symbols"].as_array_mut().unwrap().pop();
            }
        }),
        ("enum gains a symbol in front and a default", |schema| {
            if let Some(field) = first_of(schema, "enum") {
                let symbols = field["type"]["symbols"].as_array_mut().unwrap();
                let last = symbols.last().unwrap().clone();
                symbols.insert(0, json!("brand_new"));
                field["type"]["default"] = last;
            }
        }),
        ("optional becomes plain", |schema| {
            if let Some(field) = fields(schema).iter_mut().find(|field| field["type"].is_array()) {
                field["type"] = field["type"][1].clone();
                field.as_object_mut().unwrap().remove("default");
            }
        }),
    ]
}

/// Every version beside every version of its record, and beside each change of itself, in both directions.
fn pairs() -> Vec<(String, Value, Value)> {
    let mut pairs = Vec::new();
    for version in Version::all() {
        let schema = schema_of(version);
        let name = format!("{} v{}", version.record.name(), version.number);
        for other in version.record.versions() {
            pairs.push((format!("{name}, v{}", other.number), schema.clone(), schema_of(other)));
        }
        for (change, apply) in changes() {
            let mut changed = schema.clone();
            apply(&mut changed);
            // Writing again what it has read, fastavro cannot tell the numbers of such a union apart.
            if !change.contains("a union that") {
                pairs.push((format!("{name}, read with {change}"), schema.clone(), changed.clone()));
            }
            pairs.push((format!("{name}, written with {change}"), changed, schema.clone()));
        }
    }
    pairs
}

#[tokio::test]
async fn wherever_we_can_read_fastavro_reads_the_same_and_wherever_we_cannot_it_cannot() {
    let pairs = pairs();
    let cases: Vec<Case> = pairs
        .iter()
        .map(|(_, writer, reader)| {
            let data = probe::encoded_samples(&shape_of(writer))
                .into_iter()
                .map(|datum| BASE64_STANDARD.encode(datum));
            Case { writer: writer.clone(), reader: reader.clone(), data: data.collect() }
        })
        .collect();
    let (mut readable, mut unreadable) = (0, 0);
    for (((name, writer, reader), case), answer) in pairs.iter().zip(&cases).zip(ask(&cases).await) {
        let written: u64 = u64::from_str_radix(&answer.writer_fingerprint, 16).unwrap();
        let ours = shape::parse(&writer.to_string()).unwrap().fingerprint;
        assert_eq!(written.to_be_bytes(), ours.0, "{name}: the fingerprint of the specification");
        match Resolution::new(&shape_of(writer), &shape_of(reader)) {
            Ok(resolution) => {
                readable += 1;
                for (datum, theirs) in case.data.iter().zip(&answer.results) {
                    let resolved = resolution.resolve(&BASE64_STANDARD.decode(datum).unwrap()).unwrap();
                    let theirs =
                        theirs.as_ref().unwrap_or_else(|| panic!("{name}: only we can read {datum}"));
                    assert_eq!(&BASE64_STANDARD.encode(resolved), theirs, "{name}: {datum}");
                }
            }
            // Where the types fit and only the meaning does not, fastavro has no objection.
            Err(mismatches) if mismatches.iter().any(|miss| miss.kind == MismatchKind::LogicalType) => {}
            Err(mismatches) => {
                unreadable += 1;
                assert!(
                    answer.results.iter().any(Option::is_none),
                    "{name}: only we cannot read it: {mismatches:?}"
                );
            }
        }
    }
    assert!(
        readable > 150 && unreadable > 80,
        "{readable} readable, {unreadable} unreadable: too few of one kind"
    );
}
