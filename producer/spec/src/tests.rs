use proptest::prelude::*;

use super::*;

fn findings(text: &str) -> Vec<(&'static str, String)> {
    let findings = read(Some(text), &[]).expect_err(text);
    findings.into_iter().map(|finding| (finding.code, finding.path)).collect()
}

#[test]
fn a_bare_data_set_is_a_spec_and_assignments_go_over_it() {
    let spec = read(Some(r#"{"dataset_id": "digits"}"#), &[]).unwrap();
    assert_eq!(spec, Spec { request: RunRequested::new("digits"), warnings: vec![], notes: vec![] });
    let sets = ["dataset_id=iris", "budget.max_trials=3", "priority=-5"].map(|set| set.parse().unwrap());
    let Spec { request, warnings, .. } = read(None, &sets).unwrap();
    assert_eq!((request.dataset_id.as_str(), request.budget.max_trials, request.priority), ("iris", 3, -5));
    assert_eq!(warnings, Vec::<String>::new());
}

#[test]
fn every_bad_spec_is_refused_with_its_code_and_path() {
    let with = |field: &str| format!(r#"{{"dataset_id": "digits", {field}}}"#);
    for (text, code, path) in [
        ("{".to_owned(), "not-json", ""),
        (String::new(), "not-json", ""),
        (r#"{"dataset_id": "digits"} x"#.to_owned(), "not-json", ""),
        ("[".repeat(100_000), "not-json", ""),
        (r#"["digits"]"#.to_owned(), "wrong-type", ""),
        ("{}".to_owned(), "missing-field", "dataset_id"),
        (r#"{"dataset_id": 7}"#.to_owned(), "wrong-type", "dataset_id"),
        (r#"{"dataset_id": ""}"#.to_owned(), "out-of-range", "dataset_id"),
        (r#"{"dataset_id": "cifar10"}"#.to_owned(), "unknown-dataset", "dataset_id"),
        (r#"{"dataset_id": "../secret.csv"}"#.to_owned(), "dataset-path", "dataset_id"),
        (r#"{"dataset_id": "/etc/passwd.csv"}"#.to_owned(), "dataset-path", "dataset_id"),
        (with(r#""budget": {"max_trials": -1}"#), "out-of-range", "budget.max_trials"),
        (with(r#""budget": {"max_trials": 0}"#), "out-of-range", "budget.max_trials"),
        (with(r#""budget": {"max_trials": "ten"}"#), "wrong-type", "budget.max_trials"),
        (with(r#""budget": {"max_seconds": -5}"#), "out-of-range", "budget.max_seconds"),
        (
            with(r#""budget": {"max_consecutive_failures": 0}"#),
            "out-of-range",
            "budget.max_consecutive_failures",
        ),
        (with(r#""budget": 10"#), "wrong-type", "budget"),
        (with(r#""strategy": "gaa""#), "unknown-strategy", "strategy"),
        (with(r#""direction": "up""#), "out-of-range", "direction"),
        (with(r#""trainer": "keras""#), "unknown-trainer", "trainer"),
        (with(r#""trainer": "os:system('x')""#), "entrypoint-name", "trainer"),
        (with(r#""entrypoint": "run_nas""#), "entrypoint-name", "entrypoint"),
        (with(r#""search_space": []"#), "out-of-range", "search_space"),
        (with(r#""search_space": {"layers": []}"#), "search-space", "search_space.layers"),
        (with(r#""search_space": {"lr": {"low": 2, "high": 1}}"#), "search-space", "search_space.lr"),
        (with(r#""parameters": {"mutation_rate": 7}"#), "setting", "parameters.mutation_rate"),
        (with(r#""parameters": {"pruner": "medium"}"#), "setting", "parameters.pruner"),
        (
            with(r#""parameters": {"pruner": {"name": "halving", "reduction_factor": 1}}"#),
            "setting",
            "parameters.pruner.reduction_factor",
        ),
        (with(r#""tau": 0"#), "out-of-range", "tau"),
        (with(r#""seed": -1"#), "out-of-range", "seed"),
        (with(r#""priority": 101"#), "out-of-range", "priority"),
        (with(r#""priority": 1.5"#), "wrong-type", "priority"),
        (with(r#""priority": "high""#), "wrong-type", "priority"),
        (with(r#""run_id": "a b""#), "out-of-range", "run_id"),
        (with(r#""tags": {"a": 1}"#), "wrong-type", "tags.a"),
    ] {
        let found = findings(&text);
        assert_eq!(found.len(), 1, "{text:.80}: {found:?}");
        assert_eq!(found[0].0, code, "{text:.80}");
        assert!(found[0].1.starts_with(path), "{text:.80}: {found:?}");
    }
}

#[test]
fn all_faults_are_reported_at_once() {
    let found = findings(
        r#"{"budget": {"max_trials": -1, "parallelism": "x"}, "strategy": "randon", "search_space": {"a": []}, "tau": "hot"}"#,
    );
    let paths: Vec<&str> = found.iter().map(|(_, path)| path.as_str()).collect();
    for path in ["dataset_id", "budget.max_trials", "budget.parallelism", "strategy", "search_space.a", "tau"]
    {
        assert!(paths.contains(&path), "{path} in {paths:?}");
    }
}

#[test]
fn a_finding_reads_like_a_sentence_for_people() {
    let findings = read(Some(r#"{"dataset_id": "digits", "budget": {"max_trials": -1}}"#), &[]).unwrap_err();
    assert_eq!(
        findings[0].to_string(),
        "budget.max_trials: expected a whole number above 0, found integer `-1`"
    );
    let findings = read(Some(r#"{"dataset_id": "digit"}"#), &[]).unwrap_err();
    assert_eq!(findings[0].help.as_deref(), Some("did you mean \"digits\"?"));
    let error = refusal(&findings);
    assert_eq!((error.code, error.exit.code()), ("unknown-dataset", 5));
}

#[test]
fn an_unknown_field_is_a_warning_with_the_nearest_name() {
    let spec = read(Some(r#"{"dataset_id": "digits", "budget": {"max_trails": 3}, "zzz": 1}"#), &[]).unwrap();
    let expected = [
        "budget.max_trails is not known and is ignored; did you mean budget.max_trials?",
        "zzz is not known and is ignored",
    ];
    assert_eq!(spec.warnings, expected);
}

#[test]
fn code_that_only_a_worker_can_judge_passes_with_a_note() {
    let trainer = r#"{"dataset_id": "digits", "trainer": "nets.small:train", "search_space": {"x": [1, 2]}}"#;
    let opaque = r#"{"dataset_id": "mnist", "entrypoint": "lab:run_nas", "search_space": {"layers": "any"}}"#;
    for (text, function) in [(trainer, "nets.small:train"), (opaque, "lab:run_nas")] {
        let spec = read(Some(text), &[]).unwrap();
        assert!(spec.notes[0].contains(function), "{:?}", spec.notes);
    }
}

#[test]
fn a_spec_over_the_limit_is_refused_before_it_is_read() {
    let text = format!(r#"{{"dataset_id": "digits", "extra": {{"x": "{}"}}}}"#, "y".repeat(MAX_EVENT_BYTES));
    assert_eq!(findings(&text), [("too-large", String::new())]);
}

proptest! {
    #[test]
    fn no_text_makes_reading_panic(text in ".{0,300}") {
        let _ = read(Some(&text), &[]);
    }

    #[test]
    fn what_is_accepted_decodes_to_itself(trials in 1_u32..1000, seed in 0_i64.., strategy in "ga|random") {
        let text = json!({"dataset_id": "iris", "budget": {"max_trials": trials}, "seed": seed, "strategy": strategy});
        let spec = read(Some(&text.to_string()), &[]).unwrap();
        let again = Event::from(spec.request.clone()).to_json().to_string();
        prop_assert_eq!(read(Some(&again), &[]).unwrap().request, spec.request);
    }
}
