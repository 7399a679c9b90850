//! The mapping, without a validator: that schema and decoder agree is tested where the events are (`cerebros`).

use std::collections::BTreeMap;

use super::*;
use crate::Record;

fn definitions() -> Value {
    let latest: Vec<&Version> = Record::ALL.into_iter().map(Record::latest).collect();
    serde_json::to_value(document(&latest)).unwrap()["$defs"].take()
}

#[test]
fn every_record_has_a_definition_with_its_fields_and_what_has_no_default_is_required() {
    let all = definitions();
    for record in Record::ALL {
        let shape = record.latest().shape.as_record().unwrap();
        let schema = &all[record.name()];
        let required: Vec<&str> = shape
            .fields
            .iter()
            .filter(|field| field.default.is_none())
            .map(|field| field.name.as_str())
            .collect();
        assert_eq!(schema["properties"].as_object().unwrap().len(), shape.fields.len());
        assert_eq!(schema["required"], Value::from(required), "{}", record.name());
        assert!(schema.get("additionalProperties").is_none(), "unknown fields are allowed");
    }
}

#[test]
fn each_kind_of_field_has_its_words() {
    let all = definitions();
    let field = |record: &str, name: &str| all[record]["properties"][name].clone();
    assert_eq!(field("TrialReported", "started_at")["type"], serde_json::json!(["string", "null"]));
    assert_eq!(field("TrialReported", "started_at")["format"], "date-time");
    assert_eq!(field("MetricReported", "value")["allOf"][0]["$ref"], "#/$defs/Double");
    assert_eq!(field("RunRequested", "search_space")["default"], serde_json::json!({}));
    assert_eq!(
        field("RunRequested", "search_space")["description"],
        "Which parameters may vary, and how; empty means the trainer's default."
    );
    assert!(field("RunCompleted", "best_model").get("type").is_none(), "any value");
    assert_eq!(field("Budget", "max_seconds")["exclusiveMinimum"], 0);
    assert_eq!(field("TrialReported", "failure")["anyOf"][0]["$ref"], "#/$defs/Failure");
    assert_eq!(field("RunRequested", "direction")["anyOf"][1]["type"], "null");
}

#[test]
fn a_demand_takes_the_place_of_what_the_type_says() {
    let latest: Vec<&Version> = Record::ALL.into_iter().map(Record::latest).collect();
    let text = serde_json::to_string(&document(&latest)).unwrap();
    assert!(text.contains(r#""format":"int32","minimum":-100,"maximum":100,"#), "each word once");
}

#[test]
fn a_reference_never_stands_beside_other_words() {
    fn walk(value: &Value) {
        if let Value::Object(map) = value {
            assert!(!map.contains_key("$ref") || map.len() == 1, "{value}");
            map.values().for_each(walk);
        } else if let Value::Array(list) = value {
            list.iter().for_each(walk);
        }
    }
    walk(&definitions());
}

#[test]
fn a_type_that_several_records_use_is_the_same_in_all_of_them() {
    let mut seen: BTreeMap<String, Ordered> = BTreeMap::new();
    for record in Record::ALL {
        let mut definitions = Definitions::new("#/");
        definitions.add(record.latest());
        for (name, schema) in definitions.named {
            let known = seen.entry(name.clone()).or_insert_with(|| schema.clone());
            assert_eq!(*known, schema, "{name} of {}", record.name());
        }
    }
}

#[test]
fn the_document_of_one_version_describes_its_events_itself() {
    let old = serde_json::to_value(document(&[&Record::TrialReported.versions()[0]])).unwrap();
    assert_eq!(old["allOf"][0]["$ref"], "#/$defs/TrialReported");
    assert!(old["$id"].as_str().unwrap().starts_with("urn:cerebros:TrialReported:1:"));
    assert!(old["$defs"].get("ArtifactRef").is_none(), "version 1 has no such field");
}

#[test]
fn what_a_value_has_to_be_is_said_for_people_too() {
    let shape = Record::RunRequested.latest().shape.as_record().unwrap();
    let of = |name: &str| demand(shape, shape.fields.iter().find(|field| field.name == name).unwrap());
    assert_eq!(of("tau").as_deref(), Some("finite and above 0"));
    assert_eq!(of("search_space").as_deref(), Some("an object"));
    assert_eq!(of("direction"), None);
}
