//! Creates whose answer is lost, and that are carried out when nobody expects it any more.

use service_kit::topology::MLFLOW_BUCKET;
use std::time::Duration;

use nix::sys::signal::Signal;
use testkit::{Fault, Mlflow, Proxy, experiment_name, wait_until};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::events::{run, search};
use crate::pipeline::{CAUGHT_UP, Pipeline};
use crate::process::{Place, assert_same, undisturbed};
use crate::server::Server;

/// Longest wait for a request that is on its way.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many runs are announced and not written down.
async fn announced(pipeline: &Pipeline) -> usize {
    let stream = pipeline.broker.jetstream.get_stream(format!("KV_{MLFLOW_BUCKET}")).await.unwrap();
    let last = stream.get_info().await.unwrap().state.last_sequence;
    let mut count = 0;
    for sequence in 1..=last {
        // What was overwritten is gone.
        let message = stream.get_raw_message(sequence).await;
        count += message.map_or(0, |message| {
            usize::from(String::from_utf8_lossy(&message.payload).contains("\"creating\""))
        });
    }
    count
}

#[tokio::test]
async fn a_create_that_is_carried_out_after_it_was_looked_for_leaves_no_second_run() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let proxy = Proxy::start(&mlflow.url()).await;
    let (experiment, whole, run) = (experiment_name("late"), experiment_name("whole-late"), run("late"));
    let events = search(&run, &experiment, 4);
    let (mut frozen, mut place) = (Place::new(), Place::new());
    frozen.start(&pipeline, &proxy.url());
    pipeline.publish(&run, &events[..1]).await;
    pipeline.caught_up().await;
    // The open connections are closed first: MLflow would close an idle one long before the request comes out of it.
    proxy.set(Fault::Cut);
    let mut own = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(own.read(&mut [0]).await.unwrap(), 0, "the fault has come about");
    proxy.set(Fault::BlackHole);
    pipeline.publish(&run, &events[1..29]).await;
    wait_until("a trial is announced", CAUGHT_UP, async || (announced(&pipeline).await > 0).then_some(()))
        .await;
    // Its request follows at once, before the broker has answered that often.
    for _ in 0..200 {
        pipeline.unsettled().await;
    }
    // It keeps its connection, without which MLflow would not look at the request.
    frozen.signal(Signal::SIGSTOP);

    place.start(&pipeline, &mlflow.url());
    pipeline.caught_up().await;
    proxy.set(Fault::Pass);
    let server = Server::at(&mlflow.url());
    wait_until("a trial is there twice", PATIENCE, async || {
        (server.run_set(&experiment).await.len() > 5).then_some(())
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
