//! Spaces for properties, written as a request would write them.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Any valid space: one of the layer dialects or none, and a few parameters of every kind.
pub(crate) fn spaces() -> impl Strategy<Value = Value> {
    (layers(), prop::collection::btree_map("[a-c]", parameter(), 0..3)).prop_map(|(layers, parameters)| {
        let mut space = layers;
        space.extend(parameters);
        if space.is_empty() {
            space.insert("x".to_owned(), json!([1, 2]));
        }
        Value::Object(space)
    })
}

fn layers() -> impl Strategy<Value = Map<String, Value>> {
    let sizes = || {
        prop_oneof![
            prop::collection::vec(1u32..=65_536, 1..6).prop_map(|sizes| json!(sizes)),
            (1u32..100, 0u32..100, 1u32..20)
                .prop_map(|(low, span, step)| json!({"low": low, "high": low + span, "step": step})),
        ]
    };
    let depths = || {
        prop_oneof![
            prop::collection::vec(1u32..=32, 1..4).prop_map(|depths| json!(depths)),
            (1u32..6, 0u32..6).prop_map(|(low, span)| json!({"low": low, "high": low + span})),
        ]
    };
    prop_oneof![
        Just(json!({})),
        sizes().prop_map(|sizes| json!({"layers": sizes, "activation": ["relu", "tanh"]})),
        (sizes(), depths()).prop_map(|(sizes, depth)| json!({"layer_sizes": sizes, "depth": depth})),
        (sizes(), depths()).prop_map(|(sizes, depths)| json!({"layers": depths, "neurons": sizes})),
    ]
    .prop_map(|space| space.as_object().cloned().unwrap())
}

fn parameter() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop::collection::vec(scalar(), 1..4).prop_map(Value::Array),
        prop_oneof![any::<bool>().prop_map(Value::from), any::<i32>().prop_map(Value::from)],
        (-100i32..100, 0i32..1000, 1i32..20)
            .prop_map(|(low, span, step)| json!({"low": low, "high": low + span, "step": step})),
        (1e-6..1.0, 1.0..1e6)
            .prop_map(|(low, factor)| json!({"low": low, "high": low * factor, "log": true})),
        (-10.0..10.0, 0.0..10.0, 0.01..3.0)
            .prop_map(|(low, span, step)| json!({"low": low, "high": low + span, "step": step})),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no such number", |x| x.is_finite()).prop_map(Value::from),
        "[a-z]{0,6}".prop_map(Value::from),
    ]
}
