//! MLflow held against the stream, and mended.

use std::collections::BTreeMap;

use schemas::event::{MetricReported, RunCancelled, RunFailed, TrialReported, TrialStatus};
use schemas::{Event, Failure, FailureClass, Json, Real, RunId, Stage};
use serde_json::json;
use testkit::{HttpFault, HttpProxy, Mlflow, Rule, experiment_name};

use crate::commands::{begin, command};
use crate::events::{ended, reported, run, search, started, value, values};
use crate::pipeline::Pipeline;
use crate::reopened::{first, second};
use crate::server::{Run, Server};

const NOTHING: [String; 0] = [];

/// The id of a run, which no other test on this server has.
pub(crate) fn of(experiment: &str, name: &str) -> RunId {
    run(&format!("{experiment}.{name}"))
}

/// Runs of every shape there is, by their names.
pub(crate) async fn publish_all_shapes(pipeline: &Pipeline, experiment: &str) {
    let publish = async |name: &str, events: Vec<Event>| {
        pipeline.publish(&of(experiment, name), &events).await;
    };
    publish("plain", search(&of(experiment, "plain"), experiment, 3)).await;

    let reopened = of(experiment, "again");
    pipeline.publish(&reopened, &first(&reopened, experiment)).await;
    let (begin, end) = second(&reopened, experiment);
    pipeline.publish_in(2, 2, &reopened, &[begin, end].concat()).await;

    let failed = of(experiment, "failed");
    let failure = || Failure::new(FailureClass::Oom, Stage::Execute, "no memory left");
    let mut events = vec![started(&failed, experiment)];
    events.extend(values(&failed, 0));
    let trial = TrialReported {
        status: TrialStatus::Failed,
        failure: Some(failure()),
        metrics: BTreeMap::new(),
        ..reported(&failed, 0)
    };
    let (run_id, completed_trials) = (failed.clone(), 1);
    events.push(trial.into());
    // A trial nobody reports.
    events.extend(values(&failed, 1));
    events
        .push(RunFailed { run_id, attempt: 1, failure: failure(), completed_trials, duration_ms: 5 }.into());
    publish("failed", events).await;

    let cancelled = of(experiment, "cancelled");
    let mut events = vec![started(&cancelled, experiment)];
    for (number, status) in [(0, TrialStatus::Pruned), (1, TrialStatus::Cancelled), (2, TrialStatus::Skipped)]
    {
        events.extend(values(&cancelled, number));
        events.push(TrialReported { status, ..reported(&cancelled, number) }.into());
    }
    let reason = Some("enough".to_owned());
    let run_id = cancelled.clone();
    events.push(RunCancelled { run_id, attempt: 1, reason, completed_trials: 3, duration_ms: 5 }.into());
    publish("cancelled", events).await;

    let strange = of(experiment, "strange");
    let mut events = vec![started(&strange, experiment)];
    for (step, number) in [(0, 0.5), (3, f64::NAN), (4, f64::INFINITY), (9, -0.0), (i64::MAX - 1, f64::MAX)] {
        let Event::MetricReported(metric) = value(&strange, 0, "loss (train) %", 0, number) else { continue };
        events.push(MetricReported { step, ..metric }.into());
    }
    let mut report = reported(&strange, 0);
    report.parameters = Json(json!({"größe/..": 1, "long": "ü".repeat(7000), "nul": "a\0b"}));
    report.metrics.extend([("..".to_owned(), Real(0.1)), ("lost".to_owned(), Real(f64::NAN))]);
    events.push(report.into());
    events.extend(ended(&strange, 1));
    publish("strange", events).await;

    // A value that comes after the final one, and a run that goes on.
    let late = of(experiment, "late");
    publish("late", vec![started(&late, experiment), reported(&late, 0).into()]).await;
    publish("late", values(&late, 0)).await;

    // What MLflow refuses: a parameter of another value.
    let poison = of(experiment, "poison");
    let mut changed = reported(&poison, 0);
    (changed.attempt, changed.parameters) = (Some(2), Json(json!({"layers": "changed"})));
    let start = started(&poison, experiment);
    publish("poison", vec![start, reported(&poison, 0).into()]).await;
    pipeline.publish_in(2, 2, &poison, &[changed.into()]).await;
}

