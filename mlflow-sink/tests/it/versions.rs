//! The same on the last server of version 2 and on the one of version 3 we ship.

use schemas::event::TrialReported;
use schemas::{Event, Json};
use serde_json::json;
use testkit::{Mlflow, experiment_name};

use crate::commands::assert_clean;
use crate::events::{ended, reported, run, search, started, value};
use crate::pipeline::Pipeline;
use crate::server::Server;

async fn on_both(test: impl AsyncFn(&Mlflow)) {
    test(Mlflow::shared_2().await).await;
    test(Mlflow::shared().await).await;
}

#[tokio::test]
async fn a_search_lands_and_a_replay_without_the_ledger_changes_nothing() {
    on_both(async |mlflow| {
        let (pipeline, server) = (Pipeline::start().await, Server::at(&mlflow.url()));
        let (experiment, run) = (experiment_name("versions"), run("versions"));
        pipeline.publish(&run, &search(&run, &experiment, 3)).await;
        let sink = pipeline.sink(&mlflow.url(), "unused");
        pipeline.caught_up().await;
        sink.stop().await;
        assert_clean(&pipeline, &mlflow.url()).await;
        let before = server.run_set(&experiment).await;
        assert_eq!(before.len(), 4);
        assert!(before.iter().all(|run| run.status == "FINISHED"));

        pipeline.forget_the_position().await;
        pipeline.delete_the_ledger();
        let sink = pipeline.sink(&mlflow.url(), "unused");
        pipeline.caught_up().await;
        sink.stop().await;
        assert_clean(&pipeline, &mlflow.url()).await;
        assert_eq!(server.run_set(&experiment).await, before);
        assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_is_one_dead_letter_with_mlflow_s_words() {
    on_both(async |mlflow| {
        let pipeline = Pipeline::start().await;
        let (experiment, run) = (experiment_name("refusals"), run("refusals"));
        let first = reported(&run, 0);
        let changed = TrialReported {
            attempt: Some(2),
            parameters: Json(json!({"layers": "changed"})),
            ..first.clone()
        };
        pipeline.publish(&run, &[started(&run, &experiment), first.into()]).await;
        let sink = pipeline.sink(&mlflow.url(), "unused");
        pipeline.caught_up().await;
        let anew = schemas::codec::encode(&Event::from(changed), schemas::Encoding::Json).unwrap();
        let ack = pipeline.broker.jetstream.publish("ml.run.trial", anew.into()).await.unwrap();
        ack.await.unwrap();
        pipeline.caught_up().await;
        sink.stop().await;
        assert_clean(&pipeline, &mlflow.url()).await;
        let letters = pipeline.dead_letters().await;
        assert!(letters.len() == 1 && letters[0].contains("Changing param values"), "{letters:?}");
    })
    .await;
}

#[tokio::test]
async fn a_large_trial_lands_whole() {
    on_both(async |mlflow| {
        let (pipeline, experiment) = (Pipeline::start().await, experiment_name("whole"));
        let run = run("whole");
        let mut report = reported(&run, 0);
        report.parameters.0 = (0..250).map(|n| (format!("größe/{n}"), json!(n))).collect();
        let mut events = vec![started(&run, &experiment)];
        events.extend((0..2500).map(|step| value(&run, 0, "loss", step, step as f64)));
        events.push(report.into());
        events.extend(ended(&run, 1));
        let sink = pipeline.sink(&mlflow.url(), "unused");
        pipeline.publish(&run, &events).await;
        pipeline.caught_up().await;
        sink.stop().await;
        assert_clean(&pipeline, &mlflow.url()).await;
        let runs = Server::at(&mlflow.url()).runs(&experiment).await;
        let trial = &runs["trial-00000"];
        assert_eq!((trial.history["loss"].len(), trial.params.len()), (2500, 250));
        assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
    })
    .await;
}
