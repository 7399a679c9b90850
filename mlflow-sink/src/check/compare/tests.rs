use std::collections::BTreeMap;

use schemas::event::{MlRunStarted, RunCompleted};
use schemas::{Event, Json, Real, RunId, Timestamp};
use serde_json::json;

use super::*;
use crate::projection::expected::Expected;
use crate::projection::{Seen, parent};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_micros(millis * 1000)
}

fn start() -> MlRunStarted {
    MlRunStarted {
        run_id: RunId::parse("r").unwrap(),
        timestamp: at(1000),
        dataset_id: None,
        search_space: Json::object(),
        objective: "accuracy".into(),
        pulse_id: None,
        budget: Json(json!({"max_trials": 3})),
        parameters: Json::object(),
        tau: None,
        correlation_id: None,
        extra: Json(json!({"tags": {"team": "vision"}})),
    }
}

/// A run that has ended well.
fn expected() -> Expected {
    let end = RunCompleted {
        run_id: RunId::parse("r").unwrap(),
        attempt: 1,
        status: "max_trials".into(),
        completed_trials: 0,
        failed_trials: 0,
        best_trial_id: None,
        best_metric: None,
        best_model: Json::object(),
        population_history: Json::list(),
        duration_ms: 5,
        artifact_refs: Vec::new(),
    };
    let mut expected = Expected::default();
    for (sequence, event) in [(1, Event::from(start())), (2, Event::from(end))] {
        expected.see(&Seen { event, at: at(2000), schema: None, attempt: None, sequence }, false);
    }
    expected.finish();
    expected
}

/// The run as the server has it when nothing is wrong.
fn whole() -> WholeRun {
    let began = parent::started(&start(), None);
    let told = [
        ("cerebros.run_id", "r"),
        ("cerebros.kind", "run"),
        ("mlflow.source.type", "JOB"),
        ("mlflow.source.name", "cerebros"),
        ("cerebros.state", "completed"),
        ("cerebros.attempt", "1"),
        ("cerebros.completed_trials", "0"),
        ("cerebros.failed_trials", "0"),
        ("cerebros.duration_ms", "5"),
        ("cerebros.ended_by", "max_trials"),
        ("cerebros.birth", "n1"),
        ("mlflow.note.content", "a note of somebody"),
    ];
    let told = told.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    WholeRun {
        id: "m1".into(),
        experiment: "1".into(),
        status: "FINISHED".into(),
        is_deleted: false,
        start_time: 1000,
        end_time: Some(2000),
        tags: told.chain(began.tags).collect::<BTreeMap<_, _>>(),
        params: began.params,
        metrics: Vec::new(),
    }
}

/// What is wrong after a change to the server's run.
fn wrong(change: impl FnOnce(&mut WholeRun)) -> Vec<(Kind, String)> {
    let (expected, mut found) = (expected(), whole());
    change(&mut found);
    let run = expected.runs.values().next().unwrap();
    let wrong = compare(&run.image, run.has_firm_curve(), &expected.names, &found);
    wrong.into_iter().map(|wrong| (wrong.kind, wrong.detail)).collect()
}

#[test]
fn a_run_as_it_should_be_has_nothing_wrong_and_what_people_add_is_theirs() {
    assert_eq!(wrong(|_| {}), []);
    let added = wrong(|run| {
        run.tags.insert("reviewed".into(), "yes".into());
        run.tags.insert("mlflow.user".into(), "somebody".into());
        run.tags.insert("cerebros.model.sha256.x".into(), "ab".into());
        run.tags.insert("cerebros.logged_model".into(), "m-1".into());
        run.tags.insert("cerebros.originals".into(), "cerebros/originals.json".into());
        run.params.insert("remark".into(), "fine".into());
    });
    assert_eq!(added, []);
}

#[test]
fn every_change_is_one_finding_that_names_it() {
    let told = |text: &str, kind: Kind| vec![(kind, text.to_owned())];
    assert_eq!(
        wrong(|run| run.status = "FAILED".into()),
        told("it is FAILED, and should be FINISHED", Kind::WrongStatus)
    );
    let is_left = wrong(|run| (run.status, run.end_time) = ("RUNNING".into(), None));
    assert_eq!(is_left, told("it is RUNNING, and should be FINISHED", Kind::LeftoverRunning));
    assert_eq!(
        wrong(|run| run.end_time = Some(2001)),
        told("its end is 2001, and should be 2000", Kind::WrongEnd)
    );
    assert_eq!(wrong(|run| drop(run.tags.remove("team"))), told("tag team is missing", Kind::WrongTag));
    let other = wrong(|run| drop(run.tags.insert("cerebros.attempt".into(), "9".into())));
    assert_eq!(other, told("tag cerebros.attempt is \"9\", not what was said", Kind::WrongTag));
    let surplus = wrong(|run| drop(run.tags.insert("cerebros.failure.class".into(), "oom".into())));
    assert_eq!(surplus, told("tag cerebros.failure.class should not be there", Kind::WrongTag));
    let param = wrong(|run| drop(run.params.insert("objective".into(), "x".repeat(99))));
    let quoted = format!("parameter objective is \"{}...\", not what was said", "x".repeat(60));
    assert_eq!(param, told(&quoted, Kind::WrongParam));
    assert_eq!(
        wrong(|run| drop(run.params.remove("objective"))),
        told("parameter objective is missing", Kind::WrongParam)
    );
    assert_eq!(
        wrong(|run| run.metrics.push(point(0, 1.0, 0))),
        told("nobody reported the metric m", Kind::SurplusMetric)
    );
}

#[test]
fn of_a_run_mlflow_refused_a_part_of_only_the_end_is_compared() {
    let refused = |run: &mut WholeRun| {
        run.tags.insert(REFUSED_TAG.into(), "its words".into());
        run.params.clear();
    };
    assert_eq!(wrong(refused), []);
    assert_eq!(wrong(|run| (refused(run), run.status = "KILLED".into()).1).len(), 1);
}

fn point(step: i64, value: f64, timestamp: i64) -> HistoryPoint {
    HistoryPoint { key: "m".into(), value: Real(value), timestamp, step }
}

#[test]
fn the_points_of_a_metric_are_compared_in_any_order() {
    let mut should = Tally::none();
    for (step, value) in [(0, 0.5), (1, -0.0), (2, 0.25)] {
        should.add(step, 10 * step, value);
    }
    let points = || vec![point(2, 0.25, 20), point(0, 0.5, 0), point(1, 0.0, 10)];
    let told = |points| compare_history("m", &should, points).map(|wrong| (wrong.kind, wrong.detail));
    assert_eq!(told(points()), None);
    let fewer = told(points().split_off(1)).unwrap();
    assert_eq!(fewer, (Kind::MissingMetric, "metric m has 2 points of 3".to_owned()));
    let more = [points(), vec![point(3, 0.1, 30)]].concat();
    assert_eq!(told(more).unwrap().0, Kind::SurplusMetric);
    let others = vec![point(2, 0.25, 20), point(0, 0.5, 0), point(1, 0.125, 10)];
    assert_eq!(told(others).unwrap().0, Kind::MissingMetric);
}

#[test]
fn of_values_that_came_late_only_the_one_that_counts_is_compared() {
    let mut should = Tally::none();
    should.add(1, 0, 0.5);
    should.is_loose = true;
    assert_eq!(compare_history("m", &should, vec![point(7, 0.5, 3), point(0, 0.1, 0)]), None);
    assert!(compare_history("m", &should, vec![point(7, 0.25, 3)]).is_some());
}
