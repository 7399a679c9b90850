//! A run that was over and is asked for again: MLflow shows it as it is now.

use std::collections::BTreeMap;

use schemas::event::{
    MetricReported, MlRunFinalized, MlRunStarted, RunCancelled, TrialReported, TrialStatus,
};
use schemas::{Event, Failure, FailureClass, Real, RunId, Stage};
use testkit::{Mlflow, experiment_name};

use crate::commands::assert_clean;
use crate::events::{BEGAN, at, ended, reported, run, started, value, values};
use crate::pipeline::Pipeline;
use crate::server::{Run, Server};

/// The first attempt: trial 0 succeeds, trial 1 fails on its way.
pub(crate) fn first(run: &RunId, experiment: &str) -> Vec<Event> {
    let mut events = vec![started(run, experiment)];
    events.extend(values(run, 0));
    events.push(reported(run, 0).into());
    events.extend(values(run, 1));
    let failure = Failure::new(FailureClass::Oom, Stage::Execute, "no memory left");
    let failed = TrialReported {
        status: TrialStatus::Failed,
        failure: Some(failure),
        metrics: BTreeMap::new(),
        warnings: vec!["tight".to_owned()],
        ..reported(run, 1)
    };
    events.extend([failed.into(), value(run, 1, "loss", 9, f64::NAN)]);
    events.extend(ended(run, 1));
    events
}

/// The same event, as the attempt says it that trains the failed trial again, so much later.
fn again(event: Event) -> Event {
    const LATER: i64 = 1_000_000;
    match event {
        Event::MlRunStarted(event) => MlRunStarted { timestamp: at(LATER), ..event }.into(),
        Event::MlRunFinalized(event) => MlRunFinalized { timestamp: at(LATER + 500), ..event }.into(),
        Event::RunCompleted(event) => schemas::event::RunCompleted { attempt: 2, ..event }.into(),
        Event::TrialReported(event) => TrialReported {
            attempt: Some(2),
            started_at: Some(at(LATER)),
            finished_at: Some(at(LATER + 400)),
            ..event
        }
        .into(),
        Event::MetricReported(event) => MetricReported {
            attempt: Some(2),
            recorded_at: at(LATER + event.step),
            value: Real(event.value.0 + 100.0),
            ..event
        }
        .into(),
        other @ (Event::RunRequested(_)
        | Event::RunCancelRequested(_)
        | Event::RunStarted(_)
        | Event::RunFailed(_)
        | Event::RunCancelled(_)
        | Event::RunInterrupted(_)
        | Event::RunException(_)) => other,
    }
}

/// The second attempt up to the middle of its trial, and the rest.
pub(crate) fn second(run: &RunId, experiment: &str) -> (Vec<Event>, Vec<Event>) {
    let mut begin = vec![started(run, experiment)];
    begin.extend(values(run, 1));
    begin.push(value(run, 1, "gradient", 0, f64::INFINITY));
    let mut end = vec![Event::from(reported(run, 1))];
    end.extend(ended(run, 2));
    let again = |events: Vec<Event>| events.into_iter().map(again).collect();
    (again(begin), again(end))
}

fn values_of(trial: &Run, name: &str) -> Vec<(i64, f64)> {
    trial.history[name].iter().map(|(step, value, _)| (*step, *value)).collect()
}