#[tokio::test]
async fn a_server_the_sink_has_written_is_as_the_stream_says_whatever_it_was_about() {
    for mlflow in [Mlflow::shared().await, Mlflow::shared_2().await] {
        let (pipeline, experiment) = (Pipeline::start().await, experiment_name("clean"));
        let sink = pipeline.sink(&mlflow.url(), "unused");
        publish_all_shapes(&pipeline, &experiment).await;
        pipeline.caught_up().await;
        let told = command(&pipeline, &mlflow.url(), &["check"]).await;
        assert_eq!((told.kinds(), told.exit), (NOTHING.to_vec(), 0), "{told:?}");
        assert!(told.stderr.contains("1 events are dead letters"), "{}", told.stderr);
        sink.stop().await;
    }
}

/// What follows from the events, by name: a repaired run equals an undisturbed one.
pub(crate) fn content(runs: Vec<Run>) -> BTreeMap<String, Run> {
    let plain = |mut run: Run| {
        let key = format!("{}/{}", run.tags["cerebros.run_id"], run.name);
        run.id = String::new();
        run.start_time = 0;
        // MLflow's words name the MLflow run.
        if let Some(refused) = run.tags.get_mut("cerebros.refused") {
            refused.truncate(refused.find("run ID=").unwrap_or(refused.len()));
        }
        run.tags.retain(|tag, _| !["mlflow.parentRunId", "cerebros.birth"].contains(&tag.as_str()));
        (key, run)
    };
    runs.into_iter().map(plain).collect()
}

#[tokio::test]
async fn whatever_was_done_to_a_server_by_hand_is_found_named_and_mended() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (server, experiment) = (Server::at(&mlflow.url()), experiment_name("mended"));
    let sink = pipeline.sink(&mlflow.url(), "unused");
    publish_all_shapes(&pipeline, &experiment).await;
    let big = of(&experiment, "big");
    pipeline.publish(&big, &search(&big, &experiment, 50)).await;
    pipeline.caught_up().await;
    let before = server.run_set(&experiment).await;
    let id = |run: &str, name: &str| {
        let name = if run == name { of(&experiment, name).to_string() } else { name.to_owned() };
        let is_it =
            |one: &&Run| one.tags["cerebros.run_id"] == of(&experiment, run).as_str() && one.name == name;
        let found = before.iter().find(is_it);
        found.unwrap_or_else(|| panic!("{run} {name}")).id.clone()
    };
    let mut expected = Vec::new();
    for number in 0..20 {
        server.delete_run(&id("big", &format!("trial-{number:05}"))).await;
        expected.push(format!("deleted_run {big}/{big}-t{number:05}"));
    }
    for number in 20..40 {
        server.set_status(&id("big", &format!("trial-{number:05}")), "FAILED").await;
        expected.push(format!("wrong_status {big}/{big}-t{number:05}"));
    }
    server.set_status(&id("big", "trial-00040"), "RUNNING").await;
    expected.push(format!("leftover_running {big}/{big}-t00040"));
    server.log_metric(&id("big", "trial-00041"), "accuracy", 0.25, 77).await;
    expected.push(format!("surplus_metric {big}/{big}-t00041"));
    server.delete_tag(&id("big", "trial-00042"), "cerebros.worker_id").await;
    server.set_tag(&id("big", "trial-00043"), "cerebros.attempt", "9").await;
    server.set_tag(&id("big", "trial-00044"), "cerebros.failure.class", "oom").await;
    server.delete_tag(&id("big", "trial-00045"), "cerebros.trial_id").await;
    expected.extend(["42", "43", "44"].map(|number| format!("wrong_tag {big}/{big}-t000{number}")));
    expected.extend([format!("missing_run {big}/{big}-t00045"), format!("orphan {big}/")]);
    let birth = [("mlflow.parentRunId", id("big", "big")), ("cerebros.run_id", big.to_string())];
    let birth = birth
        .into_iter()
        .chain([("cerebros.trial_id", format!("{big}-t00046")), ("cerebros.kind", "trial".into())]);
    server.create_run(&experiment, &birth.collect::<Vec<_>>()).await;
    expected.push(format!("duplicate {big}/{big}-t00046"));
    server.set_end(&id("big", "trial-00047"), 7).await;
    expected.push(format!("wrong_end {big}/{big}-t00047"));
    // Made by hand in the place of one that is gone, and nobody remembers the one that is gone.
    server.delete_run(&id("big", "trial-00048")).await;
    pipeline.forget_birth(&format!("{big}-t00048")).await;
    let birth = [("mlflow.parentRunId", id("big", "big")), ("cerebros.run_id", big.to_string())];
    let rest = [("cerebros.trial_id", format!("{big}-t00048")), ("cerebros.kind", "trial".into())];
    server.create_run(&experiment, &birth.into_iter().chain(rest).collect::<Vec<_>>()).await;
    let all = ["missing_metric", "wrong_param", "wrong_tag", "leftover_running"];
    expected.extend(all.map(|kind| format!("{kind} {big}/{big}-t00048")));
    server.delete_run(&id("cancelled", "cancelled")).await;
    expected.push(format!("deleted_run {}/-", of(&experiment, "cancelled")));
    server.set_status(&id("plain", "plain"), "KILLED").await;
    server.log_metric(&id("plain", "plain"), "invented", 1.0, 0).await;
    server.delete_tag(&id("again", "again"), "cerebros.opened_at").await;
    server.set_status(&id("late", "late"), "FINISHED").await;
    let more = [
        ("wrong_status", "plain"),
        ("surplus_metric", "plain"),
        ("wrong_tag", "again"),
        ("wrong_status", "late"),
    ];
    expected.extend(more.map(|(kind, name)| format!("{kind} {}/-", of(&experiment, name))));
    // What people add of their own is nobody's business.
    server.set_tag(&id("plain", "trial-00000"), "reviewed", "yes").await;
    server.delete_tag(&id("plain", "trial-00000"), "reviewed").await;
    expected.sort();

    let told = command(&pipeline, &mlflow.url(), &["check"]).await;
    assert_eq!((told.kinds(), told.exit), (expected.clone(), 9), "{told:?}");
    assert!(told.rows.iter().all(|row| row["repaired"] == false));

    let told = command(&pipeline, &mlflow.url(), &["check", "--repair"]).await;
    assert_eq!((told.kinds(), told.exit), (expected, 9), "{told:?}");
    assert!(told.is_repaired(), "{told:?}");
    let told = command(&pipeline, &mlflow.url(), &["check"]).await;
    assert_eq!((told.kinds(), told.exit), (NOTHING.to_vec(), 0), "{told:?}");
    let (after, before) = (content(server.run_set(&experiment).await), content(before));
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    for (name, run) in after {
        assert_eq!(run, before[&name], "{name}");
    }

    // The sink stood by, and goes on.
    let next = of(&experiment, "next");
    pipeline.publish(&next, &search(&next, &experiment, 1)).await;
    pipeline.caught_up().await;
    let told = command(&pipeline, &mlflow.url(), &["check", "--run", next.as_str()]).await;
    assert_eq!(told.exit, 0, "{told:?}");
    let told = command(&pipeline, &mlflow.url(), &["check", "--run", "nobody-knows-it"]).await;
    assert_eq!(told.exit, 3, "{told:?}");
    sink.stop().await;
}

