use schemas::event::{MlRunStarted, TrialReported, TrialStatus};
use schemas::{Event, Json, Real, Timestamp, TrialId};
use serde_json::Value;

use super::*;
use crate::client::HistoryPoint;
use crate::client::whole::WholeRun;
use crate::projection::Seen;

fn run() -> RunId {
    RunId::parse("r").unwrap()
}

fn trial() -> TrialId {
    TrialId::numbered(&run(), 0)
}

/// A run with one trial, of which every event may have been refused.
fn expected(is_refused: bool) -> Expected {
    let start = serde_json::json!({"run_id": "r", "timestamp": "2026-01-01T00:00:00Z", "objective": "a"});
    let start: MlRunStarted = serde_json::from_value(start).unwrap();
    let report = TrialReported {
        parameters: Json(Value::Null),
        spectral_norm_value: Some(Real(1.5)),
        ..TrialReported::new(run(), trial(), TrialStatus::Succeeded)
    };
    let mut expected = Expected::default();
    for (sequence, event) in [(1, Event::from(start)), (2, Event::from(report))] {
        let seen = Seen { event, at: Timestamp::from_micros(0), schema: None, attempt: None, sequence };
        expected.see(&seen, is_refused && sequence == 2);
    }
    expected.finish();
    expected
}

/// An MLflow run that says what it is of; what else is wrong with it is not looked at here.
fn found(id: &str, trial: Option<&str>, is_deleted: bool, start_time: i64) -> WholeRun {
    let mut tags = BTreeMap::from([("cerebros.run_id".to_owned(), "r".to_owned())]);
    let kind = if trial.is_some() { "trial" } else { "run" };
    tags.insert("cerebros.kind".to_owned(), kind.to_owned());
    if let Some(trial) = trial {
        tags.insert("cerebros.trial_id".to_owned(), trial.to_owned());
        tags.insert(PARENT_TAG.to_owned(), "m".to_owned());
    }
    let (id, experiment, status) = (id.to_owned(), "1".to_owned(), "RUNNING".to_owned());
    let (params, metrics) = (BTreeMap::new(), Vec::new());
    WholeRun { id, experiment, status, is_deleted, start_time, end_time: None, tags, params, metrics }
}

/// Kinds of what is found about whether the runs are there.
fn kinds(expected: &Expected, scope: &Scope, births: &[(&str, &str)], server: &[WholeRun]) -> Vec<Kind> {
    let mut survey = Survey::default();
    server.iter().for_each(|run| survey.see(expected, scope, run));
    for sighting in survey.sightings.values_mut().flatten() {
        sighting.wrong.clear();
    }
    let births = births.iter().map(|(trial, id)| {
        let trial = (!trial.is_empty()).then(|| TrialId::from_text(*trial));
        ((run(), trial), (*id).to_owned())
    });
    let findings = survey.judge(expected, scope, &births.collect(), &BTreeSet::from([run()]));
    findings.into_iter().map(|finding| finding.kind).collect()
}

#[test]
fn what_is_missing_deleted_or_there_twice_is_told() {
    let (known, scope, id) = (expected(false), Scope::default(), trial());
    let (parent, child) = (found("m", None, false, 1), found("c", Some(id.as_str()), false, 2));
    let told = |server: &[WholeRun]| kinds(&known, &scope, &[], server);
    assert_eq!(told(&[parent.clone(), child.clone()]), []);
    assert_eq!(told(&[]), [Kind::MissingRun, Kind::MissingRun]);
    assert_eq!(told(std::slice::from_ref(&parent)), [Kind::MissingRun]);
    let deleted = found("c", Some(id.as_str()), true, 2);
    assert_eq!(told(&[parent.clone(), deleted]), [Kind::DeletedRun]);
    let double = found("d", Some(id.as_str()), false, 3);
    assert_eq!(told(&[parent.clone(), double, child.clone()]), [Kind::Duplicate]);
    // Whoever was deleted beside the one that is used was deleted on purpose.
    let old = found("b", Some(id.as_str()), true, 0);
    assert_eq!(told(&[parent, old, child]), []);
}

