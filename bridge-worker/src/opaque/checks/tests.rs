use schemas::{Json, Origin};

use super::*;

fn good() -> Value {
    json!({"status": "success", "best_model": {"layers": [8]}, "best_metric": 0.86, "completed_trials": 3,
        "population_history": [{"generation": 0, "best": 0.86}], "artifacts": ["model.bin"], "metadata": {"a": 1}})
}

fn returned(value: Value) -> CallResult {
    CallResult { value: Some(Json(value)), ..CallResult::new(1, TrialStatus::Succeeded) }
}

/// The good result with one field changed, or taken away.
fn with(name: &str, field: Option<Value>) -> Value {
    let mut value = good();
    let fields = value.as_object_mut().unwrap();
    fields.remove(name);
    fields.extend(field.map(|field| (name.to_owned(), field)));
    value
}

fn complaint(value: Value) -> Failure {
    check(&returned(value), 0).unwrap_err()
}

fn is_refused(name: &str, field: Option<Value>) {
    let failure = complaint(with(name, field.clone()));
    assert_eq!(
        (failure.class, failure.origin),
        (FailureClass::ParseError, Origin::User),
        "{name}: {field:?}"
    );
    assert!(failure.message.contains(name), "{}", failure.message);
}

#[test]
fn a_result_that_holds_is_taken_as_it_is() {
    let told = check(&returned(good()), 0).unwrap();
    assert_eq!((told.best_metric, told.completed_trials), (0.86, 3));
    assert_eq!((&told.best_model["layers"][0], &told.metadata["a"]), (&json!(8), &json!(1)));
    assert_eq!((told.artifacts.len(), told.population_history[0]["generation"].as_u64()), (1, Some(0)));
    assert!(told.remarks(3, 10).is_empty());
}

#[test]
fn return_code_a_call_that_raised_is_a_failure_in_its_own_words() {
    let failure = serde_json::from_value(json!({"class": "user_code", "message": "ValueError: no"})).unwrap();
    let raised = CallResult { failure: Some(failure), ..CallResult::new(1, TrialStatus::Failed) };
    let failure = check(&raised, 0).unwrap_err();
    assert_eq!((failure.class, failure.message.as_str()), (FailureClass::UserCode, "ValueError: no"));
    let stopped = CallResult::new(1, TrialStatus::Cancelled);
    assert_eq!(check(&stopped, 0).unwrap_err().class, FailureClass::Cancelled);
}

#[test]
fn result_nothing_or_something_else_than_an_object_is_none() {
    for value in [json!({}), json!(null), json!([1]), json!("fine")] {
        let failure = complaint(value);
        assert_eq!(failure.class, FailureClass::ParseError);
        assert!(failure.message.contains("no result"), "{}", failure.message);
    }
    assert!(check(&CallResult::new(1, TrialStatus::Succeeded), 0).is_err());
}

#[test]
fn status_a_result_that_says_it_failed_is_believed_and_lacks_nothing() {
    let failure =
        complaint(json!({"status": "failed", "error": "the cluster said no", "completed_trials": 0}));
    assert_eq!((failure.class, failure.origin), (FailureClass::UserCode, Origin::User));
    assert_eq!(failure.message, "the cluster said no");
    assert!(complaint(json!({"status": "completed_no_model"})).message.contains("completed_no_model"));
    is_refused("status", None);
    assert!(check(&returned(with("status", Some(json!("completed")))), 0).is_ok());
}

#[test]
fn best_model_is_taken_under_either_of_its_names() {
    let mut value = with("best_model", None);
    value["best_architecture"] = json!({"layers": [4]});
    assert_eq!(check(&returned(value), 0).unwrap().best_model["layers"][0], 4);
    is_refused("best_model", None);
    is_refused("best_model", Some(json!("model.bin")));
}

#[test]
fn best_metric_is_a_number_one_can_compare() {
    is_refused("best_metric", None);
    is_refused("best_metric", Some(json!("good")));
    for value in ["NaN", "Infinity"] {
        let failure = complaint(with("best_metric", Some(json!(value))));
        assert_eq!(failure.class, FailureClass::NanObjective);
    }
}

#[test]
fn completed_trials_is_a_count_and_known_when_the_trials_were_told() {
    for field in [None, Some(json!(-1)), Some(json!(1.5)), Some(json!("3"))] {
        is_refused("completed_trials", field);
    }
    assert_eq!(check(&returned(with("completed_trials", None)), 5).unwrap().completed_trials, 5);
    let told = check(&returned(good()), 5).unwrap();
    assert_eq!(told.remarks(5, 10).len(), 1, "it says another number than it told");
    assert_eq!(told.remarks(0, 2).len(), 1, "it says more than it was allowed");
}

#[test]
fn population_history_is_a_list_and_thinned_when_it_is_too_long() {
    is_refused("population_history", Some(json!({"generation": 0})));
    assert_eq!(check(&returned(with("population_history", None)), 0).unwrap().population_history, json!([]));
    let long: Vec<Value> = (0..2000).map(|n| json!({"generation": n, "note": "x".repeat(200)})).collect();
    let told = check(&returned(with("population_history", Some(long.into()))), 0).unwrap();
    let kept = told.population_history.as_array().unwrap();
    assert_eq!((&kept[0]["generation"], &kept.last().unwrap()["generation"]), (&json!(0), &json!(1999)));
    assert!(size(&told.population_history) <= MAX_HISTORY_BYTES && told.left_out.len() == 1);
}

#[test]
fn artifacts_is_a_list() {
    is_refused("artifacts", Some(json!("model.bin")));
    assert!(check(&returned(with("artifacts", None)), 0).unwrap().artifacts.is_empty());
}

#[test]
fn metadata_is_an_object_and_left_out_when_it_is_too_large() {
    is_refused("metadata", Some(json!(["a"])));
    let large = json!({"text": "x".repeat(MAX_METADATA_BYTES)});
    let told = check(&returned(with("metadata", Some(large))), 0).unwrap();
    assert_eq!((told.metadata, told.left_out.len()), (json!({}), 1));
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let message = complaint(json!({"status": "success", "artifacts": 1})).message;
    for name in ["best_model", "best_metric", "completed_trials", "artifacts"] {
        assert!(message.contains(name), "{message}");
    }
}
