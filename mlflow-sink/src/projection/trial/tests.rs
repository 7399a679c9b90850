use schemas::{Failure, FailureClass, Json, Real, Stage, Timestamp};
use serde_json::json;

use super::*;

fn run() -> RunId {
    RunId::parse("r").unwrap()
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_micros(millis * 1000)
}

fn seen(event: impl Into<Event>) -> Seen {
    Seen { event: event.into(), at: at(9_000), schema: None, attempt: None, sequence: 1 }
}

fn report(status: TrialStatus) -> TrialReported {
    TrialReported { number: Some(42), ..TrialReported::new(run(), TrialId::numbered(&run(), 42), status) }
}

fn value(value: f64) -> MetricReported {
    let (run_id, trial_id) = (run(), TrialId::numbered(&run(), 7));
    let (name, value, step, recorded_at) = ("accuracy".into(), Real(value), 3, at(1_500));
    MetricReported { run_id, trial_id, name, value, step, recorded_at, attempt: None }
}

fn project(report: &TrialReported) -> Report {
    reported(report, &seen(report.clone()))
}

#[test]
fn every_status_has_its_honest_counterpart() {
    let status = |status| project(&report(status)).closing.status;
    assert_eq!(status(TrialStatus::Succeeded), RunStatus::Finished);
    assert_eq!(status(TrialStatus::Failed), RunStatus::Failed);
    for ended in [TrialStatus::Pruned, TrialStatus::Cancelled, TrialStatus::Skipped] {
        assert_eq!(status(ended), RunStatus::Killed);
    }
}

#[test]
fn times_are_those_of_the_event_and_else_of_its_envelope() {
    let mut report = report(TrialStatus::Succeeded);
    let born =
        |report: &TrialReported| birth(&run(), &report.trial_id, "p", &[&seen(report.clone())]).start_time;
    assert_eq!((born(&report), project(&report).closing.end_time), (9_000, 9_000));
    report.duration_ms = Some(2_000);
    assert_eq!((born(&report), project(&report).closing.end_time), (7_000, 9_000));
    (report.started_at, report.finished_at) = (Some(at(1_000)), Some(at(4_000)));
    assert_eq!((born(&report), project(&report).closing.end_time), (1_000, 4_000));
}

#[test]
fn a_trial_is_born_with_the_tags_of_its_report_when_there_is_but_one() {
    let report = report(TrialStatus::Succeeded);
    let metric = seen(MetricReported { attempt: report.attempt, ..value(0.5) });
    let (told, kin) = (seen(report.clone()), || kin(Some("loss"), None, Some("mine")));
    let mut expected = project(&report).writes;
    expected.extend(kin());
    assert_eq!(tags_at_birth(&[&metric, &told], kin()), Some(expected.tags));
    assert_eq!(tags_at_birth(&[&metric], kin()), None, "nothing says how it ends");
    let again = seen(TrialReported { attempt: Some(2), ..report.clone() });
    assert_eq!(tags_at_birth(&[&told, &again], kin()), None, "two ends");
    let earlier = seen(MetricReported { attempt: Some(1), ..value(0.5) });
    assert_eq!(tags_at_birth(&[&earlier, &told], kin()), None, "two attempts");
    let huge = TrialReported { parent_ids: vec!["p".repeat(40); 90], ..report.clone() };
    assert!(tags_at_birth(&[&seen(huge)], kin()).is_some(), "a long tag is cut");
    let long = |name: usize| (format!("m{name}{}", "\u{e9}".repeat(300)), Real(0.5));
    let many = TrialReported { metrics: (0..90).map(long).collect(), ..report };
    assert_eq!(tags_at_birth(&[&seen(many)], kin()), None, "too many");
}

#[test]
fn a_trial_first_seen_by_a_metric_has_the_name_its_report_will_give_it() {
    let metric = value(0.5);
    let born = birth(&run(), &metric.trial_id, "p", &[&seen(metric.clone())]);
    assert_eq!((born.name.as_str(), born.start_time), ("trial-00007", 1_500));
    assert_eq!(born.tags[PARENT_TAG], "p");
    let foreign = TrialId::from_text("mine");
    assert_eq!(birth(&run(), &foreign, "p", &[&seen(metric)]).name, "mine");
    assert_eq!(project(&report(TrialStatus::Succeeded)).closing.name.as_deref(), Some("trial-00042"));
}

#[test]
fn parameters_are_flat_and_the_rest_are_tags() {
    let mut report = report(TrialStatus::Failed);
    report.parameters = Json(json!({"opt": {"lr": 0.1}, "layers": [8, 8]}));
    report.parent_ids = vec!["a".into(), "b".into()];
    report.worker_id = Some("w1".into());
    report.failure = Some(Failure::new(FailureClass::Oom, Stage::Execute, "killed"));
    report.spectral_norm_value = Some(Real(1.5));
    let Report { writes, finals, .. } = project(&report);
    assert_eq!(
        writes.params,
        BTreeMap::from([("layers".into(), "[8,8]".into()), ("opt.lr".into(), "0.1".into())])
    );
    for (tag, value) in [
        ("cerebros.status", "failed"),
        ("cerebros.parent_ids", "a,b"),
        ("cerebros.worker_id", "w1"),
        ("cerebros.failure.class", "oom"),
        ("cerebros.spectral_norm", "false"),
        ("cerebros.number", "42"),
    ] {
        assert_eq!(writes.tags[tag], value, "{tag}");
    }
    assert_eq!(finals, BTreeMap::from([("spectral_norm_value".into(), 1.5)]));
}

#[test]
fn what_is_no_number_is_told_and_not_stored() {
    let Value::Strange(strange) = metric(&value(f64::NAN)) else { panic!("no number") };
    let (mut known, mut writes) = (BTreeMap::new(), Writes::default());
    strange.note(&mut known, &mut writes);
    Strange { step: Some(5), ..strange.clone() }.note(&mut known, &mut writes);
    assert_eq!(writes.tags["cerebros.nonfinite.accuracy"], "{\"NaN\":[[3,3],[5,5]]}");
    let point = Point { key: "accuracy".into(), value: 0.5, timestamp: 1_500, step: 3 };
    assert_eq!(metric(&value(0.5)), Value::Point(Writes::default(), point));
    let mut report = report(TrialStatus::Failed);
    report.metrics.insert("loss".into(), Real(f64::NEG_INFINITY));
    let projected = project(&report);
    projected.strange[0].note(&mut known, &mut writes);
    assert_eq!(writes.tags["cerebros.nonfinite.loss"], "{\"final\":\"-Infinity\"}");
    assert!(projected.finals.is_empty());
}
