//! The catalogue: what is kept in the repository is what this build writes, and every example in it is true.

use std::path::{Path, PathBuf};

use jsonschema::Validator;
use schemas::cloudevents::Headers;
use schemas::record::Version;
use schemas::{Record, codec};
use serde_json::{Value, json};
use testkit::Scratch;

use crate::program::{output, program, stderr, stdout};

/// Top of the checkout.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

async fn export(arguments: &[&str]) -> String {
    let scratch = Scratch::new();
    let found = output(program(scratch.path(), &[&["schemas", "export"], arguments].concat())).await;
    assert!(found.status.success(), "{}", stderr(&found));
    stdout(&found)
}

async fn assert_is_kept(language: &str, place: &str) {
    let kept = std::fs::read_to_string(workspace().join(place)).unwrap_or_default();
    assert!(
        kept == export(&["--format", language]).await,
        "{place} is not what this build writes; run: cargo run -p cerebros -- schemas export --format {language} > {place}"
    );
}

#[tokio::test]
async fn the_catalogue_in_the_repository_is_what_this_build_writes() {
    assert_is_kept("markdown", "docs/reference/events.md").await;
    assert_is_kept("mlflow-mapping", "docs/reference/mlflow-mapping.md").await;
    assert_is_kept("asyncapi", "docs/reference/asyncapi.yaml").await;
}

/// The parser does not hold the examples of version 3 against their schemas; the next test does.
#[tokio::test]
async fn the_asyncapi_document_passes_the_official_parser() {
    let document = testkit::workspace().join("docs/reference/asyncapi.yaml");
    let validator = testkit::asyncapi_validator().await;
    let output = validator.command("validate.mjs").arg(document).output().await.unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // The document is 3.0.0 on purpose, which the parser mentions.
    let is_expected = |line: &str| line.contains("asyncapi-latest-version") || line.contains("no errors");
    assert!(said.lines().all(is_expected), "{said}");
}

#[tokio::test]
async fn every_example_in_the_asyncapi_document_fits_its_message() {
    let document: Value = serde_saphyr::from_str(&export(&["--format", "asyncapi"]).await).unwrap();
    let messages = &document["components"]["messages"];
    for record in Record::ALL {
        let message = &messages[record.name()];
        for part in ["payload", "headers"] {
            let schema = json!({"allOf": [message[part]], "components": document["components"]});
            let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
            for example in message["examples"].as_array().unwrap() {
                let Some(value) = example.get(part) else { continue };
                let errors: Vec<String> =
                    validator.iter_errors(value).map(|error| error.to_string()).collect();
                assert_eq!(errors, Vec::<String>::new(), "{} of {}", part, record.name());
            }
            assert!(!validator.is_valid(&json!(3)), "the schema of {} says something", record.name());
        }
        assert!(is_decoded(record, &message["examples"][0]["payload"]));
    }
}

#[tokio::test]
async fn the_asyncapi_document_has_every_subject_and_an_operation_for_it() {
    let document: Value = serde_saphyr::from_str(&export(&["--format", "asyncapi"]).await).unwrap();
    for record in Record::ALL {
        let channels = document["channels"].as_object().unwrap();
        let (name, channel) = channels.iter().find(|(_, it)| it["address"] == record.subject()).unwrap();
        assert_eq!(channel["x-jetstream"]["stream"], "CEREBROS");
        let place = format!("#/channels/{name}");
        let operations = document["operations"].as_object().unwrap().values();
        assert!(operations.filter(|it| it["channel"]["$ref"] == place.as_str()).count() > 0, "{name}");
    }
    assert_eq!(
        document["x-jetstream"]["streams"]["CEREBROS"]["subjects"],
        json!(["cerebros.nas.run.*", "ml.run.*", "cerebros.fence.>"])
    );
}

