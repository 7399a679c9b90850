//! Every impossible space is refused at the place where it is wrong, in words that help, whatever was sent.

use proptest::prelude::*;
use search::{SearchSpace, SpaceError};
use serde_json::{Map, Value, json};

use crate::spaces::spaces;

fn refuse(space: &Value) -> SpaceError {
    SearchSpace::parse(space, "mlp").map(|_| ()).expect_err(&space.to_string())
}

#[test]
fn each_fault_names_its_place_what_was_expected_and_what_was_found() {
    let cases = [
        (json!([]), "search_space: expected an object, found an empty list"),
        (json!("big"), r#"search_space: expected an object, found "big""#),
        (json!({"layers": []}), "search_space.layers: expected at least one choice, found an empty list"),
        (json!({"layers": null}), "search_space.layers: expected choices, a value or a range, found null"),
        (json!({"lr": {}}), "search_space.lr: expected choices, a value or a range, found an empty object"),
        (
            json!({"layers": [64, -3]}),
            "search_space.layers[1]: expected a layer size, an integer from 1 to 65536, found -3",
        ),
        (
            json!({"layers": [64, 64, 0]}),
            "search_space.layers[2]: expected a layer size, an integer from 1 to 65536, found 0",
        ),
        (
            json!({"layer_sizes": [65_537]}),
            "search_space.layer_sizes[0]: expected a layer size, an integer from 1 to 65536, found 65537",
        ),
        (
            json!({"layers": ["64"]}),
            r#"search_space.layers[0]: expected a layer size, an integer from 1 to 65536, found "64""#,
        ),
        (
            json!({"layers": 6.5}),
            "search_space.layers: expected a layer size, an integer from 1 to 65536, found 6.5",
        ),
        (
            json!({"layers": {"low": 0, "high": 9}}),
            "search_space.layers.low: expected a layer size, an integer from 1 to 65536, found 0",
        ),
        (
            json!({"layers": {"low": 1.5, "high": 9}}),
            "search_space.layers: expected a layer size, an integer from 1 to 65536, found a range of fractions",
        ),
        (json!({"layers": [[64, 32]]}), "search_space.layers[0]: expected a single value, found a list of 2"),
        (
            json!({"layers": [64], "neurons": [8]}),
            "search_space.layers[0]: expected a number of layers, an integer from 1 to 32, found 64",
        ),
        (
            json!({"layers": [64], "depth": 33}),
            "search_space.depth: expected a number of layers, an integer from 1 to 32, found 33",
        ),
        (
            json!({"layers": [1], "layer_sizes": [8]}),
            r#"search_space.layer_sizes: expected either "layers" or "layer_sizes", found both"#,
        ),
        (
            json!({"neurons": [1], "layer_sizes": [8]}),
            r#"search_space.neurons: expected either "layer_sizes" or "neurons", found both"#,
        ),
        (
            json!({"layers": [1], "neurons": [8], "depth": 1}),
            r#"search_space.depth: expected either "layers" or "depth", found both"#,
        ),
        (
            json!({"activation": ["relu"], "activations": ["relu"]}),
            r#"search_space.activations: expected either "activation" or "activations", found both"#,
        ),
        (
            json!({"activations": [1]}),
            "search_space.activations: expected names of activation functions, found a list of 1",
        ),
        (
            json!({"lr": {"low": 2, "high": 1}}),
            "search_space.lr: expected low at most high, found low 2 above high 1",
        ),
        (
            json!({"lr": {"low": 0.5, "high": 0.1}}),
            "search_space.lr: expected low at most high, found low 0.5 above high 0.1",
        ),
        (
            json!({"lr": {"low": 0.0, "high": 0.1, "log": true}}),
            "search_space.lr.low: expected a number above 0, found 0",
        ),
        (
            json!({"lr": {"low": 0, "high": 9, "log": true}}),
            "search_space.lr.low: expected a number at least 1, found 0",
        ),
        (
            json!({"lr": {"low": 0, "high": 9, "log": 1}}),
            "search_space.lr.log: expected true or false, found 1",
        ),
        (
            json!({"lr": {"low": 0, "high": 9, "step": 0}}),
            "search_space.lr.step: expected a number above 0, found 0",
        ),
        (
            json!({"lr": {"low": 0.0, "high": 9, "step": -0.5}}),
            "search_space.lr.step: expected a number above 0, found -0.5",
        ),
        (
            json!({"lr": {"low": 0.0, "high": 9, "step": 1e-300}}),
            &format!("search_space.lr.step: expected at most 2^53 steps, found 0.{}1", "0".repeat(299)),
        ),
        (json!({"lr": {"low": 0}}), "search_space.lr.high: expected a number, found nothing"),
        (json!({"lr": {"low": "0", "high": 1}}), r#"search_space.lr.low: expected a number, found "0""#),
        (
            json!({"lr": {"low": 0.5, "high": 1, "type": "int"}}),
            "search_space.lr.low: expected an integer, found 0.5",
        ),
        (
            json!({"lr": {"low": 0, "high": u64::MAX}}),
            "search_space.lr.high: expected an integer, found 18446744073709551615",
        ),
        (
            json!({"lr": {"low": 0, "high": 1, "type": "real"}}),
            r#"search_space.lr.type: expected "int" or "float", found "real""#,
        ),
        (
            json!({"lr": {"low": -f64::MAX, "high": f64::MAX}}),
            "search_space.lr: expected a span that is a finite number, found a span of -1.7976931348623157e308 to 1.7976931348623157e308",
        ),
        (
            json!({"lr": {"min": 0, "max": 1}}),
            "search_space.lr.max: expected one of low, high, log, step, type, found an unknown key",
        ),
        (
            json!({"opt": [{"name": "adam"}]}),
            "search_space.opt[0]: expected a single value, found an object with 1 keys",
        ),
        (
            json!({"a b\n": {}}),
            r#"search_space["a b\n"]: expected a parameter name of 1 to 250 printable characters, found a name of 4 characters"#,
        ),
        (
            json!({"": [1]}),
            r#"search_space[""]: expected a parameter name of 1 to 250 printable characters, found a name of 0 characters"#,
        ),
        (json!({"n": vec![1; 1_001]}), "search_space.n: expected at most 1000 choices, found 1001"),
    ];
    for (space, expected) in cases {
        let error = refuse(&space);
        assert_eq!(error.to_string(), expected);
        assert!(!error.help.is_empty());
    }
}

#[test]
fn a_slip_in_a_range_is_told_the_right_word() {
    assert_eq!(refuse(&json!({"lr": {"lo": 0, "high": 1}})).help, r#"did you mean "low"?"#);
    assert_eq!(refuse(&json!({"lr": {"low": 0, "maximum": 1}})).help, r#"did you mean "high"?"#);
    assert!(refuse(&json!({"lr": {"adam": 1}})).help.starts_with("a range is"));
}

#[test]
fn a_trainer_without_a_default_must_be_given_a_space() {
    for space in [Value::Null, json!({})] {
        let error = SearchSpace::parse(&space, "mine:train").unwrap_err();
        assert_eq!(error.path, "search_space");
        assert_eq!(error.expected, r#"a space, because the trainer "mine:train" has no default one"#);
    }
}

#[test]
fn sixty_four_parameters_are_enough() {
    let space = |n: usize| Value::Object((0..n).map(|i| (format!("p{i}"), json!([1, 2]))).collect());
    assert!(SearchSpace::parse(&space(64), "mlp").is_ok());
    assert_eq!(refuse(&space(65)).to_string(), "search_space: expected at most 64 parameters, found 65");
}

#[test]
fn what_a_hostile_sender_repeats_is_cut() {
    let long = "x".repeat(100_000);
    for space in [json!({"lr": {"low": long, "high": 1}}), json!({&long: {}}), json!({"a": long})] {
        let error = refuse(&space);
        assert!(format!("{error} {}", error.help).len() < 300, "{}", error.path);
    }
    let error = SearchSpace::parse(&Value::Null, &long).unwrap_err();
    assert!(error.to_string().len() < 300);
}

fn anything() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec!["relu", "int", "float", ""]).prop_map(Value::from),
    ];
    let keys = prop::sample::select(vec![
        "layers",
        "layer_sizes",
        "neurons",
        "depth",
        "activation",
        "activations",
        "x",
        "low",
        "high",
        "log",
        "step",
        "type",
    ]);
    scalar.prop_recursive(3, 24, 5, move |inner| {
        let fields = prop::collection::vec((keys.clone(), inner.clone()), 0..5);
        let object = fields
            .prop_map(|fields| fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Map<_, _>>());
        prop_oneof![prop::collection::vec(inner, 0..5).prop_map(Value::Array), object.prop_map(Value::Object)]
    })
}

proptest! {
    #[test]
    fn no_input_does_worse_than_an_error_under_the_right_path(space in anything()) {
        if let Err(error) = SearchSpace::parse(&space, "mlp") {
            prop_assert!(error.path.starts_with("search_space"), "{}", error.path);
        }
    }

    #[test]
    fn a_valid_space_is_accepted_in_any_trainer(space in spaces()) {
        let parsed = SearchSpace::parse(&space, "mlp");
        prop_assert!(parsed.is_ok(), "{parsed:?}");
        prop_assert_eq!(SearchSpace::parse(&space, "mine:train"), parsed);
    }
}
