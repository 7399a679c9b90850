//! An empty MLflow, filled from the stream.

use testkit::{HttpFault, HttpProxy, Mlflow, Rule, experiment_name, wait_until};

use crate::check::{content, of, publish_all_shapes};
use crate::commands::{begin, command};
use crate::events::search;
use crate::pipeline::{CAUGHT_UP, Pipeline};
use crate::server::Server;

/// Trials of a run whose writing is disturbed.
const TRIALS: u32 = 30;

#[tokio::test]
async fn an_empty_server_becomes_what_the_old_one_was_but_for_its_ids() {
    let (pipeline, old, new) = (Pipeline::start().await, Mlflow::shared().await, Mlflow::start().await);
    let experiment = experiment_name("rebuilt");
    let sink = pipeline.sink(&old.url(), "unused");
    publish_all_shapes(&pipeline, &experiment).await;
    pipeline.caught_up().await;
    sink.stop().await;

    let plan = command(&pipeline, &new.url(), &["rebuild", "--dry-run"]).await;
    assert_eq!((plan.rows.len(), plan.exit), (7, 0), "{plan:?}");
    let told = command(&pipeline, &new.url(), &["rebuild"]).await;
    assert_eq!((told.rows.len(), told.exit), (1, 9), "what MLflow refuses is a row: {told:?}");
    assert_eq!(told.rows[0]["run"], of(&experiment, "poison").as_str());
    assert!(told.rows[0]["reason"].as_str().unwrap().contains("Changing param values"), "{told:?}");

    let (old, new_server) = (Server::at(&old.url()), Server::at(&new.url()));
    let (before, after) =
        (content(old.run_set(&experiment).await), content(new_server.run_set(&experiment).await));
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    // Where values stand that came after the final one depends on how they came.
    let is_firm = |name: &str| !name.starts_with(of(&experiment, "late").as_str());
    for (name, run) in after.into_iter().filter(|(name, _)| is_firm(name)) {
        assert_eq!(run, before[&name], "{name}");
    }
    let told = command(&pipeline, &new.url(), &["check"]).await;
    assert_eq!(told.exit, 0, "{told:?}");
    assert_eq!(pipeline.dead_letters().await.len(), 1, "a rebuild makes no dead letters");
}

#[tokio::test]
async fn runs_that_begin_before_the_first_sequence_are_named_and_only_continued() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let experiment = experiment_name("continued");
    let (cut, whole) = (of(&experiment, "cut"), of(&experiment, "whole"));
    for run in [&cut, &whole] {
        pipeline.publish(run, &search(run, &experiment, 2)).await;
    }
    // From the second trial of the first run on.
    let told = command(&pipeline, &mlflow.url(), &["rebuild", "--from-seq", "9"]).await;
    assert_eq!(told.exit, 0, "{told:?}");
    assert!(told.stderr.contains(&format!("only continued: {cut}\n")), "{}", told.stderr);
    let server = Server::at(&mlflow.url());
    let names: Vec<String> = server.run_set(&experiment).await.into_iter().map(|run| run.name).collect();
    assert_eq!(names.iter().filter(|name| **name == whole.to_string()).count(), 1);
    // What does not say where it belongs goes where the sink would put it.
    let continued = server.run_set("unused").await;
    let continued: Vec<_> =
        continued.iter().filter(|run| run.tags["cerebros.run_id"] == cut.as_str()).collect();
    assert_eq!(continued.len(), 2, "{continued:?}");
}

#[tokio::test]
async fn a_rebuild_beside_a_live_sink_outlasts_an_outage_and_makes_nothing_twice() {
    let (pipeline, mut mlflow) = (Pipeline::start().await, Mlflow::start().await);
    let (experiment, server) = (experiment_name("beside"), Server::at(&mlflow.url()));
    let old = pipeline.sink(&Mlflow::shared().await.url(), "unused");
    for name in ["a", "b", "c"] {
        let run = of(&experiment, name);
        pipeline.publish(&run, &search(&run, &experiment, TRIALS)).await;
    }
    pipeline.caught_up().await;
    old.stop().await;
    // The new server has nothing, and its sink has only what comes from now on.
    let sink = pipeline.sink(&mlflow.url(), "unused");
    let late = of(&experiment, "d");
    let events = search(&late, &experiment, 5);
    let (first, rest) = events.split_at(10);
    pipeline.publish(&late, first).await;
    pipeline.caught_up().await;

    let url = mlflow.url();
    let first = of(&experiment, "a");
    let told = command(&pipeline, &url, &["check", "--repair", "--run", first.as_str()]).await;
    assert_eq!((told.rows.len(), told.exit, told.is_repaired()), (TRIALS as usize + 1, 9, true), "{told:?}");
    assert!(told.rows.iter().all(|row| row["kind"] == "missing_run"), "{told:?}");
    assert_eq!(server.count(&experiment).await, TRIALS as usize + 1 + 3);
    // It is in the middle for as long as it takes.
    let proxy = HttpProxy::start(&url).await;
    proxy.set([Rule::on("runs/create", HttpFault::Hangs).after(9)]);
    let disturb = async {
        wait_until("the rebuild is under way", CAUGHT_UP, async || {
            proxy.seen().iter().any(|call| call.is_faulty).then_some(())
        })
        .await;
        mlflow.kill().await;
        proxy.set([]);
        pipeline.publish(&late, rest).await;
        mlflow.restart().await;
    };
    let (told, ()) = tokio::join!(begin(&pipeline, &proxy.url(), &["rebuild"]).told(), disturb);
    assert_eq!(told.exit, 0, "{told:?}");
    assert!(told.stderr.contains("waiting for MLflow"), "{}", told.stderr);
    pipeline.caught_up().await;
    let told = command(&pipeline, &url, &["check"]).await;
    assert_eq!((told.kinds().len(), told.exit), (0, 0), "{told:?}");
    assert_eq!(server.count(&experiment).await, 3 * (TRIALS as usize + 1) + 6);
    sink.stop().await;
    assert!(pipeline.dead_letters().await.is_empty());
}
