use proptest::prelude::*;
use schemas::event::{FinalStatus, MlRunFinalized, RunCompleted, RunFailed, TrialStatus};
use schemas::event::{MetricReported, MlRunStarted, TrialReported};
use schemas::{Failure, FailureClass, Json, Real, Stage, Timestamp};
use serde_json::json;

use super::*;

fn run() -> RunId {
    RunId::parse("r").unwrap()
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_micros(millis * 1000)
}

fn started(time: i64) -> Event {
    MlRunStarted {
        run_id: run(),
        timestamp: at(time),
        dataset_id: Some("digits".into()),
        search_space: Json::object(),
        objective: "accuracy".into(),
        pulse_id: None,
        budget: Json(json!({"max_trials": 3})),
        parameters: Json::object(),
        tau: None,
        correlation_id: None,
        extra: Json(json!({"direction": "maximize"})),
    }
    .into()
}

fn value(number: u64, attempt: u32, step: i64, value: f64) -> Event {
    MetricReported {
        run_id: run(),
        trial_id: TrialId::numbered(&run(), number),
        name: "loss".into(),
        value: Real(value),
        step,
        recorded_at: at(i64::from(attempt) * 10_000 + step),
        attempt: Some(attempt),
    }
    .into()
}

fn report(number: u64, attempt: u32, status: TrialStatus, loss: f64) -> Event {
    let failure = (status == TrialStatus::Failed)
        .then(|| Failure::new(FailureClass::Oom, Stage::Execute, "no memory left"));
    TrialReported {
        number: u32::try_from(number).ok(),
        attempt: Some(attempt),
        metrics: [("loss".to_owned(), Real(loss)), ("accuracy".to_owned(), Real(-loss))].into(),
        parameters: Json(json!({"layers": number})),
        finished_at: Some(at(i64::from(attempt) * 10_000 + 500)),
        failure,
        ..TrialReported::new(run(), TrialId::numbered(&run(), number), status)
    }
    .into()
}

fn failed(attempt: u32) -> Event {
    let failure = Failure::new(FailureClass::Dependency, Stage::Execute, "gone");
    RunFailed { run_id: run(), attempt, failure, completed_trials: 1, duration_ms: 5 }.into()
}

fn completed(attempt: u32) -> Event {
    RunCompleted {
        run_id: run(),
        attempt,
        status: "succeeded".into(),
        completed_trials: 2,
        failed_trials: 0,
        best_trial_id: None,
        best_metric: None,
        best_model: Json::object(),
        population_history: Json::list(),
        duration_ms: 5,
        artifact_refs: Vec::new(),
    }
    .into()
}

fn finalized(attempt: u32) -> Event {
    MlRunFinalized {
        run_id: run(),
        status: FinalStatus::Succeeded,
        timestamp: at(i64::from(attempt) * 10_000 + 900),
        pulse_id: None,
        correlation_id: None,
        metrics: [("loss".to_owned(), Real(0.5))].into(),
        best_trial_id: None,
        duration_ms: None,
        returncode: None,
        artifact_refs: Vec::new(),
        warnings: Vec::new(),
        stdout_excerpt: None,
        payload: Json::object(),
    }
    .into()
}

/// Two attempts: the first fails with a trial failed and one left behind, the second trains both again.
fn course() -> Vec<Event> {
    let mut events = vec![started(10_000)];
    events.extend((0..3).map(|step| value(0, 1, step, 0.5)));
    events.push(report(0, 1, TrialStatus::Failed, f64::NAN));
    events.extend([value(1, 1, 0, 0.5), value(1, 1, 7, f64::INFINITY), failed(1), started(20_000)]);
    events.extend((0..2).flat_map(|number| [value(number, 2, 0, 0.25), value(number, 2, 1, 0.125)]));
    events.extend([report(0, 2, TrialStatus::Succeeded, 0.1), report(1, 2, TrialStatus::Pruned, 0.2)]);
    events.extend([finalized(2), completed(2)]);
    events
}

/// Events with the times they have by their place, and a place in the stream.
fn fold(events: &[(usize, Event)], refused: &[usize]) -> Expected {
    let mut expected = Expected::default();
    for (place, event) in events {
        let at = at(10_000 + i64::try_from(*place).unwrap() * 1000);
        let seen =
            Seen { event: event.clone(), at, schema: None, attempt: None, sequence: 1 + *place as u64 };
        expected.see(&seen, refused.contains(place));
    }
    expected.finish();
    expected
}

