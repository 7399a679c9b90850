//! `list`, `show`, `cancel`, `retry`.

use futures_util::StreamExt as _;
use schemas::event::RunRequested;
use schemas::lifecycle::RunState;
use schemas::{Failure, FailureClass, Real, Record, RunId, Stage as Place, Timestamp};
use service_kit::registry::RunRecord;
use service_kit::registry::record::{Claimant, claim, request_cancel};
use service_kit::{clock, schema_registry};
use testkit::wait_until;

use crate::program::{Running, producer};
use crate::script::Script;
use crate::stage::{DEADLINE, Stage};

fn id(text: &str) -> RunId {
    RunId::parse(text).unwrap()
}

async fn submit(stage: &Stage, run: &str) {
    producer(&stage.url(), &["submit", "--set", "dataset_id=digits", "--run-id", run]).await.id();
}

#[tokio::test]
async fn the_list_has_claimed_and_unclaimed_runs_newest_last() {
    let stage = Stage::set().await;
    assert_eq!(producer(&stage.url(), &["list", "-o", "json"]).await.stdout, "[]\n");
    for run in ["a", "b", "c"] {
        submit(&stage, run).await;
    }
    stage.claim(&id("a")).await;
    stage
        .record(&id("a"), |record| (record.completed_trials, record.best_metric) = (3, Some(Real(0.5))))
        .await;
    stage.claim(&id("b")).await;
    stage.end(&id("b"), RunState::Failed).await;
    let listed = producer(&stage.url(), &["list", "-o", "json"]).await.json();
    let states: Vec<(&str, &str)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["run_id"].as_str().unwrap(), row["state"].as_str().unwrap()))
        .collect();
    assert_eq!(states, [("a", "running"), ("b", "failed"), ("c", "requested")]);
    let keys: Vec<&str> = listed[0].as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "run_id",
        "state",
        "dataset_id",
        "objective",
        "attempt",
        "completed_trials",
        "failed_trials",
        "max_trials",
        "best_metric",
        "best_trial_id",
        "requested_at",
        "started_at",
        "ended_at",
        "worker_id",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!((&listed[0]["best_metric"], &listed[0]["worker_id"]), (&0.5.into(), &"w-1".into()));
    let failed = producer(&stage.url(), &["list", "-o", "ndjson", "--state", "failed"]).await;
    assert_eq!((failed.lines().len(), failed.lines()[0]["run_id"].as_str()), (1, Some("b")));
    let table = producer(&stage.url(), &["list"]).await.stdout;
    assert!(table.starts_with("RUN  STATE") && table.lines().count() == 4, "{table}");
}

#[tokio::test]
async fn a_thousand_runs_are_listed_in_order_and_a_limit_keeps_the_newest() {
    let stage = Stage::set().await;
    let registry = stage.registry().await;
    let name = |number: u32| format!("r{number:04}");
    let write = async |number: u32| {
        let run = id(&name(number));
        let request = RunRequested { run_id: Some(run.clone()), ..RunRequested::new("digits") };
        let now = Timestamp::from_micros(i64::from(number) * 1_500_000);
        let claimant = Claimant {
            run_id: &run,
            request: &request,
            sequence: u64::from(number) + 1,
            delivery: 1,
            is_retry_of_failed: false,
            is_owner_gone: false,
            requested_at: now,
            worker_id: "w-1",
        };
        registry.change(&run, |known| claim(known, &claimant, now)).await.unwrap();
    };
    futures_util::stream::iter(0..1200).for_each_concurrent(64, write).await;
    stage.record(&id("r0007"), |record| record.state = RunState::Failed).await;
    stage.record(&id("r1199"), |record| record.completed_trials = 3).await;

    let all = producer(&stage.url(), &["list", "-o", "json"]).await.json();
    let ids: Vec<&str> = all.as_array().unwrap().iter().map(|row| row["run_id"].as_str().unwrap()).collect();
    assert_eq!(ids, (0..1200).map(name).collect::<Vec<_>>());
    assert_eq!((&all[1199]["max_trials"], &all[1199]["completed_trials"]), (&10.into(), &3.into()));

    let newest = producer(&stage.url(), &["list", "--limit", "2"]).await;
    assert_eq!((newest.code, newest.stdout.lines().count()), (0, 3), "{newest:?}");
    assert!(newest.stdout.lines().last().unwrap().starts_with("r1199  running  3/10 "), "{newest:?}");
    assert!(newest.stdout.contains("1970-01-01T00:29:58Z"), "{newest:?}");
    assert!(newest.stderr.contains("the newest 2 of 1200 runs"), "{newest:?}");

    let machine = producer(&stage.url(), &["list", "--limit", "2", "-o", "ndjson"]).await;
    assert_eq!((machine.lines().len(), machine.stderr.as_str()), (2, ""), "{machine:?}");
    let failed = producer(&stage.url(), &["list", "--state", "failed", "--limit", "5", "-o", "json"]).await;
    assert_eq!((failed.json()[0]["run_id"].as_str(), failed.json()[1].is_null()), (Some("r0007"), true));
    for limit in ["0", "-1", "4294967296", "x"] {
        let refused = producer(&stage.url(), &["list", "--limit", limit]).await;
        assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{limit}: {refused:?}");
    }
}

