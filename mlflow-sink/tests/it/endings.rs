//! Whatever happens to a run, it ends in MLflow as it ended.

use schemas::event::{MlRunStarted, RunCancelled, RunCompleted, RunFailed, TrialReported, TrialStatus};
use schemas::{Event, Failure, FailureClass, Json, RunId, Stage};
use serde_json::json;
use service_kit::registry::Registry;
use service_kit::registry::record::{Claimant, claim};
use testkit::{HttpFault, HttpProxy, Mlflow, Rule, experiment_name, wait_until};

use crate::commands::{assert_clean, command};
use crate::events::{BEGAN, at, ended, reported, run, search, started, value, values};
use crate::own::Own;
use crate::pipeline::{CAUGHT_UP, Pipeline};
use crate::server::Server;

/// The end of an attempt that failed.
fn failed(run: &RunId, attempt: u32) -> Event {
    let failure = Failure::new(FailureClass::Dependency, Stage::Execute, "the data set is gone");
    RunFailed { run_id: run.clone(), attempt, failure, completed_trials: 1, duration_ms: 5 }.into()
}

fn cancelled(run: &RunId) -> Event {
    let reason = Some("enough".to_owned());
    RunCancelled { run_id: run.clone(), attempt: 1, reason, completed_trials: 0, duration_ms: 5 }.into()
}

/// The start of the run's second attempt, so much later; with another budget when it is `changed`.
fn started_again(run: &RunId, experiment: &str, is_changed: bool) -> Event {
    let Event::MlRunStarted(first) = started(run, experiment) else { panic!("a start") };
    let mut again = MlRunStarted { timestamp: at(1_000_000), ..first };
    if is_changed {
        again.budget = Json(json!({"max_trials": 99}));
    }
    again.into()
}

fn completed(run: &RunId, attempt: u32) -> Event {
    let Some(Event::RunCompleted(completed)) = ended(run, 2).pop() else { panic!("an end") };
    RunCompleted { attempt, ..completed }.into()
}

#[tokio::test]
async fn an_attempt_that_failed_and_the_next_one_are_told_in_their_order_when_they_come_together() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let experiment = experiment_name("together");
    let (running, over) = (run("goes-on"), run("is-over"));
    for run in [&running, &over] {
        let first = [started(run, &experiment), reported(run, 0).into(), failed(run, 1)];
        pipeline.publish(run, &first).await;
        pipeline.publish_in(2, 2, run, &[started_again(run, &experiment, false)]).await;
    }
    pipeline.publish_in(2, 2, &over, &[reported(&over, 1).into(), completed(&over, 2)]).await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;

    let runs = Server::at(&mlflow.url()).run_set(&experiment).await;
    let parent = |name: &str| runs.iter().find(|run| run.name == name).unwrap();
    assert_eq!(
        (parent("goes-on").status.as_str(), parent("is-over").status.as_str()),
        ("RUNNING", "FINISHED")
    );
    for name in ["goes-on", "is-over"] {
        let told = parent(name).tags.keys().find(|tag| tag.starts_with("cerebros.failure."));
        assert_eq!(told, None, "what the first attempt met is history: {name}");
    }
}

#[tokio::test]
async fn the_end_of_an_older_attempt_that_comes_again_after_the_ledger_was_lost_ends_nothing() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, run) = (experiment_name("old-end"), run("old-end"));
    pipeline.publish(&run, &[started(&run, &experiment), failed(&run, 1)]).await;
    pipeline.publish_in(2, 2, &run, &[started_again(&run, &experiment, false)]).await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;
    pipeline.delete_the_ledger();
    let twin = schemas::codec::encode(&failed(&run, 1), schemas::Encoding::Json).unwrap();
    pipeline.broker.jetstream.publish("ml.run.failed", twin.into()).await.unwrap().await.unwrap();
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;
    assert_eq!(Server::at(&mlflow.url()).runs(&experiment).await["old-end"].status, "RUNNING");
}

#[tokio::test]
async fn a_refused_report_ends_its_trial_and_says_why_its_values_are_missing() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, run) = (experiment_name("refused-end"), run("refused-end"));
    let mut again = reported(&run, 0);
    (again.attempt, again.parameters) = (Some(2), Json(json!({"layers": "changed"})));
    again.status = TrialStatus::Failed;
    pipeline.publish(&run, &[started(&run, &experiment), reported(&run, 0).into()]).await;
    pipeline.publish_in(2, 2, &run, &[value(&run, 1, "loss", 0, 0.5), again.into()]).await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;

    let runs = Server::at(&mlflow.url()).runs(&experiment).await;
    let trial = &runs["trial-00000"];
    assert_eq!((trial.status.as_str(), trial.tags["cerebros.status"].as_str()), ("FAILED", "failed"));
    assert!(trial.tags["cerebros.refused"].contains("Changing param values"), "{:?}", trial.tags);
    assert_eq!(pipeline.dead_letters().await.len(), 1);
}

