//! The stream again, and again without memory.

use testkit::{Mlflow, experiment_name};

use crate::commands::assert_clean;
use crate::events::{reported, run, search, started, values};
use crate::pipeline::Pipeline;
use crate::server::Server;

#[tokio::test]
async fn replaying_the_whole_stream_changes_nothing_with_and_without_the_ledger() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let experiment = experiment_name("replay");
    let server = Server::at(&mlflow.url());
    for name in ["replay-a", "replay-b"] {
        let run = run(name);
        pipeline.publish(&run, &search(&run, &experiment, 4)).await;
    }
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;
    let before = server.run_set(&experiment).await;
    assert_eq!(before.len(), 10);

    pipeline.forget_the_position().await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;
    assert_eq!(server.run_set(&experiment).await, before, "with the ledger");

    pipeline.forget_the_position().await;
    pipeline.delete_the_ledger();
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;
    assert_eq!(server.run_set(&experiment).await, before, "without the ledger");
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_ledger_lost_in_the_middle_of_a_run_leaves_no_trace() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (whole, torn) = (experiment_name("whole"), experiment_name("torn"));
    let server = Server::at(&mlflow.url());
    let run = run("torn");
    let events = search(&run, &torn, 4);
    // In the middle of the third trial, after two of its epochs.
    let (first, second) = events.split_at(1 + 7 * 2 + 4);
    for (part, is_last) in [(first, false), (second, true)] {
        let sink = pipeline.sink(&mlflow.url(), "unused");
        pipeline.publish(&run, part).await;
        pipeline.caught_up().await;
        sink.stop().await;
        assert_clean(&pipeline, &mlflow.url()).await;
        if !is_last {
            pipeline.delete_the_ledger();
        }
    }
    let undisturbed = Pipeline::start().await;
    let sink = undisturbed.sink(&mlflow.url(), "unused");
    undisturbed.publish(&run, &search(&run, &whole, 4)).await;
    undisturbed.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;
    let (torn, whole) = (server.runs(&torn).await, server.runs(&whole).await);
    assert_eq!(torn.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
    for (name, run) in &torn {
        assert_eq!(run.history, whole[name].history, "{name}");
        assert_eq!((&run.params, &run.status), (&whole[name].params, &whole[name].status), "{name}");
    }
}

#[tokio::test]
async fn values_handed_over_after_the_end_of_their_trial_are_kept() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, run) = (experiment_name("late-values"), run("late-values"));
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.publish(&run, &[started(&run, &experiment), reported(&run, 0).into()]).await;
    pipeline.caught_up().await;
    pipeline.publish(&run, &values(&run, 0)).await;
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;
    let runs = Server::at(&mlflow.url()).runs(&experiment).await;
    let trial = &runs["trial-00000"];
    let accuracy: Vec<_> = trial.history["accuracy"].iter().map(|(step, value, _)| (*step, *value)).collect();
    assert_eq!(accuracy, [(0, 0.0), (0, 0.5), (1, 0.1), (2, 0.2), (3, 0.5)]);
    assert_eq!((trial.history["loss"].len(), trial.status.as_str()), (3, "FINISHED"));
}
