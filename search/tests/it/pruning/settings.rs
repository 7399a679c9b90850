//! How pruning is asked for, and how a wrong request is refused.

use search::{Direction, HalvingPruner, MedianPruner, PruningSettings, SettingError, Settings};
use serde_json::{Value, json};

fn read(pruner: Value) -> Result<PruningSettings, SettingError> {
    let parameters = json!({"pruner": pruner});
    let pruning = PruningSettings::from_request(&parameters);
    let settings = Settings::from_request(1, Direction::Maximize, None, &parameters, None);
    assert_eq!(settings.map(|settings| settings.pruning), pruning, "all settings are refused with it");
    pruning
}

#[test]
fn a_name_is_enough_and_what_is_left_out_keeps_its_default() {
    let median = MedianPruner { startup_trials: 5, warmup_steps: 0, interval_steps: 1 };
    let halving = HalvingPruner { min_resource: 1, reduction_factor: 3, min_early_stopping_rate: 0 };
    for none in [json!(null), json!("none"), json!({"name": "none"})] {
        assert_eq!(read(none), Ok(PruningSettings::None));
    }
    assert_eq!(PruningSettings::from_request(&Value::Null), Ok(PruningSettings::None));
    for name in [json!("median"), json!({"name": "median"}), json!({"name": "median", "warmup_steps": null})]
    {
        assert_eq!(read(name), Ok(PruningSettings::Median(median.clone())));
    }
    assert_eq!(read(json!("halving")), Ok(PruningSettings::Halving(halving.clone())));
    assert_eq!(
        read(json!({"name": "median", "startup_trials": 0, "warmup_steps": 3, "interval_steps": 10})),
        Ok(PruningSettings::Median(MedianPruner { startup_trials: 0, warmup_steps: 3, interval_steps: 10 }))
    );
    assert_eq!(
        read(json!({"name": "halving", "reduction_factor": 4, "min_early_stopping_rate": 1})),
        Ok(PruningSettings::Halving(HalvingPruner {
            reduction_factor: 4,
            min_early_stopping_rate: 1,
            ..halving
        }))
    );
}

#[test]
fn a_wrong_request_is_refused_with_its_path_what_was_expected_and_what_helps() {
    for (pruner, expected, help) in [
        (
            json!("medium"),
            r#"parameters.pruner: expected one of none, median, halving, or an object with such a name, found "medium""#,
            r#"did you mean "median"?"#,
        ),
        (
            json!(true),
            "parameters.pruner: expected one of none, median, halving, or an object with such a name, found true",
            r#"such as "median", or {"name": "median", "startup_trials": 5}"#,
        ),
        (
            json!({"startup_trials": 5}),
            "parameters.pruner.name: expected one of none, median, halving, found null",
            r#"such as "median", or {"name": "median", "startup_trials": 5}"#,
        ),
        (
            json!({"name": "hyperband"}),
            r#"parameters.pruner.name: expected one of none, median, halving, found "hyperband""#,
            r#"such as "median", or {"name": "median", "startup_trials": 5}"#,
        ),
        (
            json!({"name": "median", "startup_trial": 5}),
            "parameters.pruner.startup_trial: expected one of startup_trials, warmup_steps, interval_steps, found an unknown key",
            r#"did you mean "startup_trials"?"#,
        ),
        (
            json!({"name": "median", "reduction_factor": 3}),
            "parameters.pruner.reduction_factor: expected one of startup_trials, warmup_steps, interval_steps, found an unknown key",
            "remove it",
        ),
        (
            json!({"name": "none", "startup_trials": 5}),
            "parameters.pruner.startup_trials: expected nothing beside the name, found an unknown key",
            r#"name another pruner, such as "median""#,
        ),
        (
            json!({"name": "median", "startup_trials": -1}),
            "parameters.pruner.startup_trials: expected an integer from 0 to 1000, found -1",
            "leave it out for its default",
        ),
        (
            json!({"name": "median", "interval_steps": 0}),
            "parameters.pruner.interval_steps: expected an integer from 1 to 1000000000, found 0",
            "leave it out for its default",
        ),
        (
            json!({"name": "median", "warmup_steps": 1.5}),
            "parameters.pruner.warmup_steps: expected an integer from 0 to 1000000000, found 1.5",
            "leave it out for its default",
        ),
        (
            json!({"name": "halving", "reduction_factor": 1}),
            "parameters.pruner.reduction_factor: expected an integer from 2 to 100, found 1",
            "leave it out for its default",
        ),
        (
            json!({"name": "halving", "min_resource": "auto"}),
            r#"parameters.pruner.min_resource: expected an integer from 1 to 1000000000, found "auto""#,
            "leave it out for its default",
        ),
        (
            json!({"name": "halving", "min_early_stopping_rate": 21}),
            "parameters.pruner.min_early_stopping_rate: expected an integer from 0 to 20, found 21",
            "leave it out for its default",
        ),
    ] {
        let error = read(pruner).unwrap_err();
        assert_eq!((error.to_string(), error.help), (expected.to_owned(), help.to_owned()));
    }
}

#[test]
fn a_plan_made_by_hand_is_held_to_the_same_limits() {
    let pruning = PruningSettings::Median(MedianPruner { interval_steps: 0, ..MedianPruner::default() });
    let settings = Settings { pruning, ..Settings::new(1, Direction::Maximize) };
    assert_eq!(settings.validate().unwrap_err().path, "parameters.pruner.interval_steps");
}
