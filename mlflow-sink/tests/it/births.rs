//! Creates whose answer is lost, and that are carried out when nobody expects it any more.

use std::time::Duration;

use nix::sys::signal::Signal;
use testkit::{HttpFault, HttpProxy, Mlflow, Rule, experiment_name, wait_until};

use crate::events::{run, search};
use crate::pipeline::{CAUGHT_UP, Pipeline};
use crate::process::{Place, assert_same, undisturbed};
use crate::server::Server;

/// Longest wait for a request that is on its way.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_create_that_is_carried_out_after_it_was_looked_for_leaves_no_second_run() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let proxy = HttpProxy::start(&mlflow.url()).await;
    let (experiment, whole, run) = (experiment_name("late"), experiment_name("whole-late"), run("late"));
    let events = search(&run, &experiment, 4);
    let (mut frozen, mut place) = (Place::new(), Place::new());
    frozen.start(&pipeline, &proxy.url());
    pipeline.publish(&run, &events[..1]).await;
    pipeline.caught_up().await;
    proxy.set([Rule::on("runs/create", HttpFault::Late)]);
    pipeline.publish(&run, &events[1..29]).await;
    wait_until("a trial is on its way to be created", CAUGHT_UP, async || {
        proxy.seen().iter().any(|call| call.is_faulty).then_some(())
    })
    .await;
    frozen.signal(Signal::SIGSTOP);

    place.start(&pipeline, &mlflow.url());
    pipeline.caught_up().await;
    proxy.set([]);
    let server = Server::at(&mlflow.url());
    wait_until("every trial that was on its way is there twice", PATIENCE, async || {
        let late = proxy.seen().iter().filter(|call| call.is_faulty).count();
        (server.count(&experiment).await == 5 + late).then_some(())
    })
    .await;
    frozen.kill().await;
    pipeline.publish(&run, &events[29..]).await;
    pipeline.caught_up().await;
    place.stop().await;
    let expected = undisturbed(mlflow, &whole, &[(run.clone(), search(&run, &whole, 4))]).await;
    assert_same(server.runs(&experiment).await, expected);
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_trial_whose_sink_dies_between_its_creation_and_its_values_has_both_in_the_end() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let proxy = HttpProxy::start(&mlflow.url()).await;
    let (experiment, whole, run) =
        (experiment_name("between"), experiment_name("whole-between"), run("between"));
    let events = search(&run, &experiment, 4);
    let (mut killed, mut place) = (Place::new(), Place::new());
    killed.start(&pipeline, &proxy.url());
    pipeline.publish(&run, &events[..1]).await;
    pipeline.caught_up().await;
    proxy.set([Rule::on("log-batch", HttpFault::Hangs)]);
    pipeline.publish(&run, &events[1..]).await;
    // It has told everything by then but what was measured: the tags say how the trial ended.
    wait_until("the values of a trial are on their way", CAUGHT_UP, async || {
        proxy.seen().iter().any(|call| call.is_faulty).then_some(())
    })
    .await;
    killed.kill().await;
    place.start(&pipeline, &mlflow.url());
    pipeline.caught_up().await;
    place.stop().await;
    let expected = undisturbed(mlflow, &whole, &[(run.clone(), search(&run, &whole, 4))]).await;
    assert_same(Server::at(&mlflow.url()).runs(&experiment).await, expected);
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}
