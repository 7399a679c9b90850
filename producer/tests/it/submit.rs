//! `submit`: one valid request, or nothing.

use schemas::cloudevents::header;
use schemas::{Encoding, Record, RunId, Timestamp};
use serde_json::json;
use service_kit::clock;
use testkit::Nats;

use crate::program::{Running, producer, producer_fed};
use crate::script::Script;
use crate::stage::{Stage, connect};

/// Nobody listens there.
const NOWHERE: &str = "nats://127.0.0.1:1";

#[tokio::test]
async fn a_submitted_spec_is_exactly_one_valid_request() {
    let stage = Stage::set().await;
    let arguments = ["submit", "--set", "dataset_id=digits", "--set", "budget.max_trials=6"];
    let ended = producer(&stage.url(), &arguments).await;
    let run = RunId::parse(ended.id()).unwrap();
    let requests = stage.requests().await;
    assert_eq!((requests.len(), stage.last_sequence().await), (1, 1));
    assert_eq!((requests[0].run_id.as_ref(), requests[0].budget.max_trials), (Some(&run), 6));
    let message = &stage.messages(Record::RunRequested).await[0];
    assert_eq!(message.headers.get(header::MESSAGE_ID), Some(format!("{run}:0:requested::").as_str()));
    assert_eq!(message.headers.get("ce-source"), Some("/cerebros/producer"));
    assert!(ended.stderr.contains("no worker is taking requests"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_broker_without_our_streams_gets_them() {
    let nats = Nats::start().await;
    let ended = producer(&nats.url(), &["submit", r#"{"dataset_id": "iris"}"#, "-o", "json"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let run = ended.json()["run_id"].as_str().unwrap().to_owned();
    let listed = producer(&nats.url(), &["list", "-o", "json"]).await.json();
    assert_eq!(
        (listed[0]["run_id"].as_str(), listed[0]["state"].as_str()),
        (Some(run.as_str()), Some("requested"))
    );
    let streams = connect(&nats.url()).await.jetstream.get_stream("CEREBROS_DLQ").await;
    assert!(streams.is_ok());
}

#[tokio::test]
async fn a_spec_comes_from_a_file_or_standard_input_too() {
    let stage = Stage::set().await;
    let scratch = testkit::Scratch::new();
    let file = scratch.write("spec.json", r#"{"dataset_id": "wine"}"#);
    let from_file = producer(&stage.url(), &["submit", file.to_str().unwrap(), "--encoding", "avro"]).await;
    let fed = producer_fed(&stage.url(), &["submit", "-"], br#"{"dataset_id": "iris"}"#).await;
    from_file.id();
    fed.id();
    let datasets: Vec<String> =
        stage.requests().await.into_iter().map(|request| request.dataset_id).collect();
    assert_eq!(datasets, ["wine", "iris"]);
    let wire = stage.messages(Record::RunRequested).await;
    assert_eq!(wire[0].headers.get(header::CONTENT_TYPE), Some(Encoding::Avro.content_type()));
}

#[tokio::test]
async fn a_bad_spec_publishes_nothing_and_says_where_it_is_bad() {
    let stage = Stage::set().await;
    for (spec, path) in [
        ("{", "not JSON"),
        ("{}", "dataset_id"),
        (r#"{"dataset_id": 7}"#, "dataset_id"),
        (r#"{"dataset_id": "cifar10"}"#, "digits"),
        (r#"{"dataset_id": "../x.csv"}"#, "dataset_id"),
        (r#"{"dataset_id": "digits", "budget": {"max_trials": -1}}"#, "budget.max_trials"),
        (r#"{"dataset_id": "digits", "strategy": "randon"}"#, "random"),
        (r#"{"dataset_id": "digits", "search_space": {"layers": []}}"#, "search_space.layers"),
        (r#"{"dataset_id": "digits", "search_space": {"x": {"low": 2, "high": 1}}}"#, "search_space.x"),
        (r#"{"dataset_id": "digits", "parameters": {"mutation_rate": 2}}"#, "parameters.mutation_rate"),
    ] {
        let ended = producer(&stage.url(), &["submit", spec, "-o", "json"]).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (5, ""), "{spec}: {ended:?}");
        let error: serde_json::Value = serde_json::from_str(ended.stderr.trim()).unwrap();
        let said = error["error"].to_string();
        assert!(said.contains(path), "{spec}: {said}");
    }
    let invalid = producer_fed(&stage.url(), &["submit", "-"], b"\xff\xfe{").await;
    let deep = producer_fed(&stage.url(), &["submit", "-"], "[".repeat(100_000).as_bytes()).await;
    let huge = producer_fed(&stage.url(), &["submit", "-"], &[b' '; 524_289]).await;
    let missing = producer(&stage.url(), &["submit", "/nowhere/spec.json"]).await;
    assert_eq!([invalid.code, deep.code, huge.code, missing.code], [5, 5, 5, 3]);
    assert_eq!(stage.last_sequence().await, 0);
}

#[tokio::test]
async fn an_unknown_field_is_warned_about_and_submitted_without() {
    let stage = Stage::set().await;
    let ended =
        producer(&stage.url(), &["submit", "--set", "dataset_id=iris", "--set", "budget.max_trails=3"]).await;
    ended.id();
    let warning = "budget.max_trails is not known and is ignored; did you mean budget.max_trials?";
    assert!(ended.stderr.contains(warning), "{}", ended.stderr);
    assert_eq!(stage.requests().await.len(), 1);
}

#[tokio::test]
async fn the_same_run_id_twice_is_one_request() {
    let stage = Stage::set().await;
    let submit = ["submit", "--set", "dataset_id=iris", "--run-id", "nightly-7"];
    let first = producer(&stage.url(), &submit).await;
    let second = producer(&stage.url(), &submit).await;
    let other = [&submit[..], &["--set", "budget.max_trials=3"]].concat();
    let third = producer(&stage.url(), &other).await;
    assert_eq!([first.id(), second.id(), third.id()], ["nightly-7"; 3]);
    assert!(
        second.stderr.contains("already submitted") && !second.stderr.contains("warning: its spec"),
        "{second:?}"
    );
    assert!(third.stderr.contains("its spec is not the one given now"), "{third:?}");
    assert_eq!(stage.last_sequence().await, 1);
}

#[tokio::test]
async fn a_request_says_until_when_it_is_wanted_and_stays_the_same_request() {
    let stage = Stage::set().await;
    let submit = ["submit", "--set", "dataset_id=iris", "--run-id", "hasty", "--expires", "90min"];
    let before = clock::now();
    producer(&stage.url(), &submit).await.id();
    let message = &stage.messages(Record::RunRequested).await[0];
    let expires = message.decode().unwrap().expires.unwrap();
    let wanted = |since: Timestamp| (expires.micros() - since.micros()) / 1_000_000;
    assert!(wanted(before) >= 5400 && wanted(clock::now()) <= 5400, "{expires}");
    assert_eq!(message.headers.get(header::MESSAGE_ID), Some("hasty:0:requested::"));
    let again = producer(&stage.url(), &[&submit[..6], &["2h"]].concat()).await;
    assert!(
        again.stderr.contains("already submitted") && !again.stderr.contains("warning: its spec"),
        "{again:?}"
    );
    assert_eq!(stage.last_sequence().await, 1);

    let dry = producer(NOWHERE, &[&submit[..], &["--dry-run"]].concat()).await.json();
    let said = dry["headers"]["ce-expirytime"].as_str().unwrap();
    assert!(Timestamp::parse(said).unwrap() > before, "{said}");
    for wrong in ["0s", "tomorrow", "2y"] {
        let ended = producer(NOWHERE, &["submit", "--set", "dataset_id=iris", "--expires", wrong]).await;
        assert_eq!(ended.code, 2, "{ended:?}");
    }
}

#[tokio::test]
async fn a_dry_run_needs_no_broker_and_prints_what_would_be_published() {
    let stage = Stage::set().await;
    let arguments = ["submit", "--set", "dataset_id=iris", "--run-id", "r1", "--dry-run"];
    let here = producer(&stage.url(), &arguments).await.json();
    let nowhere = producer(NOWHERE, &[&arguments[..], &["-o", "json"]].concat()).await.json();
    for message in [here, nowhere] {
        assert_eq!(message["subject"], "cerebros.nas.run.requested");
        assert_eq!(message["headers"]["Nats-Msg-Id"], "r1:0:requested::");
        assert_eq!(message["data"]["run_id"], "r1");
        assert_eq!(message["data"]["budget"]["max_trials"], json!(10));
    }
    assert_eq!(stage.last_sequence().await, 0);
}

#[tokio::test]
async fn waiting_takes_the_run_s_exit_code_and_keeps_standard_output_pure() {
    let stage = Stage::set().await;
    for (flag, run, code) in [("--watch", "good", 0), ("--wait", "good-quiet", 0), ("--wait", "bad", 8)] {
        let arguments = ["submit", "--set", "dataset_id=digits", "--run-id", run, flag];
        let mut running = Running::start(&stage.url(), &arguments);
        assert_eq!(running.line().await.as_deref(), Some(run));
        let script = Script::new(&stage.broker, &RunId::parse(run).unwrap(), 1);
        script.started().await;
        script.trial(0, 0.5).await;
        if code == 0 {
            script.completed().await
        } else {
            script.failed("layer 3 is on fire").await
        };
        let ended = running.end().await;
        assert_eq!((ended.code, ended.stdout.as_str()), (code, ""), "{ended:?}");
        assert_eq!(ended.stderr.contains("layer 3 is on fire"), code == 8, "{ended:?}");
        assert_eq!(ended.stderr.contains("completed: 2 trials"), flag == "--watch", "{ended:?}");
    }
}

#[tokio::test]
async fn a_wrong_flag_is_a_usage_error() {
    for arguments in
        [&["submit", "--set", "nonsense"][..], &["submit", "--run-id", "a b"], &["list", "--state", "x"]]
    {
        let ended = producer(NOWHERE, arguments).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{ended:?}");
    }
}
