use std::time::Instant;

use serde_json::json;

use super::watched::at_work;
use super::*;

#[test]
fn an_expression_edits_a_value() {
    let input =
        json!({"dataset_id": "digits", "budget": {"max_trials": "six"}, "seed": 18446744073709551615_u64});
    let edited = run(".budget.max_trials = 6 | .tags = {by: \"me\"} | del(.seed)", input).unwrap();
    assert_eq!(edited, json!({"dataset_id": "digits", "budget": {"max_trials": 6}, "tags": {"by": "me"}}));
}

#[test]
fn a_value_that_is_not_edited_comes_back_as_it_was() {
    let input = json!([0, -1, 1.5, 1e300, u64::MAX, i64::MIN, "é\u{0}\"", null, true, {"": [[]]}]);
    assert_eq!(run(".", input.clone()).unwrap(), input);
}

#[test]
fn text_becomes_an_object() {
    let edited = run("{dataset_id: (split(\" \") | .[1])}", json!("please digits")).unwrap();
    assert_eq!(edited, json!({"dataset_id": "digits"}));
}

#[test]
fn exactly_one_result_is_expected() {
    assert_eq!(run("empty", json!({})), Err(JqError::Nothing));
    assert_eq!(run("1, 2", json!({})), Err(JqError::Several));
    assert!(matches!(run(".a.b = 1", json!([])), Err(JqError::Failed(_))));
    assert!(matches!(run("halt", json!([])), Err(JqError::Failed(_))));
}

#[test]
fn what_is_no_jq_is_said_with_its_place() {
    let error = check(".a | ").unwrap_err().to_string();
    assert!(error.contains("at its end"), "{error}");
    let error = check("nonsense(1)").unwrap_err().to_string();
    assert!(error.contains("nonsense"), "{error}");
    assert!(check("env").unwrap_err().to_string().contains("env"));
    assert!(check("import \"x\" as x; 1").is_err());
}

#[test]
fn an_expression_that_never_ends_is_left_behind() {
    assert_eq!(run("last(repeat(1))", json!(null)), Err(JqError::TooSlow));
}

#[test]
fn time_in_which_a_machine_does_other_things_is_not_held_against_an_expression() {
    let place = std::fs::read_link("/proc/thread-self").unwrap();
    let (began, before) = (Instant::now(), at_work(Some(&place)).unwrap());
    let worked = || at_work(Some(&place)).unwrap() - before;
    while worked() < Duration::from_millis(50) {
        std::hint::spin_loop();
    }
    assert!(worked() <= began.elapsed() + Duration::from_millis(20), "it is the time of this thread alone");
    assert_eq!(at_work(None), None);
}

#[test]
fn a_definition_is_refused_because_it_may_call_itself() {
    for expression in ["def f: 1 + f; f", "1 | (def f: f; f)", "def#\nf: f; f", "\"\\(def f: f; f)\""] {
        assert!(check(expression).unwrap_err().to_string().contains("def"), "{expression}");
    }
    for expression in [".def", "{def: 1}", "{\"def\": .undefined}", ".a_def | .undef"] {
        assert_eq!(check(expression), Ok(()), "{expression}");
    }
}

#[test]
fn an_expression_that_builds_without_end_is_left_behind_or_refused() {
    // The one that only grows is in the tests of the program: here it would grow beside all the others.
    let expression = "reduce range(3000000) as $i ([]; [.])";
    assert!(run(expression, json!(null)).is_err(), "{expression}");
}

#[test]
fn what_json_cannot_say_is_refused() {
    for expression in ["nan", "infinite", "{(1): 2}"] {
        assert!(matches!(run(expression, json!(null)), Err(JqError::Failed(_))), "{expression}");
    }
    let deep = format!("reduce range({}) as $i (0; [.])", MAX_DEPTH + 1);
    assert!(run(&deep, json!(null)).unwrap_err().to_string().contains("deep"));
}
