//! What the sink asks MLflow for, when nothing goes wrong: no more than it has to.

use testkit::{HttpProxy, Mlflow, Proxy, experiment_name};

use crate::events::{reported, run, started, value};
use crate::pipeline::Pipeline;

/// Calls of an interface of MLflow.
fn calls(proxy: &HttpProxy, path: &str) -> usize {
    proxy.seen().iter().filter(|call| call.path.contains(path)).count()
}

#[tokio::test]
async fn values_of_one_trial_are_written_batch_after_batch_without_asking_what_is_there() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let proxy = HttpProxy::start(&mlflow.url()).await;
    let (experiment, run) = (experiment_name("many-values"), run("many-values"));
    pipeline.publish(&run, &[started(&run, &experiment)]).await;
    let sink = pipeline.sink(&proxy.url(), &experiment);
    for part in 0..6 {
        let values: Vec<_> =
            (0..400).map(|step| value(&run, 0, "loss", part * 400 + step, 0.5 - step as f64)).collect();
        pipeline.publish(&run, &values).await;
        pipeline.caught_up().await;
    }
    assert_eq!(calls(&proxy, "get-history"), 0, "the sink has written all there is, and remembers it");
    assert!(calls(&proxy, "log-batch") <= 20, "values go in batches: {}", calls(&proxy, "log-batch"));
    sink.stop().await;
}

#[tokio::test]
async fn a_trial_that_is_only_reported_takes_three_calls() {
    const TRIALS: u32 = 40;
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let proxy = HttpProxy::start(&mlflow.url()).await;
    let (experiment, run) = (experiment_name("few-calls"), run("few-calls"));
    pipeline.publish(&run, &[started(&run, &experiment)]).await;
    let sink = pipeline.sink(&proxy.url(), &experiment);
    pipeline.caught_up().await;
    let before = proxy.seen().len();
    let reports: Vec<_> = (0..TRIALS).map(|number| reported(&run, number).into()).collect();
    pipeline.publish(&run, &reports).await;
    pipeline.caught_up().await;
    let calls = proxy.seen().len() - before;
    // Created, written, closed; and the curve of each batch.
    assert!(calls <= 3 * TRIALS as usize + 10, "{calls} calls for {TRIALS} trials");
    // Tags cost the server as much as all the rest of a batch, and next to nothing where the run is created.
    let batches: Vec<_> = proxy.seen().into_iter().filter(|call| call.path.contains("log-batch")).collect();
    let with_tags = batches.iter().filter(|call| call.body.contains("cerebros.status")).count();
    assert_eq!(with_tags, 0, "the tags of a report are written with the creation");
    sink.stop().await;
}

/// Connections the sink opens to a server for so many trials.
async fn connections_for(mlflow: &Mlflow, trials: u32, name: &str) -> u64 {
    let (pipeline, proxy) = (Pipeline::start().await, Proxy::start(&mlflow.url()).await);
    let (experiment, run) = (experiment_name(name), run(name));
    let sink = pipeline.sink(&proxy.url(), &experiment);
    pipeline.publish(&run, &[started(&run, &experiment)]).await;
    let reports: Vec<_> = (0..trials).map(|number| reported(&run, number).into()).collect();
    pipeline.publish(&run, &reports).await;
    pipeline.caught_up().await;
    sink.stop().await;
    proxy.accepted()
}

#[tokio::test]
async fn connections_are_used_again_where_answers_come_whole() {
    let opened = connections_for(Mlflow::shared().await, 40, "kept-alive").await;
    assert!(opened <= 20, "{opened} connections for 120 calls");
}

#[tokio::test]
async fn where_bodies_of_answers_wait_for_an_acknowledgement_calls_get_connections_of_their_own() {
    let opened = connections_for(&Mlflow::start_as_it_comes().await, 60, "late-bodies").await;
    assert!(opened >= 90, "{opened} connections for 180 calls");
}
