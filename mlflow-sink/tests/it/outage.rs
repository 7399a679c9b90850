//! MLflow away: everything waits, nothing is lost, nothing is blamed.

use schemas::subject::DLQ_STREAM;
use testkit::{Fault, Mlflow, Proxy, experiment_name, wait_until};

use crate::commands::assert_clean;
use crate::events::{run, search};
use crate::pipeline::{CAUGHT_UP, Pipeline};
use crate::server::Server;

#[tokio::test]
async fn an_mlflow_killed_and_restarted_in_the_middle_loses_nothing_and_dead_letters_nothing() {
    let (pipeline, mut mlflow) = (Pipeline::start().await, Mlflow::start().await);
    let (url, run) = (mlflow.url(), run("killed"));
    let events = search(&run, "killed", 40);
    let all = events.len() as u64;
    pipeline.publish(&run, &events).await;
    let sink = pipeline.sink(&url, "unused");
    wait_until("something is written", CAUGHT_UP, async || (pipeline.unsettled().await < all).then_some(()))
        .await;
    mlflow.kill().await;
    let left = pipeline.unsettled().await;
    assert!(left > 0, "it was killed in the middle");
    mlflow.restart().await;
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;

    let runs = Server::at(&url).runs("killed").await;
    assert_eq!(runs.len(), 41);
    assert!(runs.values().all(|run| run.status == "FINISHED"));
    assert_eq!(runs["killed"].history["best/accuracy"].len(), 40);
    assert!(runs.iter().all(|(name, run)| name == "killed" || run.history["accuracy"].len() == 4));
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn events_published_before_mlflow_is_there_are_caught_up() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let proxy = Proxy::start(&mlflow.url()).await;
    proxy.set(Fault::Cut);
    let (experiment, run) = (experiment_name("late"), run("late"));
    pipeline.publish(&run, &search(&run, &experiment, 3)).await;
    let all = pipeline.unsettled().await;
    let sink = pipeline.sink(&proxy.url(), "unused");
    wait_until("the sink has looked for MLflow twice", CAUGHT_UP, async || {
        (proxy.accepted() >= 2).then_some(())
    })
    .await;
    assert_eq!(pipeline.unsettled().await, all, "nothing is pulled while MLflow is away");
    proxy.set(Fault::Pass);
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;
    assert_eq!(Server::at(&mlflow.url()).runs(&experiment).await.len(), 4);
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_outage_and_one_poison_leave_one_entry() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let proxy = Proxy::start(&mlflow.url()).await;
    proxy.set(Fault::Cut);
    let (experiment, run) = (experiment_name("poisoned"), run("poisoned"));
    pipeline.publish(&run, &search(&run, &experiment, 3)).await;
    let poison = pipeline.broker.jetstream.publish("ml.run.trial", "{\"trial_id\": 7}".into()).await.unwrap();
    let poison = poison.await.unwrap().sequence;
    let sink = pipeline.sink(&proxy.url(), "unused");
    wait_until("the sink has looked for MLflow twice", CAUGHT_UP, async || {
        (proxy.accepted() >= 2).then_some(())
    })
    .await;
    proxy.set(Fault::Pass);
    pipeline.caught_up().await;
    sink.stop().await;
    assert_eq!(Server::at(&mlflow.url()).runs(&experiment).await.len(), 4);
    let letters = pipeline.broker.jetstream.get_stream(DLQ_STREAM).await.unwrap();
    assert_eq!(letters.cached_info().state.messages, 1);
    let letter = letters.get_raw_message(1).await.unwrap();
    assert_eq!(letter.headers.get("Cerebros-Dlq-Sequence").unwrap().as_str(), poison.to_string());
}

#[tokio::test]
async fn a_sink_stopped_during_an_outage_ends_at_once_and_the_next_one_finishes() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let proxy = Proxy::start(&mlflow.url()).await;
    let (experiment, run) = (experiment_name("stopped"), run("stopped"));
    let all = search(&run, &experiment, 30);
    let count = all.len() as u64;
    pipeline.publish(&run, &all).await;
    let sink = pipeline.sink(&proxy.url(), "unused");
    wait_until("something is written", CAUGHT_UP, async || {
        (pipeline.unsettled().await < count).then_some(())
    })
    .await;
    proxy.set(Fault::Cut);
    sink.stop().await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;
    let runs = Server::at(&mlflow.url()).runs(&experiment).await;
    assert_eq!(runs.len(), 31);
    // What was on its way to the first sink comes again, and in its order: nothing is written twice.
    for (name, run) in runs.iter().filter(|(name, _)| *name != "stopped") {
        let number = f64::from(name.trim_start_matches("trial-").parse::<u32>().unwrap());
        let values: Vec<f64> = run.history["accuracy"].iter().map(|(_, value, _)| *value).collect();
        assert_eq!(values, [number, number + 0.1, number + 0.2, number + 0.5], "{name}");
    }
}
