//! Settings: what a request may set, and how a wrong one is refused.

use search::{Direction, MAX_TRIALS, Plan, Search, SearchSpace, SettingError, Settings};
use serde_json::{Value, json};

fn read(population: Option<i64>, parameters: Value, tau: Option<f64>) -> Result<Settings, SettingError> {
    Settings::from_request(1, Direction::Maximize, population, &parameters, tau)
}

fn plan(change: impl FnOnce(&mut Plan)) -> Result<Search, search::PlanError> {
    let mut plan = Plan {
        space: SearchSpace::parse(&Value::Null, "noop").unwrap(),
        strategy: "random".to_owned(),
        settings: Settings::new(1, Direction::Maximize),
        max_trials: 10,
        lag: 1,
    };
    change(&mut plan);
    Search::new(plan)
}

#[test]
fn what_a_request_leaves_out_keeps_its_default() {
    let defaults = Settings::new(1, Direction::Maximize);
    assert_eq!(read(None, json!({}), None), Ok(defaults.clone()));
    assert_eq!(read(None, Value::Null, None), Ok(defaults.clone()));
    assert_eq!((defaults.population_size, defaults.elite_size, defaults.tau), (20, 2, 1.0));
    assert_eq!((defaults.mutation_rate, defaults.crossover_rate), (0.1, 0.7));
}

#[test]
fn what_a_request_sets_is_taken_and_what_is_not_ours_is_left_alone() {
    let parameters =
        json!({"mutation_rate": 1, "crossover_rate": 0.0, "elite_size": 5, "early_stopping": true});
    let settings = read(Some(6), parameters, Some(0.25)).unwrap();
    assert_eq!((settings.population_size, settings.elite_size, settings.tau), (6, 5, 0.25));
    assert_eq!((settings.mutation_rate, settings.crossover_rate), (1.0, 0.0));
}

#[test]
fn an_absent_elite_size_fits_a_small_population() {
    assert_eq!(read(Some(1), json!({}), None).unwrap().elite_size, 1);
}

#[test]
fn settings_outside_their_limits_are_refused_with_their_path() {
    let cases = [
        (
            None,
            json!({"mutation_rate": 1.5}),
            None,
            "parameters.mutation_rate: expected a number from 0 to 1, found 1.5",
        ),
        (
            None,
            json!({"mutation_rate": "x"}),
            None,
            r#"parameters.mutation_rate: expected a number from 0 to 1, found "x""#,
        ),
        (
            None,
            json!({"crossover_rate": -0.1}),
            None,
            "parameters.crossover_rate: expected a number from 0 to 1, found -0.1",
        ),
        (
            None,
            json!({"elite_size": 21}),
            None,
            "parameters.elite_size: expected an integer from 0 to the population size, 20, found 21",
        ),
        (
            None,
            json!({"elite_size": -1}),
            None,
            "parameters.elite_size: expected an integer from 0 to the population size, 20, found -1",
        ),
        (
            None,
            json!({"elite_size": 1.5}),
            None,
            "parameters.elite_size: expected an integer from 0 to the population size, 20, found 1.5",
        ),
        (None, json!([1]), None, "parameters: expected an object, found a list of 1"),
        (Some(0), json!({}), None, "budget.population_size: expected an integer from 1 to 10000, found 0"),
        (Some(-3), json!({}), None, "budget.population_size: expected an integer from 1 to 10000, found -3"),
        (
            Some(10_001),
            json!({}),
            None,
            "budget.population_size: expected an integer from 1 to 10000, found 10001",
        ),
        (None, json!({}), Some(0.0), "tau: expected a finite number above 0, found 0"),
        (None, json!({}), Some(f64::NAN), "tau: expected a finite number above 0, found NaN"),
        (None, json!({}), Some(f64::INFINITY), "tau: expected a finite number above 0, found inf"),
    ];
    for (population, parameters, tau, expected) in cases {
        let error = read(population, parameters, tau).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(!error.help.is_empty());
    }
}

#[test]
fn a_plan_outside_its_limits_is_refused_with_its_path() {
    let path = |change: fn(&mut Plan)| plan(change).map(|_| ()).unwrap_err().path().to_owned();
    assert_eq!(path(|plan| plan.max_trials = 0), "budget.max_trials");
    assert_eq!(path(|plan| plan.max_trials = MAX_TRIALS + 1), "budget.max_trials");
    assert_eq!(path(|plan| plan.lag = 0), "budget.parallelism");
    assert_eq!(path(|plan| plan.strategy = "gaa".to_owned()), "strategy");
    assert_eq!(path(|plan| plan.settings.mutation_rate = f64::NAN), "parameters.mutation_rate");
    assert!(plan(|plan| plan.max_trials = MAX_TRIALS).is_ok());
}

#[test]
fn a_misspelt_strategy_is_told_the_nearest() {
    let error = plan(|plan| plan.strategy = "gaa".to_owned()).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), r#"strategy: expected one of ga, random, found "gaa""#);
    assert_eq!(error.help(), r#"did you mean "ga"?"#);
}
