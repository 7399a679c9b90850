//! The events of a run in their order, whatever happens to the sink.

use std::time::Duration;

use testkit::{Fault, Mlflow, Proxy, experiment_name, wait_until};

use crate::commands::assert_clean;
use crate::events::{run, search};
use crate::pipeline::{CAUGHT_UP, Pipeline};
use crate::process::{Place, assert_same, undisturbed};
use crate::server::Server;

#[tokio::test]
async fn a_sink_killed_in_the_middle_of_a_trial_leaves_what_an_undisturbed_one_would() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let proxy = Proxy::start(&mlflow.url()).await;
    let (experiment, whole, run) = (experiment_name("mid-trial"), experiment_name("whole-trial"), run("mid"));
    let events = search(&run, &experiment, 2);
    let mut place = Place::new();
    place.start(&pipeline, &proxy.url());
    // The start and the first epoch of the first trial.
    pipeline.publish(&run, &events[..3]).await;
    pipeline.caught_up().await;
    proxy.set(Fault::BlackHole);
    pipeline.publish(&run, &events[3..7]).await;
    wait_until("the other epochs are in hand", CAUGHT_UP, async || {
        (pipeline.in_hand().await == 4).then_some(())
    })
    .await;
    place.kill().await;
    // The report of the trial comes while nobody is there.
    pipeline.publish(&run, &events[7..]).await;
    proxy.set(Fault::Pass);
    place.start(&pipeline, &proxy.url());
    pipeline.caught_up().await;
    place.stop().await;
    let expected = undisturbed(mlflow, &whole, &[(run.clone(), search(&run, &whole, 2))]).await;
    let found = Server::at(&mlflow.url()).runs(&experiment).await;
    assert_same(found, expected);
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_outage_longer_than_the_broker_waits_for_a_word_changes_no_order() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    pipeline.set_ack_wait(Duration::from_secs(2)).await;
    let proxy = Proxy::start(&mlflow.url()).await;
    let (experiment, whole, run) = (experiment_name("long"), experiment_name("whole-long"), run("long"));
    let events = search(&run, &experiment, 60);
    let sink = pipeline.sink(&proxy.url(), "unused");
    pipeline.publish(&run, &events[..3]).await;
    pipeline.caught_up().await;
    proxy.set(Fault::Cut);
    let before = proxy.accepted();
    // More than fit into one request for messages.
    pipeline.publish(&run, &events[3..]).await;
    // The pauses between the probes grow: these take longer than the broker waits.
    wait_until("MLflow was probed for long enough", CAUGHT_UP, async || {
        (proxy.accepted() >= before + 7).then_some(())
    })
    .await;
    assert!(pipeline.in_hand().await > 0, "it had taken some");
    proxy.set(Fault::Pass);
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;
    let expected = undisturbed(mlflow, &whole, &[(run.clone(), search(&run, &whole, 60))]).await;
    let found = Server::at(&mlflow.url()).runs(&experiment).await;
    assert_same(found, expected);
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}