fn check_end(runs: &BTreeMap<String, Run>, name: &str) {
    let (parent, trial) = (&runs[name], &runs["trial-00001"]);
    assert_eq!((parent.status.as_str(), parent.tags["cerebros.state"].as_str()), ("FINISHED", "completed"));
    assert_eq!(
        (parent.tags["cerebros.attempt"].as_str(), parent.params["dataset_id"].as_str()),
        ("2", "digits")
    );
    assert_eq!(parent.tags["cerebros.best_trial_id"], format!("{name}-t00001"));
    assert_eq!(
        parent.history["accuracy"].last().map(|(_, value, at)| (*value, *at)),
        Some((1.5, BEGAN + 1_000_500))
    );
    assert_eq!((trial.status.as_str(), trial.tags["cerebros.status"].as_str()), ("FINISHED", "succeeded"));
    assert_eq!((trial.tags["cerebros.attempt"].as_str(), trial.end_time), ("2", Some(BEGAN + 1_000_400)));
    assert_eq!(trial.tags["cerebros.nonfinite.gradient"], "{\"Infinity\":[[0,0]]}");
    let old = ["cerebros.failure.", "cerebros.warnings", "cerebros.nonfinite.loss"];
    let stale = |tag: &&String| old.iter().any(|name| tag.starts_with(name));
    assert_eq!(trial.tags.keys().find(stale), None, "what was wrong is history");
    let both = [(0, 1.0), (0, 101.0), (1, 1.1), (1, 101.1), (2, 1.2), (2, 101.2)];
    assert_eq!(values_of(trial, "loss"), both);
    assert_eq!(
        values_of(trial, "accuracy"),
        [&both[..], &[(3, 1.5)]].concat(),
        "the result stands behind all"
    );
    assert_eq!(runs.len(), 3);
}

#[tokio::test]
async fn a_completed_run_whose_failed_trials_are_trained_again_runs_and_ends_again() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, run) = (experiment_name("reopened"), run("reopened"));
    let server = Server::at(&mlflow.url());
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.publish(&run, &first(&run, &experiment)).await;
    pipeline.caught_up().await;
    let runs = server.runs(&experiment).await;
    assert_eq!(
        (runs["reopened"].status.as_str(), runs["trial-00001"].status.as_str()),
        ("FINISHED", "FAILED")
    );
    assert_eq!(runs["trial-00001"].tags["cerebros.failure.class"], "oom");

    let (begin, end) = second(&run, &experiment);
    pipeline.publish_in(2, 2, &run, &begin).await;
    pipeline.caught_up().await;
    let runs = server.runs(&experiment).await;
    let (parent, trial) = (&runs["reopened"], &runs["trial-00001"]);
    assert_eq!((parent.status.as_str(), trial.status.as_str()), ("RUNNING", "RUNNING"));
    assert_eq!(parent.tags["cerebros.state"], "running");
    assert!(
        !parent.tags.contains_key("cerebros.ended_by") && !trial.tags.contains_key("cerebros.failure.class")
    );

    pipeline.publish_in(2, 2, &run, &end).await;
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;
    let runs = server.runs(&experiment).await;
    check_end(&runs, "reopened");
    assert_eq!(values_of(&runs["reopened"], "best/accuracy"), [(1, 0.5), (2, 0.5), (2, 1.5)]);

    let before = server.run_set(&experiment).await;
    for keeps_ledger in [true, false] {
        pipeline.forget_the_position().await;
        if !keeps_ledger {
            pipeline.delete_the_ledger();
        }
        let sink = pipeline.sink(&mlflow.url(), "unused");
        pipeline.caught_up().await;
        sink.stop().await;
        assert_clean(&pipeline, &mlflow.url()).await;
        assert_eq!(server.run_set(&experiment).await, before, "with the ledger: {keeps_ledger}");
    }
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_sink_that_comes_late_or_lost_its_ledger_shows_the_same_end() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let server = Server::at(&mlflow.url());
    for (name, loses_ledger) in [("late", false), ("lost", true)] {
        let (experiment, run) = (experiment_name(name), run(name));
        let (begin, end) = second(&run, &experiment);
        pipeline.publish(&run, &first(&run, &experiment)).await;
        if loses_ledger {
            let sink = pipeline.sink(&mlflow.url(), "unused");
            pipeline.caught_up().await;
            sink.stop().await;
            assert_clean(&pipeline, &mlflow.url()).await;
            pipeline.delete_the_ledger();
        }
        pipeline.publish_in(2, 2, &run, &[begin, end].concat()).await;
        let sink = pipeline.sink(&mlflow.url(), "unused");
        pipeline.caught_up().await;
        sink.stop().await;
        assert_clean(&pipeline, &mlflow.url()).await;
        check_end(&server.runs(&experiment).await, name);
    }
}

