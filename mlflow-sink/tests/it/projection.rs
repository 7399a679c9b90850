//! Every ending, every value, where a person looks for it.

use mlflow_sink::projection::mapping::{Kind, On, is_listed};
use schemas::event::{RunCancelled, RunFailed, TrialReported, TrialStatus};
use schemas::{Event, Failure, FailureClass, Real, RunId, Stage};
use service_kit::births::of_run::of_run;
use service_kit::registry::Registry;
use service_kit::registry::record::{Claimant, claim};
use testkit::{Mlflow, experiment_name};

use crate::commands::assert_clean;
use crate::events::{BEGAN, at, ended, reported, run, search, started, value};
use crate::pipeline::Pipeline;
use crate::server::Server;

#[tokio::test]
async fn a_search_of_five_trials_is_a_parent_with_five_children() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let experiment = experiment_name("search");
    let run = run("five");
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.publish(&run, &search(&run, &experiment, 5)).await;
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;

    let mut runs = Server::at(&mlflow.url()).runs(&experiment).await;
    for (name, run) in &runs {
        let on = if name == "five" { On::Run } else { On::Trial };
        for tag in run.tags.keys().filter(|tag| !["mlflow.user"].contains(&tag.as_str())) {
            assert!(is_listed(on, Kind::Tag, tag), "docs/reference/mlflow-mapping.md does not know {tag}");
        }
    }
    let parent = runs.remove("five").unwrap();
    assert!(parent.tags["mlflow.note.content"].contains("`producer show five`"));
    assert!(parent.tags["cerebros.schema_version"].starts_with("cerebros:MlRunStarted:"));
    assert_eq!(parent.datasets, [("digits".to_owned(), "training".to_owned())]);
    let counts =
        |name: &str| parent.history[name].iter().map(|(step, count, _)| (*step, *count)).collect::<Vec<_>>();
    assert_eq!(counts("trials_finished"), [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), (5, 5.0)]);
    assert_eq!(counts("trials_failed").last(), Some(&(5, 0.0)));
    assert_eq!(
        (parent.status.as_str(), parent.start_time, parent.tags["team"].as_str()),
        ("FINISHED", BEGAN, "vision")
    );
    assert_eq!(parent.params["search_space.layers"], "[16,32]");
    assert_eq!(parent.params["dataset_id"], "digits");
    assert_eq!(parent.tags["cerebros.state"], "completed");
    assert_eq!(parent.tags["cerebros.completed_trials"], "5");
    assert_eq!(parent.tags["cerebros.best_trial_id"], "five-t00004");
    assert_eq!(parent.history["accuracy"], [(0, 4.5, BEGAN + 100_000)]);
    let curve: Vec<_> = (0..5).map(|n| (n + 1, n as f64 + 0.5, BEGAN + n * 100 + 50)).collect();
    assert_eq!(parent.history["best/accuracy"], curve);

    assert_eq!(runs.len(), 5);
    for number in 0..5_i64 {
        let trial = &runs[&format!("trial-{number:05}")];
        assert_eq!(trial.tags["mlflow.parentRunId"], parent.id);
        assert_eq!(trial.tags["cerebros.trial_id"], format!("five-t{number:05}"));
        assert_eq!(trial.status, "FINISHED");
        assert_eq!(trial.tags["cerebros.objective"], "accuracy");
        assert_eq!(
            (trial.tags["cerebros.direction"].as_str(), &trial.tags["cerebros.experiment"]),
            ("maximize", &experiment)
        );
        assert_eq!(
            (trial.start_time, trial.end_time),
            (BEGAN + number * 100, Some(BEGAN + number * 100 + 50))
        );
        assert_eq!(trial.params["optimizer.lr"], "0.01");
        assert_eq!(trial.params["layers"], format!("[16,{number}]"));
        assert_eq!(trial.tags["cerebros.spectral_norm"], "true");
        assert_eq!(trial.history["spectral_norm_value"][0].1, 1.25);
        let began = BEGAN + number * 100;
        let value = |step: i64| (step, number as f64 + step as f64 / 10.0, began + step * 10);
        assert_eq!(trial.history["loss"], [value(0), value(1), value(2)]);
        let last = (3, number as f64 + 0.5, began + 50);
        assert_eq!(trial.history["accuracy"], [value(0), value(1), value(2), last]);
    }
}