#[tokio::test]
async fn what_is_on_its_way_and_what_is_older_than_the_stream_is_no_finding() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let experiment = experiment_name("on-its-way");
    let (old, new, next) = (of(&experiment, "old"), of(&experiment, "new"), of(&experiment, "next"));
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.publish(&old, &search(&old, &experiment, 1)).await;
    pipeline.publish(&new, &search(&new, &experiment, 1)).await;
    pipeline.caught_up().await;
    sink.stop().await;
    pipeline.publish(&next, &search(&next, &experiment, 1)).await;
    pipeline.purge_up_to(3).await;
    let told = command(&pipeline, &mlflow.url(), &["check"]).await;
    assert_eq!((told.kinds(), told.exit), (NOTHING.to_vec(), 0), "{told:?}");
    assert!(told.stderr.contains("1 runs are still being written"), "{}", told.stderr);
    assert!(told.stderr.contains("1 runs began before"), "{}", told.stderr);
}

#[tokio::test]
async fn an_experiment_somebody_deleted_is_told_once_and_left_alone() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, server) = (experiment_name("deleted-whole"), Server::at(&mlflow.url()));
    let runs = ["a", "b"].map(|name| of(&experiment, name));
    for run in &runs {
        pipeline.publish(run, &search(run, &experiment, 2)).await;
    }
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    server.delete_experiment(&experiment).await;
    let expected = [format!("deleted_experiment {}/-", runs[0])];
    for command_line in [&["check"][..], &["check", "--repair"], &["check"]] {
        let told = command(&pipeline, &mlflow.url(), command_line).await;
        assert_eq!((told.kinds().as_slice(), told.exit), (&expected[..], 9), "{told:?}");
        assert!(!told.is_repaired() && told.rows[0]["detail"].to_string().contains("2 runs"), "{told:?}");
    }
    assert_eq!(server.count(&experiment).await, 0, "nothing was restored");
}