#[tokio::test]
async fn a_refused_start_opens_its_run_again_all_the_same() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, run) = (experiment_name("refused-start"), run("refused-start"));
    let trial = reported(&run, 0);
    pipeline.publish(&run, &[started(&run, &experiment), trial.into(), failed(&run, 1)]).await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    let better = TrialReported { attempt: Some(2), ..reported(&run, 1) };
    pipeline.publish_in(2, 2, &run, &[started_again(&run, &experiment, true), better.into()]).await;
    pipeline.caught_up().await;
    let server = Server::at(&mlflow.url());
    let runs = server.runs(&experiment).await;
    let parent = &runs["refused-start"];
    assert_eq!((parent.status.as_str(), parent.tags["cerebros.state"].as_str()), ("RUNNING", "running"));
    assert!(parent.tags["cerebros.refused"].contains("Changing param values"), "{:?}", parent.tags);
    assert!(!parent.tags.contains_key("cerebros.failure.class"));
    assert_eq!(parent.history["best/accuracy"].last().map(|(_, value, _)| *value), Some(1.5));
    pipeline.publish_in(2, 2, &run, &[completed(&run, 2)]).await;
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;
    assert_eq!(server.runs(&experiment).await["refused-start"].status, "FINISHED");
    assert_eq!(pipeline.dead_letters().await.len(), 1);
}

#[tokio::test]
async fn a_trial_somebody_deleted_costs_its_own_events_and_no_other() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, run) = (experiment_name("deleted"), run("deleted"));
    let (server, mut first) = (Server::at(&mlflow.url()), started(&run, &experiment));
    pipeline.publish(&run, &[first, reported(&run, 0).into(), failed(&run, 1)]).await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;
    server.delete_run(&server.runs(&experiment).await["trial-00000"].id).await;
    first = started_again(&run, &experiment, false);
    let mut gone = value(&run, 0, "loss", 0, 0.5);
    if let Event::MetricReported(metric) = &mut gone {
        metric.attempt = Some(2);
    }
    let rest =
        [first, gone, TrialReported { attempt: Some(2), ..reported(&run, 1) }.into(), completed(&run, 2)];
    pipeline.publish_in(2, 2, &run, &rest).await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    let told = command(&pipeline, &mlflow.url(), &["check"]).await;
    assert_eq!((told.kinds(), told.exit), (vec!["deleted_run deleted/deleted-t00000".to_owned()], 9));

    let letters = pipeline.dead_letters().await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    let runs = server.runs(&experiment).await;
    assert_eq!(
        (runs["deleted"].status.as_str(), runs["trial-00001"].status.as_str()),
        ("FINISHED", "FINISHED")
    );
}

#[tokio::test]
async fn trials_nobody_reported_are_lost_with_a_failed_run_and_killed_with_a_cancelled_one() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (lost, killed) = (experiment_name("lost"), experiment_name("killed"));
    for (experiment, end) in [(&lost, failed as fn(&RunId, u32) -> Event), (&killed, |run, _| cancelled(run))]
    {
        let run = run(experiment);
        let mut events = vec![started(&run, experiment), reported(&run, 0).into()];
        events.extend(values(&run, 1));
        events.push(end(&run, 1));
        pipeline.publish(&run, &events).await;
    }
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    let server = Server::at(&mlflow.url());
    let (lost_runs, killed_runs) = (server.runs(&lost).await, server.runs(&killed).await);
    let (trial, stopped) = (&lost_runs["trial-00001"], &killed_runs["trial-00001"]);
    assert_eq!((trial.status.as_str(), trial.tags["cerebros.status"].as_str()), ("FAILED", "lost"));
    assert_eq!(trial.tags["cerebros.failure.class"], "worker_lost");
    assert_eq!(trial.end_time, lost_runs[&lost].end_time);
    assert_eq!((stopped.status.as_str(), stopped.tags["cerebros.status"].as_str()), ("KILLED", "cancelled"));
    assert_eq!(stopped.tags["cerebros.reason"], "the run was cancelled: enough");
    assert_eq!(lost_runs["trial-00000"].status, "FINISHED");

    // Its report was only late: what it says counts.
    let run = run(&lost);
    pipeline.publish(&run, &[reported(&run, 1).into()]).await;
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;
    let trial = &server.runs(&lost).await["trial-00001"];
    assert_eq!((trial.status.as_str(), trial.end_time), ("FINISHED", Some(BEGAN + 150)));
    let stale = |tag: &&String| tag.starts_with("cerebros.failure.") || tag.as_str() == "cerebros.unreported";
    assert_eq!(trial.tags.keys().find(stale), None);
}

/// The run registry says that a run has failed, and no event does.
async fn fails_by_registry(pipeline: &Pipeline, run: &RunId) {
    let request = schemas::event::RunRequested::new("digits");
    let claimant = Claimant {
        run_id: run,
        request: &request,
        sequence: 1,
        delivery: 1,
        is_retry_of_failed: false,
        is_owner_gone: false,
        requested_at: at(0),
        worker_id: "w1",
    };
    let registry = Registry::open(&pipeline.broker).await.unwrap();
    registry.change(run, |known| claim(known, &claimant, at(1))).await.unwrap();
    let end = |record: Option<&service_kit::registry::RunRecord>| {
        let mut over = record.unwrap().clone();
        (over.state, over.ended_at) = (schemas::lifecycle::RunState::Failed, Some(at(9_000)));
        (Some(over), ())
    };
    registry.change(run, end).await.unwrap();
}