#[tokio::test]
async fn every_ending_has_its_honest_status_and_nothing_that_is_no_number_is_a_metric() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let experiment = experiment_name("endings");
    let run = run("endings");
    let failure = Failure::new(FailureClass::UserCode, Stage::Execute, "division by zero");
    let trial = |number, status| TrialReported { status, ..reported(&run, number) };
    let mut failed = trial(0, TrialStatus::Failed);
    failed.failure = Some(failure.clone());
    failed.metrics.insert("accuracy".into(), Real(f64::NAN));
    let mut events =
        vec![started(&run, &experiment), value(&run, 0, "loss", 0, f64::INFINITY), failed.into()];
    events.push(trial(1, TrialStatus::Pruned).into());
    events.push(trial(2, TrialStatus::Cancelled).into());
    events.push(trial(3, TrialStatus::Skipped).into());
    events.push(value(&run, 4, "loss (train) %", 0, 1.0));
    let reason = Some("enough".to_owned());
    events.push(
        RunCancelled { run_id: run.clone(), attempt: 1, reason, completed_trials: 4, duration_ms: 5 }.into(),
    );
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.publish(&run, &events).await;
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;

    let runs = Server::at(&mlflow.url()).runs(&experiment).await;
    let status = |name: &str| runs[name].status.as_str();
    assert_eq!((status("endings"), runs["endings"].tags["cerebros.reason"].as_str()), ("KILLED", "enough"));
    assert_eq!(
        ["trial-00000", "trial-00001", "trial-00002", "trial-00003"].map(status),
        ["FAILED", "KILLED", "KILLED", "KILLED"]
    );
    let reason = |name: &str| runs[name].tags["cerebros.reason"].as_str();
    assert_eq!((status("trial-00004"), reason("trial-00004")), ("KILLED", "the run was cancelled: enough"));
    assert_eq!(reason("trial-00002"), "cancelled before it had ended");
    let failed = &runs["trial-00000"];
    assert_eq!(failed.tags["cerebros.failure.class"], "user_code");
    assert_eq!(failed.tags["cerebros.failure.message"], "division by zero");
    assert_eq!(failed.tags["cerebros.nonfinite.accuracy"], "{\"final\":\"NaN\"}");
    assert_eq!(failed.tags["cerebros.nonfinite.loss"], "{\"Infinity\":[[0,0]]}");
    assert_eq!(failed.history.keys().collect::<Vec<_>>(), ["spectral_norm_value"]);
    let odd = &runs["trial-00004"];
    let legal = odd.history.keys().next().unwrap();
    assert_eq!(odd.tags[&format!("cerebros.name.{legal}")], "loss (train) %");
}

#[tokio::test]
async fn a_run_that_failed_before_it_started_is_there_with_its_reason_and_linked_in_the_registry() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let experiment = experiment_name("rejected");
    let run = run("rejected");
    let registry = claimed(&pipeline, &run, &experiment).await;
    let failure = Failure::new(FailureClass::Validation, Stage::Validate, "unknown data set \"no-such-set\"");
    let failed = RunFailed { run_id: run.clone(), attempt: 1, failure, completed_trials: 0, duration_ms: 0 };
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.publish(&run, &[Event::from(failed)]).await;
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;

    let runs = Server::at(&mlflow.url()).runs(&experiment).await;
    let parent = &runs["rejected"];
    assert_eq!(parent.status, "FAILED");
    assert_eq!(parent.tags["cerebros.failure.message"], "unknown data set \"no-such-set\"");
    assert!(parent.end_time.is_some());
    let known = registry.get(&run).await.unwrap().unwrap().record;
    assert_eq!(known.mlflow_run_id.as_deref(), Some(parent.id.as_str()));
}

#[tokio::test]
async fn the_registry_knows_the_page_of_a_run_also_when_the_run_was_claimed_late_and_the_page_moves() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, run) = (experiment_name("linked"), run("linked"));
    let events = search(&run, &experiment, 2);
    pipeline.publish(&run, &events[..1]).await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    let registry = claimed(&pipeline, &run, &experiment).await;
    pipeline.publish(&run, &events[1..9]).await;
    pipeline.caught_up().await;
    sink.stop().await;
    let server = Server::at(&mlflow.url());
    let (id, runs) = (server.experiment(&experiment).await, server.runs(&experiment).await);
    let page = |base: &str| format!("{base}/#/experiments/{id}/runs/{}", runs["linked"].id);
    let known = registry.get(&run).await.unwrap().unwrap().record;
    assert_eq!(known.mlflow_url, Some(page(&mlflow.url())));
    let trial = schemas::TrialId::numbered(&run, 0);
    let family = of_run(&pipeline.broker, &run, known.mlflow_run_id.as_deref()).await.unwrap();
    assert_eq!(
        (family.run(), family.trial(&trial)),
        (Some(runs["linked"].id.as_str()), Some(runs["trial-00000"].id.as_str()))
    );

    let flags = ["--http=127.0.0.1:0", "--mlflow-public-url", "https://mlflow.example/ui/"];
    let sink = pipeline.sink_with(&mlflow.url(), &flags);
    pipeline.publish(&run, &events[9..]).await;
    pipeline.caught_up().await;
    sink.stop().await;
    let known = registry.get(&run).await.unwrap().unwrap().record;
    assert_eq!(known.mlflow_url, Some(page("https://mlflow.example/ui")));
}

/// The registry, after a worker has claimed the run.
async fn claimed(pipeline: &Pipeline, run: &RunId, experiment: &str) -> Registry {
    let mut request = schemas::event::RunRequested::new("no-such-set");
    request.experiment = Some(experiment.to_owned());
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
    registry
}

#[tokio::test]
async fn five_thousand_values_and_hundreds_of_parameters_with_odd_names_land() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let experiment = experiment_name("large");
    let run = run("large");
    let mut report = reported(&run, 0);
    // As much as one event may carry, the longest over the limit of one value.
    report.parameters.0 = (0..250_usize)
        .map(|n| (format!("größe/{n}"), serde_json::json!("x".repeat(n.pow(4) / 400_000))))
        .collect();
    let mut events = vec![started(&run, &experiment)];
    events.extend((0..5000).map(|step| value(&run, 0, "loss", step, step as f64)));
    events.push(report.into());
    events.extend(ended(&run, 1));
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.publish(&run, &events).await;
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;

    let runs = Server::at(&mlflow.url()).runs(&experiment).await;
    let trial = &runs["trial-00000"];
    assert_eq!(trial.history["loss"].len(), 5000);
    assert_eq!(trial.params.len(), 250);
    assert!(trial.params.values().any(|value| value.ends_with("[cut, 9610 characters]")));
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}