type TextFacts = Vec<(String, u64)>;
/// What is compared, with names as they are.
type Told = (RunStatus, Option<i64>, TextFacts, TextFacts, Vec<(String, u32, u64, (i64, i64, u64))>);

fn told(expected: &Expected) -> Vec<Told> {
    let run = &expected.runs[&run()];
    let images = std::iter::once(&run.image).chain(run.trials.values().map(|trial| &trial.image));
    let names = |facts: &Facts| {
        let mut all: Vec<_> =
            facts.iter().map(|(name, hash)| (expected.names.text(name).to_owned(), hash)).collect();
        all.sort();
        all
    };
    images
        .map(|image| {
            let mut metrics: Vec<_> = image
                .metrics
                .iter()
                .map(|(name, tally)| {
                    let (step, time, value) = tally.latest;
                    let name = expected.names.text(*name).to_owned();
                    (name, tally.count, tally.sum, (step, time, value.to_bits()))
                })
                .collect();
            metrics.sort();
            (image.status, image.end_time, names(&image.params), names(&image.tags), metrics)
        })
        .collect()
}

fn tag(expected: &Expected, image: &Image, name: &str) -> Option<u64> {
    image.tags.get(expected.names.find(name)?)
}

#[test]
fn a_run_that_was_asked_for_again_is_as_its_last_attempt_left_it() {
    let events: Vec<_> = course().into_iter().enumerate().collect();
    let expected = fold(&events, &[]);
    let run = &expected.runs[&run()];
    assert_eq!((run.image.status, run.begins, run.image.is_partial()), (RunStatus::Finished, true, false));
    assert_eq!(tag(&expected, &run.image, "cerebros.failure.class"), None);
    let trials: Vec<&Trial> = run.trials.values().collect();
    assert_eq!((trials[0].image.status, trials[1].image.status), (RunStatus::Finished, RunStatus::Killed));
    for trial in trials {
        assert_eq!(tag(&expected, &trial.image, "cerebros.failure.class"), None);
        assert_eq!(tag(&expected, &trial.image, "cerebros.nonfinite.loss"), None);
    }
    let loss = expected.names.find("loss").unwrap();
    let tally = run.trials[&TrialId::numbered(&self::run(), 0)].image.metric(loss).unwrap();
    assert_eq!((tally.count, tally.latest.0, tally.is_loose), (3 + 2 + 1, 3, false));
    assert!(run.has_firm_curve());
}

#[test]
fn a_trial_its_run_left_behind_is_closed_with_it_and_a_late_report_takes_that_back() {
    let mut events = vec![started(10_000), value(0, 1, 0, 0.5), failed(1)];
    let lost = fold(&events.clone().into_iter().enumerate().collect::<Vec<_>>(), &[]);
    let trial = lost.runs[&run()].trials.values().next().unwrap();
    assert_eq!(trial.image.status, RunStatus::Failed);
    assert_eq!(tag(&lost, &trial.image, "cerebros.status"), Some(Facts::hash("lost")));
    events.push(report(0, 1, TrialStatus::Succeeded, 0.1));
    let late = fold(&events.into_iter().enumerate().collect::<Vec<_>>(), &[]);
    let trial = late.runs[&run()].trials.values().next().unwrap();
    assert_eq!(trial.image.status, RunStatus::Finished);
    assert_eq!(tag(&late, &trial.image, "cerebros.unreported"), None);
    let loss = trial.image.metric(late.names.find("loss").unwrap()).unwrap();
    assert_eq!((loss.count, loss.latest.0), (2, 1));
}

#[test]
fn of_what_mlflow_refused_only_the_end_is_expected() {
    let events =
        vec![started(10_000), value(0, 1, 0, 0.5), report(0, 1, TrialStatus::Succeeded, 0.1), completed(1)];
    let expected = fold(&events.into_iter().enumerate().collect::<Vec<_>>(), &[1, 2]);
    let run = &expected.runs[&run()];
    let trial = run.trials.values().next().unwrap();
    assert_eq!(
        (trial.image.status, trial.image.is_partial(), trial.is_refused),
        (RunStatus::Finished, true, true)
    );
    assert!(!run.image.is_partial() && trial.image.metrics.is_empty());
    let best = expected.names.find("best/accuracy").and_then(|best| run.image.metric(best));
    assert_eq!(best, None, "what MLflow does not have is not the best");
}