#[tokio::test]
async fn a_run_whose_end_never_came_is_closed_with_its_trials_when_the_registry_says_it_is_over() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, run) = (experiment_name("swept"), run("swept"));
    let mut events = search(&run, &experiment, 1);
    events.truncate(events.len() - 2);
    events.extend(values(&run, 1));
    pipeline.publish(&run, &events).await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;
    let server = Server::at(&mlflow.url());
    assert_eq!(server.runs(&experiment).await["swept"].status, "RUNNING");

    fails_by_registry(&pipeline, &run).await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    wait_until("the run and its trial are closed", CAUGHT_UP, async || {
        let runs = server.runs(&experiment).await;
        (runs.values().all(|run| run.status != "RUNNING")).then_some(())
    })
    .await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;
    let runs = server.runs(&experiment).await;
    assert_eq!((runs["swept"].status.as_str(), runs["swept"].end_time), ("FAILED", Some(BEGAN + 9_000)));
    assert_eq!(runs["trial-00001"].tags["cerebros.status"], "lost");
    assert_eq!(runs["trial-00000"].status, "FINISHED");
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn one_run_that_cannot_be_closed_keeps_no_other_running_and_a_deleted_one_no_trial_of_its_own() {
    let (pipeline, mlflow) = (Pipeline::start().await, Own::with_a_database().await);
    let (server, proxy) = (Server::at(&mlflow.url), HttpProxy::start(&mlflow.url).await);
    let names = ["one", "two", "deleted", "purged"];
    for name in names {
        let run = run(name);
        let events = [started(&run, name), value(&run, 0, "loss", 0, 0.5)];
        pipeline.publish(&run, &events).await;
    }
    let sink = pipeline.sink(&mlflow.url, "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    for name in ["deleted", "purged"] {
        server.delete_run(&server.runs(name).await[name].id).await;
    }
    mlflow.purge("purged").await;
    for name in names {
        fails_by_registry(&pipeline, &run(name)).await;
    }
    // The first of the two that can be closed at all is not, this time.
    proxy.set([Rule::on("runs/update", HttpFault::says(403, "Permission denied")).times(1)]);
    let sink = pipeline.sink(&proxy.url(), "unused");
    let of = async |name: &str, one: &str| server.runs(name).await[one].clone();
    wait_until("what can be closed is closed", CAUGHT_UP, async || {
        for name in ["deleted", "purged"] {
            let trial = of(name, "trial-00000").await;
            // Its tags are written before it is closed.
            (trial.tags.get("cerebros.status")? == "lost" && trial.end_time? == BEGAN + 9_000)
                .then_some(())?;
        }
        let mut statuses = [of("one", "one").await.status, of("two", "two").await.status];
        statuses.sort();
        (statuses == ["FAILED", "RUNNING"]).then_some(())
    })
    .await;
    sink.stop().await;
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_run_neither_the_registry_nor_the_stream_knows_is_closed_and_no_other() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, other) = (experiment_name("forgotten"), experiment_name("remembered"));
    let (gone, there) = (run("gone"), run("there"));
    pipeline.publish(&gone, &[started(&gone, &experiment), value(&gone, 0, "loss", 0, 0.5)]).await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    pipeline.empty_the_stream().await;
    pipeline.publish(&there, &[started(&there, &other), value(&there, 0, "loss", 0, 0.5)]).await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    // Another pipeline with the same server, of which the broker knows nothing.
    let (strange, stranger) = (experiment_name("strange"), Pipeline::start().await);
    stranger.publish(&run("strange"), &[started(&run("strange"), &strange)]).await;
    let of_stranger = stranger.sink(&mlflow.url(), "unused");
    stranger.caught_up().await;
    of_stranger.stop().await;

    let sink = pipeline.sink(&mlflow.url(), "unused");
    let server = Server::at(&mlflow.url());
    wait_until("the run and its trial are closed", CAUGHT_UP, async || {
        let runs = server.runs(&experiment).await;
        (runs.values().all(|run| run.status == "FAILED")).then_some(())
    })
    .await;
    pipeline.caught_up().await;
    sink.stop().await;
    let runs = server.runs(&experiment).await;
    assert_eq!(runs["gone"].tags["cerebros.failure.class"], "unknown");
    assert!(
        runs["gone"].tags["cerebros.failure.message"].contains("neither the run registry nor the stream")
    );
    assert_eq!(runs["trial-00000"].tags["cerebros.status"], "lost");
    assert!(server.runs(&other).await.values().all(|run| run.status == "RUNNING"));
    assert_eq!(server.runs(&strange).await["strange"].status, "RUNNING");

    // Should it go on after all, it does.
    pipeline.publish_in(2, 2, &gone, &[started_again(&gone, &experiment, false)]).await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    let runs = server.runs(&experiment).await;
    assert_eq!(runs["gone"].status, "RUNNING");
    assert!(!runs["gone"].tags.contains_key("cerebros.failure.class"));
}
