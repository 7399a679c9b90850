//! A command that slept through the end of its lease writes nothing any more.

use nix::sys::signal::Signal;
use testkit::{HttpFault, HttpProxy, Mlflow, Rule, experiment_name, wait_until};

use crate::check::of;
use crate::commands::begin;
use crate::events::search;
use crate::pipeline::{CAUGHT_UP, Pipeline};
use crate::server::Server;

/// What a command reads with.
const READS: [&str; 3] = ["search", "/get", "/list"];

/// Freezes a command for this server while it waits for the answer to such a call, until a sink has taken over the lease,
/// and wakes it.
async fn writes_nothing_after_a_sleep_in_the_middle_of(call: Rule, command: &[&str], mlflow: &Mlflow) {
    let (pipeline, written) = (Pipeline::start().await, Mlflow::shared().await);
    let experiment = experiment_name("slept");
    let (run, server) = (of(&experiment, "run"), Server::at(&written.url()));
    pipeline.publish(&run, &search(&run, &experiment, 3)).await;
    let sink = pipeline.sink(&written.url(), "unused");
    pipeline.caught_up().await;
    let sinks_name = pipeline.leader().await.map(|(name, _)| name);
    for trial in server.run_set(&experiment).await.iter().filter(|run| run.name.starts_with("trial")) {
        server.delete_run(&trial.id).await;
    }

    let proxy = HttpProxy::start(&mlflow.url()).await;
    proxy.set([call]);
    let begun = begin(&pipeline, &proxy.url(), command);
    wait_until("it is in the middle of a call", CAUGHT_UP, async || {
        proxy.seen().iter().any(|seen| seen.is_faulty).then_some(())
    })
    .await;
    begun.signal(Signal::SIGSTOP);
    wait_until("the sink has taken over the lease", CAUGHT_UP, async || {
        (pipeline.leader().await.map(|(name, _)| name) == sinks_name).then_some(())
    })
    .await;
    // The answer to what it has sent is there when it wakes.
    let (called, server) = (proxy.seen().len(), Server::at(&mlflow.url()));
    let before = server.run_set(&experiment).await;
    proxy.set([]);
    wait_until("MLflow has done what it was called for", CAUGHT_UP, async || {
        (server.run_set(&experiment).await != before).then_some(())
    })
    .await;
    begun.signal(Signal::SIGCONT);
    let told = begun.told().await;
    assert_eq!(told.exit, 6, "{told:?}");
    assert!(told.stderr.contains("lease-lost"), "{}", told.stderr);
    let after: Vec<String> = proxy.seen().drain(called..).map(|seen| seen.path).collect();
    let writes: Vec<&String> =
        after.iter().filter(|path| !READS.iter().any(|read| path.contains(read))).collect();
    assert!(writes.is_empty(), "{command:?}: {writes:?}");
    sink.stop().await;
}

#[tokio::test]
async fn a_repair_that_slept_through_the_end_of_its_lease_writes_nothing_when_it_wakes() {
    let (mlflow, call) = (Mlflow::shared().await, Rule::on("runs/restore", HttpFault::Late));
    writes_nothing_after_a_sleep_in_the_middle_of(call, &["check", "--repair"], mlflow).await;
}

#[tokio::test]
async fn a_rebuild_that_slept_through_the_end_of_its_lease_writes_nothing_when_it_wakes() {
    // A server that has nothing of the run; the values of its trials, behind which their ends are written.
    let (mlflow, call) = (Mlflow::shared_2().await, Rule::on("log-batch", HttpFault::Late).about("loss"));
    writes_nothing_after_a_sleep_in_the_middle_of(call, &["rebuild"], mlflow).await;
}