#[test]
fn what_mlflow_took_when_it_was_told_again_is_expected_whole() {
    let report = report(0, 1, TrialStatus::Succeeded, 0.1);
    let events = [started(10_000), report.clone(), completed(1), started(10_000), report, completed(1)];
    let whole = |refused: &[usize]| {
        let expected = fold(&events.iter().cloned().enumerate().collect::<Vec<_>>(), refused);
        let run = &expected.runs[&run()];
        (run.image.is_partial(), run.trials.values().next().unwrap().image.is_partial())
    };
    assert_eq!(whole(&[0, 1, 2]), (false, false));
    assert_eq!(whole(&[0, 1, 2, 3]), (true, false));
    assert_eq!(whole(&[0, 1, 2, 5]), (true, false));
    assert_eq!(whole(&[0, 1, 2, 4]), (false, true));
}

#[test]
fn a_value_mlflow_took_when_it_was_told_again_is_expected_whole() {
    let (first, second) = (value(0, 1, 0, 0.5), value(0, 1, 1, 0.25));
    let report = report(0, 1, TrialStatus::Succeeded, 0.1);
    let mut events = vec![started(10_000), first.clone(), second.clone(), report, completed(1)];
    let trial = |events: &[Event], refused: &[usize]| {
        let expected = fold(&events.iter().cloned().enumerate().collect::<Vec<_>>(), refused);
        expected.runs[&run()].trials.values().next().unwrap().image.is_partial()
    };
    assert!(trial(&events, &[1]));
    events.push(first);
    assert!(!trial(&events, &[1]));
    assert!(trial(&events, &[1, 5]), "it was refused again");
    assert!(trial(&events, &[1, 2]), "another one is still refused");
    // As an operator mended it.
    events.push(value(0, 1, 1, 0.125));
    assert!(!trial(&events, &[1, 2]));
}

#[test]
fn where_a_value_stands_that_comes_after_the_final_one_is_not_known() {
    let events = vec![started(10_000), report(0, 1, TrialStatus::Succeeded, 0.1), value(0, 1, 0, 0.5)];
    let expected = fold(&events.into_iter().enumerate().collect::<Vec<_>>(), &[]);
    let trial = expected.runs[&run()].trials.values().next().unwrap();
    assert!(trial.image.metric(expected.names.find("loss").unwrap()).unwrap().is_loose);
    assert!(!trial.image.metric(expected.names.find("accuracy").unwrap()).unwrap().is_loose);
}

#[test]
fn a_run_whose_end_only_the_registry_knows_is_over() {
    let over = Over { attempt: Some(1), status: RunStatus::Failed, end_time: 7, reason: None };
    let events = vec![started(10_000), value(0, 1, 0, 0.5)];
    let mut expected = fold(&events.into_iter().enumerate().collect::<Vec<_>>(), &[]);
    expected.end_by_registry(&run(), &Writes::default(), over);
    expected.finish();
    let run = &expected.runs[&run()];
    let trial = &run.trials.values().next().unwrap().image;
    assert_eq!((run.image.status, run.image.end_time), (RunStatus::Failed, Some(7)));
    assert_eq!((trial.status, trial.end_time), (RunStatus::Failed, Some(7)));
}

proptest! {
    #[test]
    fn an_event_that_comes_again_later_changes_nothing(
        again in prop::collection::vec((0_usize..18, 0_usize..18), 0..12),
    ) {
        let course = course();
        let once: Vec<_> = course.iter().cloned().enumerate().collect();
        // Each event in its order, and some of those before it once more behind it.
        let mut twice = Vec::new();
        for (place, event) in course.iter().cloned().enumerate() {
            twice.push((place, event));
            let behind = again.iter().filter(|(_, behind)| *behind == place);
            let before = behind.map(|(before, _)| *before).filter(|before| *before <= place);
            twice.extend(before.map(|before| (before, course[before].clone())));
        }
        prop_assert_eq!(told(&fold(&once, &[])), told(&fold(&twice, &[])));
    }

    #[test]
    fn a_stream_that_is_read_from_anywhere_before_once_more_changes_nothing(
        stop in 1_usize..19, back in 0_usize..19,
    ) {
        let course = course();
        let stop = stop.min(course.len());
        let places = (0..stop).chain(back.min(stop)..course.len());
        let again: Vec<_> = places.map(|place| (place, course[place].clone())).collect();
        let once: Vec<_> = course.into_iter().enumerate().collect();
        prop_assert_eq!(told(&fold(&once, &[])), told(&fold(&again, &[])));
    }
}