fn validator(schema: &str) -> Validator {
    let schema: Value = serde_json::from_str(schema).unwrap();
    assert!(jsonschema::meta::is_valid(&schema), "the document is a JSON Schema itself");
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

async fn validator_of(version: &Version) -> Validator {
    let name = format!("{}:{}", version.record.name(), version.number);
    validator(&export(&["--format", "json-schema", "--record", &name]).await)
}

/// The recorded JSON of a version.
fn recorded(version: &Version) -> Vec<(String, Value)> {
    let folder = format!("schemas/golden/{}.v{}", version.record.file_name(), version.number);
    let files = std::fs::read_dir(workspace().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|file| file.extension().is_some_and(|extension| extension == "json"))
        .map(|file| {
            (file.display().to_string(), serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap())
        })
        .collect()
}

fn is_decoded(record: Record, event: &Value) -> bool {
    codec::decode(record.subject(), &Headers::default(), &serde_json::to_vec(event).unwrap()).is_ok()
}

#[tokio::test]
async fn every_recorded_example_is_valid_to_the_decoder_and_to_the_json_schema() {
    for version in Version::all() {
        let validator = validator_of(version).await;
        for (file, event) in recorded(version) {
            assert!(is_decoded(version.record, &event), "{file} is not decoded");
            let errors: Vec<String> = validator.iter_errors(&event).map(|error| error.to_string()).collect();
            assert_eq!(errors, Vec::<String>::new(), "{file}");
        }
    }
}

#[tokio::test]
async fn the_schema_of_all_records_has_a_definition_of_each() {
    let document: Value = serde_json::from_str(&export(&["--format", "json-schema"]).await).unwrap();
    for record in Record::ALL {
        assert_eq!(document["$defs"][record.name()]["type"], "object");
    }
    let avro: Value = serde_json::from_str(&export(&["--format", "avro"]).await).unwrap();
    assert_eq!(avro.as_array().unwrap().len(), Record::ALL.len());
}

#[tokio::test]
async fn whatever_is_changed_in_an_example_schema_and_decoder_say_the_same() {
    let mut disagreements = Vec::new();
    for record in Record::ALL {
        let validator = validator_of(record.latest()).await;
        for (_, event) in recorded(record.latest()) {
            for place in places(&event, "") {
                for value in strange_values() {
                    let mut changed = event.clone();
                    match &value {
                        Some(value) => changed.pointer_mut(&place).unwrap().clone_from(value),
                        None => remove(&mut changed, &place),
                    }
                    let (decoded, valid) = (is_decoded(record, &changed), validator.is_valid(&changed));
                    if decoded != valid {
                        let name = record.name();
                        disagreements
                            .push(format!("{name}{place} = {value:?}: decoded {decoded}, valid {valid}"));
                    }
                }
            }
        }
    }
    disagreements.sort();
    disagreements.dedup();
    assert_eq!(disagreements, Vec::<String>::new());
}

/// The place of every value in it but the whole.
fn places(value: &Value, prefix: &str) -> Vec<String> {
    let inside: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(name, value)| (format!("{prefix}/{name}"), value)).collect(),
        Value::Array(list) => {
            list.iter().enumerate().map(|(index, value)| (format!("{prefix}/{index}"), value)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    let deeper = inside.iter().flat_map(|(place, value)| places(value, place));
    inside.iter().map(|(place, _)| place.clone()).chain(deeper).collect()
}

/// `None` stands for leaving it out.
fn strange_values() -> Vec<Option<Value>> {
    let values = json!([
        null, true, 0, 1, -1, 1.5, 4_294_967_295_u64, 4_294_967_296_u64, 1_000_001, 1025, "", "  ", "x", "a..b",
        ".a", "a/b", "a\u{7}b", "é", "NaN", "-Infinity", "nan", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00.25+02:00",
        "2026-01-31 at noon", "succeeded", "unknown", "maximize", [], ["x"], [1], [[]], [{}], [{"uri": "x"}], {},
        {"x": 1}, {"x": "y"}, {"x": "NaN"}, {" ": 1.5}, {"a\u{7}": "y"}, {"max_trials": 0}
    ]);
    let mut values: Vec<Option<Value>> = values.as_array().unwrap().iter().cloned().map(Some).collect();
    values.push(Some("x".repeat(129).into()));
    values.push(Some("x".repeat(513).into()));
    values.push(Some(vec!["x"; 2001].into()));
    values.push(None);
    values
}

fn remove(event: &mut Value, place: &str) {
    let (parent, name) = place.rsplit_once('/').unwrap();
    match event.pointer_mut(parent).unwrap() {
        Value::Object(map) => drop(map.remove(name)),
        Value::Array(list) => drop(list.remove(name.parse().unwrap())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            unreachable!("it has something in it")
        }
    }
}
