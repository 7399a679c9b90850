//! Every way of writing a space, and that two ways of writing the same mean the same.

use search::{SearchSpace, TRAINERS};
use serde_json::{Value, json};

fn parse(space: Value) -> SearchSpace {
    SearchSpace::parse(&space, "mlp").unwrap_or_else(|error| panic!("{error} in {space}"))
}

fn contains(space: &SearchSpace, parameters: Value) -> bool {
    space.contains(parameters.as_object().unwrap())
}

#[test]
fn layers_alone_lists_sizes_for_one_to_three_layers() {
    let space = parse(json!({"layers": [64, 128], "activation": ["relu"]}));
    for layers in [json!([64]), json!([128, 64]), json!([64, 64, 128])] {
        assert!(contains(&space, json!({"layers": layers, "activation": "relu"})));
    }
    for layers in [json!([]), json!([65]), json!([64, 64, 64, 64]), json!(64), json!(["64"])] {
        assert!(!contains(&space, json!({"layers": layers, "activation": "relu"})), "{layers}");
    }
}

#[test]
fn the_dialects_agree() {
    let reference = parse(json!({"layers": [1, 2], "neurons": [32, 64], "activation": ["relu", "tanh"]}));
    for same in [
        json!({"layers": [32, 64], "depth": [2, 1, 1], "activation": ["relu", "tanh"]}),
        json!({"layer_sizes": [32, 64], "depth": {"low": 1, "high": 2}, "activations": ["relu", "tanh"]}),
        json!({"neurons": [32, 64, 32], "depth": [1, 2], "activations": ["relu", "tanh", "relu"]}),
    ] {
        assert_eq!(parse(same), reference);
    }
}

#[test]
fn sizes_and_depths_may_be_one_number_or_a_range() {
    let space = parse(json!({"layers": {"low": 1, "high": 5, "step": 2}, "neurons": 32}));
    assert!(contains(&space, json!({"layers": [32, 32, 32, 32, 32]})));
    assert!(!contains(&space, json!({"layers": [32, 32]})));
    let space = parse(json!({"layers": {"low": 16, "high": 64, "step": 16}, "depth": 1}));
    assert!(contains(&space, json!({"layers": [48]})));
    assert!(!contains(&space, json!({"layers": [40]})));
}

#[test]
fn without_layers_depth_is_a_parameter_like_any_other() {
    let space = parse(json!({"depth": [18, 34], "momentum": 0.9}));
    assert!(contains(&space, json!({"depth": 34, "momentum": 0.9})));
    assert_eq!(space.names().collect::<Vec<_>>(), ["depth", "momentum"]);
}

#[test]
fn parameters_are_choices_fixed_values_or_ranges() {
    let space = parse(json!({
        "optimizer": ["adam", "sgd"],
        "max_features": [null, 3, 0.5, true],
        "epochs": 12,
        "batch_size": {"low": 32, "high": 128, "step": 32},
        "learning_rate": {"low": 1e-4, "high": 1e-1, "log": true},
        "momentum": {"low": 0, "high": 1, "type": "float"},
    }));
    let good = json!({
        "optimizer": "sgd", "max_features": null, "epochs": 12, "batch_size": 96, "learning_rate": 0.003,
        "momentum": 0.25,
    });
    assert!(contains(&space, good.clone()));
    for (name, bad) in [
        ("optimizer", json!("lbfgs")),
        ("max_features", json!(false)),
        ("epochs", json!(13)),
        ("batch_size", json!(33)),
        ("batch_size", json!(160)),
        ("learning_rate", json!(0.2)),
        ("momentum", json!("0.5")),
    ] {
        let mut parameters = good.clone();
        parameters[name] = bad;
        assert!(!contains(&space, parameters), "{name}");
    }
}

#[test]
fn a_parameter_set_with_too_little_or_too_much_is_outside() {
    let space = parse(json!({"a": [1], "b": [2]}));
    assert!(contains(&space, json!({"a": 1, "b": 2})));
    assert!(!contains(&space, json!({"a": 1})));
    assert!(!contains(&space, json!({"a": 1, "b": 2, "c": 3})));
}

#[test]
fn bounds_written_as_integers_make_an_integer_range() {
    let fraction = json!({"x": 0.5});
    assert!(!contains(&parse(json!({"x": {"low": 0, "high": 1}})), fraction.clone()));
    assert!(contains(&parse(json!({"x": {"low": 0, "high": 1.0}})), fraction.clone()));
    assert!(contains(&parse(json!({"x": {"low": 0, "high": 1, "step": 0.5}})), fraction.clone()));
    assert!(contains(&parse(json!({"x": {"low": 0, "high": 1, "type": "float"}})), fraction));
}

#[test]
fn null_and_the_empty_object_mean_the_default_of_the_trainer() {
    for trainer in TRAINERS {
        let space = SearchSpace::parse(&Value::Null, trainer).unwrap();
        assert_eq!(SearchSpace::parse(&json!({}), trainer), Ok(space));
    }
    let mlp = parse(json!({}));
    assert_eq!(
        mlp.names().collect::<Vec<_>>(),
        ["layers", "activation", "alpha", "batch_size", "epochs", "learning_rate", "optimizer"]
    );
    let noop = SearchSpace::parse(&Value::Null, "noop").unwrap();
    assert!(contains(&noop, json!({"x": 0.5})));
}

#[test]
fn any_trainer_may_be_searched_in_a_space_that_is_given() {
    assert!(SearchSpace::parse(&json!({"trees": [10, 100]}), "mine:train").is_ok());
}
