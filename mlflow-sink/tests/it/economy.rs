//! What the sink asks MLflow for, when nothing goes wrong: no more than it has to.

use testkit::{HttpProxy, Mlflow, Proxy, experiment_name};

use crate::events::{reported, run, started, value};
use crate::front::Front;
use crate::pipeline::Pipeline;

/// Calls of an interface of MLflow.
fn calls(proxy: &HttpProxy, path: &str) -> usize {
    proxy.seen().iter().filter(|call| call.path.contains(path)).count()
}

#[tokio::test]
async fn values_of_one_trial_are_written_batch_after_batch_without_asking_what_is_there() {
    const PARTS: i64 = 6;
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let proxy = HttpProxy::start(&mlflow.url()).await;
    let (experiment, run) = (experiment_name("many-values"), run("many-values"));
    pipeline.publish(&run, &[started(&run, &experiment)]).await;
    let sink = pipeline.sink(&proxy.url(), &experiment);
    for part in 0..PARTS {
        let values: Vec<_> =
            (0..400).map(|step| value(&run, 0, "loss", part * 400 + step, 0.5 - step as f64)).collect();
        pipeline.publish(&run, &values).await;
        pipeline.caught_up().await;
    }
    // A batch that was interrupted asks once; otherwise the sink has written all there is, and remembers it.
    let (asked, written) = (calls(&proxy, "get-history"), calls(&proxy, "log-batch"));
    assert!(asked < PARTS as usize, "not even once for each part: {asked}");
    assert!(written <= 100, "2400 values go in batches: {written}");
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
    // Created, written, closed; and the curve of each batch. A fourth call for each comes to more.
    assert!(calls < 4 * TRIALS as usize, "{calls} calls for {TRIALS} trials");
    // Tags cost the server as much as all the rest of a batch, and next to nothing where the run is created.
    let batches: Vec<_> = proxy.seen().into_iter().filter(|call| call.path.contains("log-batch")).collect();
    let with_tags = batches.iter().filter(|call| call.body.contains("cerebros.status")).count();
    // Again only where a batch was interrupted.
    assert!(with_tags < TRIALS as usize / 4, "tags are written with the creation: {with_tags}");
    sink.stop().await;
}

/// Has so many trials written to a server.
async fn write(url: &str, trials: u32, name: &str) {
    let (pipeline, experiment, run) = (Pipeline::start().await, experiment_name(name), run(name));
    let sink = pipeline.sink(url, &experiment);
    pipeline.publish(&run, &[started(&run, &experiment)]).await;
    let reports: Vec<_> = (0..trials).map(|number| reported(&run, number).into()).collect();
    pipeline.publish(&run, &reports).await;
    pipeline.caught_up().await;
    sink.stop().await;
}

#[tokio::test]
async fn connections_are_used_again_where_answers_come_whole() {
    let front = Front::start(&Mlflow::shared().await.url()).await;
    write(&front.url(), 40, "kept-alive").await;
    let (opened, calls) = (front.accepted(), front.answered());
    assert!(calls >= 120 && opened <= calls / 2, "{opened} connections for {calls} calls");
}

#[tokio::test]
async fn where_bodies_of_answers_wait_for_an_acknowledgement_calls_get_connections_of_their_own() {
    let mlflow = Mlflow::start_as_it_comes().await;
    let proxy = Proxy::start(&mlflow.url()).await;
    write(&proxy.url(), 60, "late-bodies").await;
    let opened = proxy.accepted();
    assert!(opened >= 90, "{opened} connections for 180 calls");
}