/// What the server has of a run whose second attempt is told in two parts.
async fn in_two_parts(name: &str, between: impl AsyncFn(&Pipeline)) -> BTreeMap<String, Run> {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, run) = (experiment_name(name), run("amid"));
    let (mut begun, end) = second(&run, &experiment);
    // Its start and the first epoch of the trial that is trained again.
    let rest = begun.split_off(3);
    let beside = TrialReported { attempt: Some(2), ..reported(&run, 2) };
    let parts = [begun, [rest, vec![beside.into()], end].concat()];
    pipeline.publish(&run, &first(&run, &experiment)).await;
    for (part, is_last) in parts.iter().zip([false, true]) {
        pipeline.publish_in(2, 2, &run, part).await;
        let sink = pipeline.sink(&mlflow.url(), "unused");
        pipeline.caught_up().await;
        sink.stop().await;
        assert_clean(&pipeline, &mlflow.url()).await;
        if !is_last {
            between(&pipeline).await;
        }
    }
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
    let mut runs = Server::at(&mlflow.url()).runs(&experiment).await;
    for run in runs.values_mut() {
        // What differs between any two runs.
        (run.id, run.end_time) = (String::new(), run.end_time.filter(|_| run.name != "amid"));
        for tag in ["cerebros.birth", "cerebros.experiment", "cerebros.spec_sha256", "mlflow.parentRunId"] {
            run.tags.remove(tag);
        }
    }
    runs
}

#[tokio::test]
async fn a_ledger_lost_within_the_second_attempt_leaves_no_trace() {
    let undisturbed = in_two_parts("amid", async |_| {}).await;
    let both = [(0, 1.0), (0, 101.0), (1, 1.1), (1, 101.1), (2, 1.2), (2, 101.2)];
    assert_eq!(values_of(&undisturbed["trial-00001"], "loss"), both);
    let lost = in_two_parts("amid-lost", async |pipeline| pipeline.delete_the_ledger()).await;
    assert_eq!(lost, undisturbed);
    let told_again = in_two_parts("amid-again", async |pipeline| {
        pipeline.delete_the_ledger();
        pipeline.forget_the_position().await;
    });
    assert_eq!(told_again.await, undisturbed);
}

#[tokio::test]
async fn a_trial_that_is_cancelled_between_two_tries_is_killed_and_keeps_its_values() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, run) = (experiment_name("between"), run("between"));
    let mut events = vec![started(&run, &experiment)];
    events.extend(values(&run, 0));
    let cancelled =
        TrialReported { status: TrialStatus::Cancelled, metrics: BTreeMap::new(), ..reported(&run, 0) };
    events.push(cancelled.into());
    let mut pruned = reported(&run, 1);
    pruned.status = TrialStatus::Pruned;
    events.extend(values(&run, 1));
    events.push(pruned.into());
    let cancel =
        RunCancelled { run_id: run.clone(), attempt: 1, reason: None, completed_trials: 2, duration_ms: 5 };
    events.push(cancel.into());
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.publish(&run, &events).await;
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;

    let runs = Server::at(&mlflow.url()).runs(&experiment).await;
    let (cancelled, pruned) = (&runs["trial-00000"], &runs["trial-00001"]);
    assert_eq!(
        (cancelled.status.as_str(), cancelled.tags["cerebros.status"].as_str()),
        ("KILLED", "cancelled")
    );
    assert_eq!(values_of(cancelled, "accuracy"), [(0, 0.0), (1, 0.1), (2, 0.2)]);
    assert_eq!((pruned.status.as_str(), pruned.tags["cerebros.status"].as_str()), ("KILLED", "pruned"));
    assert_eq!(values_of(pruned, "accuracy").last(), Some(&(3, 1.5)), "where it was when it was stopped");
    assert!(!runs["between"].history.contains_key("best/accuracy"), "neither of them is a best trial");
}