#[test]
fn a_run_that_two_pages_hold_because_one_came_in_before_it_is_seen_once() {
    let (known, id) = (expected(false), trial());
    let point = HistoryPoint { key: "spectral_norm_value".into(), value: Real(1.5), timestamp: 0, step: 0 };
    let child = WholeRun { metrics: vec![point], ..found("c", Some(id.as_str()), false, 2) };
    let mut survey = Survey::default();
    for run in [&child, &child] {
        survey.see(&known, &Scope::default(), run);
    }
    assert_eq!(survey.sightings[&(run(), Some(id))].len(), 1);
    // Asked for twice, the points would come with the first and be missing with the second.
    assert_eq!(survey.histories.values().map(Vec::len).collect::<Vec<_>>(), [1]);
}

#[test]
fn of_several_the_one_of_the_birth_is_used_and_else_the_oldest() {
    let (known, scope, id) = (expected(false), Scope::default(), trial());
    let mut survey = Survey::default();
    for run in [found("c", Some(id.as_str()), false, 2), found("d", Some(id.as_str()), false, 3)] {
        survey.see(&known, &scope, &run);
    }
    let key = (run(), Some(id));
    assert_eq!(&*survey.kept(&key, &BTreeMap::new()).unwrap().id, "c");
    assert_eq!(&*survey.kept(&key, &BTreeMap::from([(key.clone(), "d".to_owned())])).unwrap().id, "d");
}

#[test]
fn what_nobody_speaks_of_is_an_orphan_unless_it_is_older_than_the_stream() {
    let (known, id) = (expected(false), trial());
    let mut server = vec![found("m", None, false, 1), found("c", Some(id.as_str()), false, 2)];
    server.push(found("x", Some("r-t00009"), false, 5));
    assert_eq!(kinds(&known, &Scope::default(), &[], &server), [Kind::Orphan]);
    let scope = Scope { known_since: Some(6), ..Scope::default() };
    assert_eq!(kinds(&known, &scope, &[], &server), []);
    // A run the stream does not know at all: its trials are told by it.
    assert_eq!(kinds(&Expected::default(), &Scope::default(), &[], &server), [Kind::Orphan]);
}

#[test]
fn what_another_broker_has_made_for_a_run_of_the_same_name_is_left_alone() {
    let (known, scope, id) = (expected(false), Scope::default(), trial());
    let mut survey = Survey::default();
    let mut server = vec![found("m", None, false, 1), found("c", Some(id.as_str()), false, 2)];
    let foreign = [found("x", None, false, 0), found("y", Some(id.as_str()), false, 0)];
    server.extend(foreign.into_iter().chain([found("z", Some("r-t00009"), false, 0)]));
    for (number, run) in server.iter_mut().enumerate() {
        run.tags.insert("cerebros.birth".into(), format!("n{number}"));
        if ["y", "z"].contains(&run.id.as_str()) {
            run.tags.insert(PARENT_TAG.into(), "x".into());
        }
        survey.see(&known, &scope, run);
    }
    let mut births = BTreeMap::from([((run(), None), "m".to_owned())]);
    survey.leave_out_foreign(&births, false);
    assert_eq!(survey.unclear_trials(&known, &births).len(), 2);
    births.insert((run(), Some(trial())), "c".to_owned());
    survey.leave_out_foreign(&births, true);
    let left: Vec<&str> = survey.sightings.values().flatten().map(|one| &*one.id).collect();
    assert_eq!(left, ["m", "c"]);
}

#[test]
fn a_trial_of_another_parent_and_one_that_was_refused_altogether() {
    let id = trial();
    let mut child = found("c", Some(id.as_str()), false, 2);
    child.tags.insert(PARENT_TAG.to_owned(), "somebody".to_owned());
    let parent = found("m", None, false, 1);
    let scope = Scope::default();
    assert_eq!(kinds(&expected(false), &scope, &[], &[parent.clone(), child]), [Kind::WrongTag]);
    assert_eq!(kinds(&expected(true), &scope, &[], &[parent]), []);
}

#[test]
fn a_run_that_is_still_being_written_or_was_not_asked_for_is_not_judged() {
    let known = expected(false);
    let moving = Scope { moving: BTreeSet::from([run()]), ..Scope::default() };
    let partial = Scope { partial: BTreeSet::from([run()]), ..Scope::default() };
    let another = Scope { only: Some(RunId::parse("other").unwrap()), ..Scope::default() };
    for scope in [moving, partial, another] {
        assert_eq!(kinds(&known, &scope, &[], &[]), []);
    }
}