#[tokio::test]
async fn a_run_published_by_hand_is_listed_under_its_derived_id() {
    let stage = Stage::set().await;
    let bare = r#"{"dataset_id": "digits"}"#;
    stage.broker.jetstream.publish("cerebros.nas.run.requested", bare.into()).await.unwrap().await.unwrap();
    let listed = producer(&stage.url(), &["list", "-o", "json"]).await.json();
    let run = listed[0]["run_id"].as_str().unwrap().to_owned();
    let shown = producer(&stage.url(), &["show", &run, "-o", "json"]).await.json();
    assert_eq!(
        (shown["state"].as_str(), shown["spec"]["dataset_id"].as_str()),
        (Some("requested"), Some("digits"))
    );
}

#[tokio::test]
async fn a_run_is_shown_with_its_request_its_counts_and_its_trials() {
    let stage = Stage::set().await;
    submit(&stage, "a").await;
    stage.claim(&id("a")).await;
    let script = Script::new(&stage.broker, &id("a"), 1);
    script.started().await;
    script.trial(1, 0.9).await;
    script.trial(0, 0.5).await;
    script.failed("the disk is full").await;
    let failure = Failure::new(FailureClass::UserCode, Place::Execute, "the disk is full");
    stage
        .record(&id("a"), |record| {
            (record.state, record.failures, record.interruptions, record.worker_losses) =
                (RunState::Failed, 1, 2, 3);
            (record.failure, record.ended_by) = (Some(failure.clone()), Some("user_code".into()));
        })
        .await;
    let shown = producer(&stage.url(), &["show", "a", "-o", "json"]).await.json();
    assert_eq!(
        (&shown["failures"], &shown["interruptions"], &shown["worker_losses"]),
        (&1.into(), &2.into(), &3.into())
    );
    assert_eq!((&shown["ended_by"], &shown["spec"]["strategy"]), (&"user_code".into(), &"ga".into()));
    assert!(shown["mlflow_run_id"].is_null());
    let trials = shown["trials"].as_array().unwrap();
    assert_eq!((trials.len(), &trials[1]["objective"], &trials[0]["number"]), (2, &0.9.into(), &0.into()));
    let people = producer(&stage.url(), &["show", "a"]).await.stdout;
    assert!(
        people.contains("1 failures, 2 interruptions, 3 worker losses")
            && people.contains("the disk is full")
    );
}

