//! Runs MLflow does not take, although it takes others.

use std::time::Duration;

use schemas::event::RunRequested;
use service_kit::registry::record::{Claimant, claim};
use service_kit::registry::{Registry, RunRecord};
use testkit::{HttpFault, HttpProxy, Mlflow, Rule, experiment_name, wait_until};

use crate::commands::{assert_clean, command};
use crate::events::{at, run, search, started, value, values};
use crate::pipeline::{CAUGHT_UP, Pipeline};
use crate::server::Server;

const STUCK: usize = 3;

/// The server says that this user may not make runs of this name.
fn forbids(name: &str) -> Rule {
    Rule::on("runs/create", HttpFault::says(403, "Permission denied")).about(name)
}

#[tokio::test]
async fn runs_mlflow_does_not_take_hold_up_no_other_and_blind_neither_check_nor_sweep() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let proxy = HttpProxy::start(&mlflow.url()).await;
    let experiment = experiment_name("stuck");
    let stuck: Vec<_> = (0..STUCK).map(|number| run(&format!("{experiment}.no{number}"))).collect();
    proxy.set([forbids(&format!("{experiment}.no"))]);
    let sink = pipeline.sink(&proxy.url(), "unused");
    for run in &stuck {
        let mut events = vec![started(run, &experiment)];
        events.extend((0..300).map(|step| value(run, 0, "loss", step, 0.5)));
        pipeline.publish(run, &events).await;
    }
    wait_until("each of them was tried", CAUGHT_UP, async || {
        (proxy.seen().iter().filter(|seen| seen.is_faulty).count() >= STUCK).then_some(())
    })
    .await;

    // A run that goes well, and one whose end nobody will ever tell.
    let (well, left) = (run(&format!("{experiment}.well")), run(&format!("{experiment}.left")));
    let whole = search(&well, &experiment, 3);
    pipeline.publish(&well, &whole).await;
    let mut events = vec![started(&left, &experiment)];
    events.extend(values(&left, 0));
    pipeline.publish(&left, &events).await;
    let server = Server::at(&mlflow.url());
    let ended = async |name: &str, status: &str, trials: usize| {
        wait_until(&format!("{name} is {status}"), CAUGHT_UP, async || {
            let runs = server.run_set(&experiment).await;
            let of = |run: &&crate::server::Run| run.tags["cerebros.run_id"] == name && run.status == status;
            (runs.iter().filter(of).count() == trials + 1).then_some(())
        })
        .await;
    };
    ended(well.as_str(), "FINISHED", 3).await;
    ended(left.as_str(), "RUNNING", 1).await;

    // The well one is compared, although events before its own are not settled, and those that wait are told of.
    let trial = server.run_set(&experiment).await.into_iter().find(|run| run.name == "trial-00001").unwrap();
    server.set_status(&trial.id, "FAILED").await;
    let expected = {
        let mut kinds: Vec<String> = stuck.iter().map(|run| format!("stuck {run}/-")).collect();
        kinds.push(format!("wrong_status {well}/{well}-t00001"));
        kinds
    };
    let told = wait_until("check sees what is wrong", CAUGHT_UP, async || {
        let told = command(&pipeline, &mlflow.url(), &["check"]).await;
        // The others are settled: the sweep leaves alone what events may still be under way of.
        let is_settled = told.stderr.contains(&format!("{STUCK} runs are still being written"));
        (told.kinds() == expected && is_settled).then_some(told)
    })
    .await;
    assert_eq!(told.exit, 9, "{told:?}");
    assert!(told.rows.iter().any(|row| row["detail"].to_string().contains("Permission denied")), "{told:?}");
    server.set_status(&trial.id, "FINISHED").await;

    // The sweep closes what is over, as soon as a sink begins anew.
    sink.stop().await;
    let request = RunRequested::new("digits");
    let claimant = Claimant {
        run_id: &left,
        request: &request,
        sequence: 1,
        delivery: 1,
        is_retry_of_failed: false,
        is_owner_gone: false,
        requested_at: at(0),
        worker_id: "w1",
    };
    let registry = Registry::open(&pipeline.broker).await.unwrap();
    registry.change(&left, |known| claim(known, &claimant, at(1))).await.unwrap();
    let last = pipeline.last_sequence().await;
    let end = |record: Option<&RunRecord>| {
        let mut over = record.unwrap().clone();
        (over.state, over.ended_at, over.last_sequence) =
            (schemas::lifecycle::RunState::Failed, Some(at(9_000)), last);
        (Some(over), ())
    };
    registry.change(&left, end).await.unwrap();
    let sink = pipeline.sink(&proxy.url(), "unused");
    ended(left.as_str(), "FAILED", 1).await;

    // When it takes them, all of it is there soon, in order.
    proxy.set([]);
    wait_until("every event is settled", Duration::from_secs(110), async || {
        (pipeline.unsettled().await == 0).then_some(())
    })
    .await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;
    let found = server.run_set(&experiment).await;
    let of_first = found
        .iter()
        .find(|found| found.tags["cerebros.run_id"] == stuck[0].as_str() && found.name == "trial-00000");
    assert_eq!(of_first.unwrap().history["loss"].len(), 300);
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}
