//! What MLflow will never take becomes a dead letter with its words, and holds up nobody.

use schemas::event::{MlRunStarted, TrialReported, TrialStatus};
use schemas::subject::DLQ_STREAM;
use schemas::{Event, Json};
use serde_json::json;
use testkit::{HttpFault, HttpProxy, Mlflow, Rule, experiment_name};

use crate::commands::{assert_clean, command};
use crate::events::{at, ended, reported, run, search, started, value};
use crate::pipeline::Pipeline;
use crate::server::Server;

#[tokio::test]
async fn a_refused_report_is_one_dead_letter_and_its_own_run_and_the_others_go_on() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let experiment = experiment_name("refused");
    let (poisoned, healthy) = (run("poisoned"), run("healthy"));
    let first = reported(&poisoned, 0);
    let changed =
        TrialReported { attempt: Some(2), parameters: Json(json!({"layers": "changed"})), ..first.clone() };
    pipeline.publish(&poisoned, &[started(&poisoned, &experiment), first.into()]).await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    let without_message_id = schemas::codec::encode(&Event::from(changed), schemas::Encoding::Json).unwrap();
    let ack = pipeline.broker.jetstream.publish("ml.run.trial", without_message_id.into()).await.unwrap();
    ack.await.unwrap();
    pipeline.publish(&poisoned, &[reported(&poisoned, 1).into()]).await;
    pipeline.publish(&healthy, &search(&healthy, &experiment, 3)).await;
    pipeline.publish(&poisoned, &ended(&poisoned, 2)).await;
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;

    let letters = pipeline.dead_letters().await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0].contains("Changing param values is not allowed"), "{letters:?}");
    let runs = Server::at(&mlflow.url()).run_set(&experiment).await;
    assert_eq!(runs.len(), 2 + 2 + 3);
    assert!(runs.iter().all(|run| run.status == "FINISHED"));
}

#[tokio::test]
async fn what_is_taken_when_it_is_told_again_is_whole_and_is_compared_again() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, run) = (experiment_name("again"), run("again"));
    let second = |budget: u32| {
        let Event::MlRunStarted(first) = started(&run, &experiment) else { panic!("a start") };
        let (timestamp, budget) = (at(1_000_000), Json(json!({"max_trials": budget})));
        Event::from(MlRunStarted { timestamp, budget, ..first })
    };
    let mut wrong = TrialReported { attempt: Some(2), status: TrialStatus::Failed, ..reported(&run, 0) };
    (wrong.parameters, wrong.warnings) = (Json(json!({"layers": "changed"})), vec!["odd".to_owned()]);
    let taken = TrialReported { attempt: Some(2), ..reported(&run, 0) };
    pipeline.publish(&run, &[started(&run, &experiment), reported(&run, 0).into()]).await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    pipeline.publish_in(2, 2, &run, &[second(99), wrong.into()]).await;
    pipeline.caught_up().await;
    let server = Server::at(&mlflow.url());
    let runs = server.runs(&experiment).await;
    assert!(["again", "trial-00000"].iter().all(|name| runs[*name].tags.contains_key("cerebros.refused")));

    pipeline.publish_in(2, 3, &run, &[second(10), taken.into()]).await;
    pipeline.caught_up().await;
    sink.stop().await;
    assert_eq!(pipeline.dead_letters().await.len(), 2);
    assert_clean(&pipeline, &mlflow.url()).await;
    let runs = server.runs(&experiment).await;
    let trial = &runs["trial-00000"];
    assert_eq!((trial.status.as_str(), trial.tags.get("cerebros.warnings")), ("FINISHED", None));
    for name in ["again", "trial-00000"] {
        assert!(!runs[name].tags.contains_key("cerebros.refused"), "{:?}", runs[name].tags);
        let tag = if name == "again" { "cerebros.objective" } else { "cerebros.worker_id" };
        server.set_tag(&runs[name].id, tag, "somebody").await;
    }
    let told = command(&pipeline, &mlflow.url(), &["check"]).await;
    assert_eq!(told.kinds(), ["wrong_tag again/-", "wrong_tag again/again-t00000"]);
}

#[tokio::test]
async fn a_trial_is_compared_again_once_a_value_is_taken_that_was_refused() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, run) = (experiment_name("value-again"), run("value-again"));
    let proxy = HttpProxy::start(&mlflow.url()).await;
    let words = r#"{"error_code":"INVALID_PARAMETER_VALUE","message":"not this one"}"#;
    proxy.set([Rule::on("log-batch", HttpFault::says(400, words)).about("refused-metric")]);
    let refused = value(&run, 0, "refused-metric", 0, 0.5);
    let events = [started(&run, &experiment), value(&run, 0, "loss", 0, 0.5), refused.clone()];
    pipeline.publish(&run, &events).await;
    let sink = pipeline.sink(&proxy.url(), "unused");
    pipeline.caught_up().await;
    assert_eq!(pipeline.dead_letters().await.len(), 1);
    let server = Server::at(&mlflow.url());
    let trial = server.runs(&experiment).await["trial-00000"].id.clone();
    server.log_metric(&trial, "loss", 0.25, 7).await;
    assert_clean(&pipeline, &mlflow.url()).await;

    proxy.set([]);
    pipeline.publish_in(1, 2, &run, &[refused]).await;
    pipeline.caught_up().await;
    sink.stop().await;
    let told = command(&pipeline, &mlflow.url(), &["check"]).await;
    assert_eq!(told.kinds(), [format!("surplus_metric {run}/{run}-t00000")], "{told:?}");
    assert!(told.rows[0]["detail"].to_string().contains("loss"), "{told:?}");
}

#[tokio::test]
async fn a_deleted_experiment_is_said_with_its_remedy_and_other_runs_go_on() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (gone, there) = (experiment_name("gone"), experiment_name("there"));
    let server = Server::at(&mlflow.url());
    server.create_experiment(&gone).await;
    server.delete_experiment(&gone).await;
    let (lost, kept) = (run("lost"), run("kept"));
    pipeline.publish(&lost, &[started(&lost, &gone)]).await;
    pipeline.publish(&kept, &search(&kept, &there, 2)).await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;

    let letters = pipeline.dead_letters().await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(
        letters[0].contains("must be in the 'active' state") && letters[0].contains("restore"),
        "{letters:?}"
    );
    assert_eq!(server.runs(&there).await.len(), 3);
}

#[tokio::test]
async fn what_cannot_be_read_becomes_the_classifier_s_dead_letter() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let ack = pipeline.broker.jetstream.publish("ml.run.trial", "{\"trial_id\": 7}".into()).await.unwrap();
    ack.await.unwrap();
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;
    let stream = pipeline.broker.jetstream.get_stream(DLQ_STREAM).await.unwrap();
    assert_eq!(stream.cached_info().state.messages, 1);
    let letter = stream.get_raw_message(1).await.unwrap();
    let header = |name: &str| letter.headers.get(name).unwrap().as_str().to_owned();
    assert_eq!(header("Nats-Msg-Id"), "dlq:CEREBROS:1:dlq-classifier", "the classifier's own is a duplicate");
    assert!(header("Cerebros-Dlq-Reason").contains("trial_id"));
}