#[tokio::test]
async fn a_cancel_waits_for_the_end_of_the_run() {
    let stage = Stage::set().await;
    submit(&stage, "a").await;
    stage.claim(&id("a")).await;
    let running = Running::start(&stage.url(), &["cancel", "a", "--reason", "too slow", "-o", "json"]);
    let requests = wait_until("the cancel request is on the stream", DEADLINE, async || {
        let requests = stage.messages(Record::RunCancelRequested).await;
        (!requests.is_empty()).then_some(requests)
    })
    .await;
    assert!(String::from_utf8_lossy(&requests[0].payload).contains("too slow"));
    stage.end(&id("a"), RunState::Cancelled).await;
    let ended = running.end().await;
    assert_eq!((ended.code, ended.json()["state"].as_str()), (0, Some("cancelled")), "{ended:?}");
    let again = producer(&stage.url(), &["cancel", "a"]).await;
    assert_eq!((again.code, again.stdout.as_str()), (0, "a cancelled\n"));
    assert!(again.stderr.contains("over already"));
    assert_eq!(stage.messages(Record::RunCancelRequested).await.len(), 1);
}

#[tokio::test]
async fn a_retry_is_a_new_request_for_the_same_run_once_per_attempt() {
    let stage = Stage::set().await;
    submit(&stage, "a").await;
    let early = producer(&stage.url(), &["retry", "a"]).await;
    stage.claim(&id("a")).await;
    let running = producer(&stage.url(), &["retry", "a"]).await;
    stage.end(&id("a"), RunState::Failed).await;
    let retried = producer(&stage.url(), &["retry", "a", "--expires", "1h"]).await;
    let twice = producer(&stage.url(), &["retry", "a"]).await;
    assert_eq!([early.code, running.code, retried.code, twice.code], [5, 5, 0, 5], "{early:?} {twice:?}");
    let requests = stage.requests().await;
    assert_eq!((requests.len(), &requests[0]), (2, &requests[1]));
    let second = &stage.messages(Record::RunRequested).await[1];
    assert_eq!(second.headers.get("Nats-Msg-Id"), Some("a:retry1:requested::"));
    assert_eq!(second.headers.get("ce-id"), Some("a:retry1:requested::"));
    assert!(second.decode().unwrap().expires.is_some(), "each asking has a time of its own");
    let listed = producer(&stage.url(), &["list", "-o", "json"]).await.json();
    assert_eq!((&listed[0]["state"], &listed[0]["attempt"]), (&"requested".into(), &1.into()));
    assert_eq!(stage.claim(&id("a")).await, 2);
    stage.end(&id("a"), RunState::Completed).await;
    assert_eq!(producer(&stage.url(), &["retry", "a"]).await.code, 5);
}

#[tokio::test]
async fn the_failed_trials_of_a_run_are_asked_for_again_even_after_it_completed() {
    let stage = Stage::set().await;
    submit(&stage, "a").await;
    stage.claim(&id("a")).await;
    let script = Script::new(&stage.broker, &id("a"), 1);
    script.started().await;
    script.trial(0, 0.5).await;
    script.failed_trial(1, "boom", "").await;
    script.completed().await;
    stage.record(&id("a"), |record| (record.state, record.failed_trials) = (RunState::Completed, 1)).await;
    let plain = producer(&stage.url(), &["retry", "a"]).await;
    assert_eq!((plain.code, plain.stdout.as_str()), (5, ""), "{plain:?}");
    assert!(plain.stderr.contains("producer retry a --only failed"), "{plain:?}");
    let wrong = producer(&stage.url(), &["retry", "a", "--only", "pruned"]).await;
    assert_eq!(wrong.code, 2, "{wrong:?}");

    let retried = producer(&stage.url(), &["retry", "a", "--only", "failed", "-o", "json"]).await;
    assert_eq!(retried.json(), serde_json::json!({"run_id": "a", "attempt": 2}), "{retried:?}");
    let request = stage.messages(Record::RunRequested).await.pop().unwrap();
    assert_eq!(request.headers.get("Cerebros-Retry"), Some("failed"));
    assert_eq!(request.headers.get("Nats-Msg-Id"), Some("a:retry1:requested::"));
    let shown = producer(&stage.url(), &["show", "a", "-o", "json"]).await.json();
    assert_eq!((&shown["state"], shown["trials"].as_array().unwrap().len()), (&"requested".into(), 2));
    assert_eq!(producer(&stage.url(), &["retry", "a", "--only", "failed"]).await.code, 5);

    // As the worker that serves it writes it down.
    stage
        .record(&id("a"), |record| {
            (record.state, record.attempt, record.request_sequence) =
                (RunState::Running, 2, request.sequence);
        })
        .await;
    let second = Script::restarting(&stage.broker, &id("a"), 2);
    second.started().await;
    second.trial(1, 0.9).await;
    second.completed().await;
    let shown = producer(&stage.url(), &["show", "a", "-o", "json"]).await.json();
    assert_eq!(
        (&shown["trials"][1]["status"], &shown["trials"][1]["attempt"]),
        (&"succeeded".into(), &2.into())
    );
    let watched = producer(&stage.url(), &["watch", "a"]).await;
    assert_eq!(watched.code, 0, "{watched:?}");
    assert!(watched.stdout.contains("completed: 2 trials"), "{watched:?}");
}

