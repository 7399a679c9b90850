use super::*;

fn result(text: &str) -> CallResult {
    let Some(FromChild::Result(result)) = read(text, false, false).unwrap().pop() else { panic!("{text}") };
    *result
}

#[test]
fn output_without_an_answer_is_quoted() {
    assert!(read("", false, true).unwrap_err().contains("printed nothing"));
    let complaint = read("Traceback\nKilled", true, true).unwrap_err();
    assert!(complaint.contains("Killed") && complaint.contains("too much"), "{complaint}");
}

#[test]
fn a_trial_is_answered_with_metrics_alone_or_with_the_fields_of_its_event() {
    assert_eq!(result(r#"{"accuracy": 0.5}"#).metrics["accuracy"], Real(0.5));
    let told = result(r#"{"status": "success", "metrics": {"accuracy": "NaN"}, "warnings": ["w"]}"#);
    assert_eq!((told.status, told.warnings.len()), (TrialStatus::Succeeded, 1));
    assert!(read(r#"{"accuracy": "good"}"#, false, false).is_err());
    assert!(read(r#"{"status": "fine"}"#, false, false).unwrap_err().contains("fine"));
}

#[test]
fn a_failed_trial_speaks_in_its_own_words() {
    let failed = |text| result(text).failure.unwrap().message;
    assert_eq!(failed(r#"{"status": "failed", "error": "no GPU"}"#), "no GPU");
    assert_eq!(failed(r#"{"status": "error", "failure": {"class": "oom", "message": "full"}}"#), "full");
    assert!(failed(r#"{"status": "failed"}"#).contains("not why"));
}

#[test]
fn what_a_script_tells_at_its_end_comes_in_the_order_of_a_child() {
    let text = r#"{"status": "succeeded", "metrics": {"accuracy": 1.0},
        "reports": [{"metrics": {"loss": 0.5}, "step": 0}],
        "artifacts": [{"name": "m", "path": "/m", "bytes": 1, "sha256": "00", "media_type": "text/plain"}]}"#;
    let messages = read(text, false, false).unwrap();
    assert!(matches!(
        messages[..],
        [FromChild::Report { id: CALL, .. }, FromChild::Artifact { .. }, FromChild::Result(_)]
    ));
    let text = r#"{"status": "success", "trials": [{"metrics": {"a": 1}}, {"status": "failed"}]}"#;
    let messages = read(text, false, true).unwrap();
    assert!(matches!(messages[..], [FromChild::Trial { .. }, FromChild::Trial { .. }, FromChild::Result(_)]));
}

fn searched(text: &str) -> (usize, CallResult) {
    let mut messages = read(text, false, true).unwrap();
    let Some(FromChild::Result(result)) = messages.pop() else { panic!("{text}") };
    (messages.len(), *result)
}

#[test]
fn a_key_that_has_not_the_documented_form_is_part_of_the_result() {
    for (text, is_warned) in [
        (r#"{"status": "success", "trials": 3, "reports": {"url": "x"}, "failure": {"rate": 0.1}}"#, false),
        (r#"{"status": "success", "trials": [{"n": 1}]}"#, true),
        (r#"{"status": "success", "trials": ["a", "b"]}"#, true),
        (r#"{"status": "success", "trials": [{"status": "done"}]}"#, true),
        (r#"{"status": "success", "trials": [{"metrics": {"a": 1}, "duration_ms": "long"}]}"#, true),
        (r#"{"status": "success", "reports": [{"metrics": {"a": "good"}, "step": 1}]}"#, true),
        (r#"{"status": "success", "failure": {"class": "oom", "message": "none"}}"#, false),
    ] {
        let (told, result) = searched(text);
        assert_eq!((told, result.status), (0, TrialStatus::Succeeded), "{text}");
        assert_eq!(result.value.unwrap().0, serde_json::from_str::<Value>(text).unwrap(), "{text}");
        assert_eq!(!result.warnings.is_empty(), is_warned, "{text}: {:?}", result.warnings);
    }
    let (_, result) = searched(r#"{"status": "failed", "failure": {"class": "oom", "message": "full"}}"#);
    assert_eq!((result.status, result.failure.unwrap().message.as_str()), (TrialStatus::Failed, "full"));
}

#[test]
fn what_a_function_returns_through_our_script_is_not_looked_into() {
    let text = r#"{"cerebros_call": {"status": "succeeded", "value": {"status": "success", "trials": 3}},
        "trials": [{"metrics": {"a": 1.0}}]}"#;
    let (told, result) = searched(text);
    assert_eq!((told, &result.value.unwrap().0["trials"]), (1, &json!(3)));
}

#[test]
fn a_trial_s_own_keys_do_not_fail_it() {
    let told = result(
        r#"{"metrics": {"a": 1.0}, "reports": 3, "artifacts": ["m"], "failure": {"rate": 1}, "warnings": "w",
        "duration_ms": 1.5, "parameters": {"x": 2}}"#,
    );
    assert_eq!((told.status, told.duration_ms, told.failure.is_none()), (TrialStatus::Succeeded, None, true));
    assert_eq!(told.parameters.unwrap().0, json!({"x": 2}));
    assert!(told.warnings.iter().any(|warning| warning.contains("`artifacts`")), "{:?}", told.warnings);
    assert!(read(r#"{"metrics": {"a": "good"}}"#, false, false).is_err());
}