#[tokio::test]
async fn a_copy_people_made_is_told_and_left_alone() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, other) = (experiment_name("original"), experiment_name("copied"));
    let (run, server) = (of(&experiment, "run"), Server::at(&mlflow.url()));
    pipeline.publish(&run, &search(&run, &experiment, 1)).await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    server.create_experiment(&other).await;
    // With all its tags, as tools for exports do.
    for run in server.run_set(&experiment).await {
        let tags: Vec<(&str, String)> =
            run.tags.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        server.create_run(&other, &tags).await;
    }
    let expected = [format!("copy {run}/-")];
    for command_line in [&["check"][..], &["check", "--repair"]] {
        let told = command(&pipeline, &mlflow.url(), command_line).await;
        assert_eq!((told.kinds().as_slice(), told.exit), (&expected[..], 9), "{told:?}");
    }
    assert_eq!(server.count(&other).await, 2, "nothing was deleted");
}

#[tokio::test]
async fn what_mlflow_refuses_to_mend_is_said_and_keeps_no_other_from_it() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, server) = (experiment_name("refused-mend"), Server::at(&mlflow.url()));
    let run = of(&experiment, "run");
    pipeline.publish(&run, &search(&run, &experiment, 3)).await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    let before = server.runs(&experiment).await;
    for name in ["trial-00000", "trial-00002"] {
        server.delete_run(&before[name].id).await;
    }
    let proxy = HttpProxy::start(&mlflow.url()).await;
    let words = r#"{"error_code":"INVALID_PARAMETER_VALUE","message":"not this one"}"#;
    proxy.set([Rule::on("runs/restore", HttpFault::says(400, words)).about(&before["trial-00000"].id)]);
    let told = command(&pipeline, &proxy.url(), &["check", "--repair"]).await;
    assert_eq!(told.exit, 9, "{told:?}");
    assert!(
        told.stderr.contains("MLflow refused the repair of trial") && told.stderr.contains("not this one")
    );
    assert_eq!(server.runs(&experiment).await["trial-00002"].id, before["trial-00002"].id, "{told:?}");
}

#[tokio::test]
async fn an_mlflow_that_does_not_answer_is_said_with_its_exit_code() {
    let pipeline = Pipeline::start().await;
    let told = begin(&pipeline, "http://127.0.0.1:9", &["check"]).told().await;
    assert_eq!(told.exit, 6, "{told:?}");
    assert!(told.stderr.contains("mlflow-unusable"), "{}", told.stderr);
}

#[tokio::test]
async fn histories_are_read_of_many_runs_at_once_and_one_by_one_where_a_server_cannot() {
    for mlflow in [Mlflow::shared().await, Mlflow::shared_2().await] {
        let (pipeline, experiment) = (Pipeline::start().await, experiment_name("histories"));
        let (run, server) = (of(&experiment, "plain"), Server::at(&mlflow.url()));
        pipeline.publish(&run, &search(&run, &experiment, 3)).await;
        let sink = pipeline.sink(&mlflow.url(), "unused");
        pipeline.caught_up().await;
        sink.stop().await;
        let trial =
            server.run_set(&experiment).await.into_iter().find(|run| run.name == "trial-00001").unwrap();
        // Below the last value: only the history has it.
        server.log_metric(&trial.id, "loss", 0.25, -7).await;
        let expected = [format!("surplus_metric {run}/{run}-t00001")];

        let proxy = HttpProxy::start(&mlflow.url()).await;
        let calls = |path: &str| proxy.seen().iter().filter(|seen| seen.path.contains(path)).count();
        let told = command(&pipeline, &proxy.url(), &["check"]).await;
        assert_eq!((told.kinds().as_slice(), told.exit), (&expected[..], 9), "{told:?}");
        let (bulk, single) = (calls("get-history-bulk?"), calls("get-history?"));
        assert!(
            bulk >= 3 && single >= 1,
            "those of the trials at once, those of the run alone: {bulk} {single}"
        );

        proxy.set([Rule::on("get-history-bulk", HttpFault::says(404, "<html>no such page</html>"))]);
        let told = command(&pipeline, &proxy.url(), &["check"]).await;
        assert_eq!((told.kinds().as_slice(), told.exit), (&expected[..], 9), "{told:?}");
    }
}