#[tokio::test]
async fn a_completed_run_without_a_failed_trial_has_nothing_to_retry() {
    let stage = Stage::set().await;
    submit(&stage, "a").await;
    stage.claim(&id("a")).await;
    stage.end(&id("a"), RunState::Completed).await;
    let refused = producer(&stage.url(), &["retry", "a", "--only", "failed"]).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (5, ""), "{refused:?}");
    assert!(refused.stderr.contains("completed without a failed trial"), "{refused:?}");
    assert_eq!(stage.requests().await.len(), 1);
}

#[tokio::test]
async fn only_the_request_that_asks_for_failed_trials_alone_says_so() {
    let stage = Stage::set().await;
    for (run, flags) in [("a", &[][..]), ("b", &["--only", "failed"])] {
        submit(&stage, run).await;
        stage.claim(&id(run)).await;
        stage.end(&id(run), RunState::Failed).await;
        producer(&stage.url(), &[&["retry", run], flags].concat()).await.id();
        let request = stage.messages(Record::RunRequested).await.pop().unwrap();
        assert_eq!(request.headers.get("Cerebros-Retry"), flags.last().copied());
        assert_eq!(stage.claim(&id(run)).await, 2);
    }
}

#[tokio::test]
async fn what_is_asked_for_in_avro_goes_out_in_avro_with_its_schemas_registered() {
    let stage = Stage::set().await;
    submit(&stage, "a").await;
    stage.claim(&id("a")).await;
    let cancel = Running::start(&stage.url(), &["cancel", "a", "--encoding", "avro"]);
    let asked = wait_until("the cancel request is on the stream", DEADLINE, async || {
        stage.messages(Record::RunCancelRequested).await.pop()
    })
    .await;
    stage.end(&id("a"), RunState::Cancelled).await;
    assert_eq!(cancel.end().await.code, 0);
    assert_eq!(producer(&stage.url(), &["retry", "a", "--encoding", "avro"]).await.code, 0);
    let again = stage.messages(Record::RunRequested).await.pop().unwrap();
    for (kept, record) in [(asked, Record::RunCancelRequested), (again, Record::RunRequested)] {
        assert_eq!(kept.headers.get("Content-Type"), Some("application/avro"));
        assert_eq!(kept.payload[2..10], record.fingerprint().0);
        assert_eq!(kept.decode().unwrap().event.run_id(), Some(&id("a")));
        let text = schema_registry::look_up(&stage.broker, record.fingerprint()).await.unwrap();
        assert_eq!(text.as_deref(), Some(record.latest().text));
    }
}

#[tokio::test]
async fn a_run_that_was_cancelled_before_anybody_asked_for_it_can_still_be_submitted() {
    let stage = Stage::set().await;
    let cancel =
        |known: Option<&RunRecord>| (request_cancel(known, &id("early"), "by hand", clock::now()), ());
    stage.registry().await.change(&id("early"), cancel).await.unwrap();
    let submitted =
        producer(&stage.url(), &["submit", "--set", "dataset_id=iris", "--run-id", "early"]).await;
    assert_eq!((submitted.code, submitted.stdout.trim()), (0, "early"), "{submitted:?}");
    assert!(!submitted.stderr.contains("already submitted"), "{submitted:?}");
    assert_eq!(stage.requests().await.len(), 1);
}
