//! The events of a run in their order, whatever happens to the sink.

use std::time::Duration;

use schemas::event::{MlRunStarted, RunFailed};
use schemas::{Event, Failure, FailureClass, Stage};
use testkit::{Fault, Mlflow, Proxy, experiment_name, wait_until};

use crate::commands::assert_clean;
use crate::events::{BEGAN, at, run, search, started};
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

#[tokio::test]
async fn a_second_attempt_on_a_machine_whose_clock_is_behind_begins_the_run_again() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, run) = (experiment_name("behind"), run("behind"));
    let failure = Failure::new(FailureClass::Oom, Stage::Execute, "no memory left");
    let (run_id, completed_trials) = (run.clone(), 0);
    let failed = RunFailed { run_id, attempt: 1, failure, completed_trials, duration_ms: 2000 };
    let Event::MlRunStarted(started) = started(&run, &experiment) else { unreachable!("it is a start") };
    let again = MlRunStarted { timestamp: at(-3000), ..started.clone() };
    let (first, second) = (vec![started.into(), failed.into()], vec![again.into()]);
    pipeline.publish_in(1, 0, &run, &first).await;
    let server = Server::at(&mlflow.url());
    for is_ledger_lost in [false, true] {
        let sink = pipeline.sink(&mlflow.url(), "unused");
        pipeline.caught_up().await;
        if !is_ledger_lost {
            assert_eq!(server.runs(&experiment).await["behind"].status, "FAILED");
            pipeline.publish_in(2, 2, &run, &second).await;
            pipeline.caught_up().await;
        }
        sink.stop().await;
        assert_clean(&pipeline, &mlflow.url()).await;
        let parent = &server.runs(&experiment).await["behind"];
        assert_eq!(parent.status, "RUNNING");
        assert!(!parent.tags.contains_key("cerebros.failure.class"), "{:?}", parent.tags);
        assert_eq!(parent.tags["cerebros.opened_at"], (BEGAN - 3000).to_string());
        // Everything once more, by a sink that remembers nothing.
        pipeline.delete_the_ledger();
        pipeline.forget_the_position().await;
    }
}
