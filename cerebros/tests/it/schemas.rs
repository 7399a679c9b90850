//! `schemas`: what a user gets from it, an impatient one and a hostile one too.

mod check;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use schemas::Record;
use schemas::cloudevents::Headers;
use schemas::codec::MAX_EVENT_BYTES;
use serde_json::{Value, json};
use service_kit::broker::Broker;
use service_kit::config::BrokerTarget;
use service_kit::topology::{self, SCHEMAS_BUCKET};
use testkit::{Nats, Scratch};

use crate::program::{output, program, stderr, stdout};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// `cerebros schemas` in an empty folder, with the broker at an address where nobody is.
fn command(scratch: &Scratch, arguments: &[&str]) -> Command {
    let mut command = program(scratch.path(), &[&["schemas"], arguments].concat());
    command.env("NATS_URL", "nats://127.0.0.1:1");
    command
}

async fn run(arguments: &[&str]) -> Output {
    output(command(&Scratch::new(), arguments)).await
}

/// With something on standard input.
async fn run_with(arguments: &[&str], input: &[u8]) -> Output {
    let scratch = Scratch::new();
    let file = std::fs::File::open(scratch.write("input", input)).unwrap();
    let mut command = command(&scratch, arguments);
    command.stdin(Stdio::from(file));
    output(command).await
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The error a command ended with, as JSON.
fn error_of(output: &Output) -> Value {
    assert_eq!(stdout(output), "", "nothing but data on standard output");
    let last = stderr(output).lines().last().unwrap().to_owned();
    serde_json::from_str::<Value>(&last).unwrap()["error"].take()
}

fn golden(place: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../schemas/golden/{place}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[tokio::test]
async fn the_list_has_every_version_and_says_which_is_written() {
    let listed = json_of(&run(&["list", "-o", "json"]).await);
    let trials: Vec<&Value> =
        listed.as_array().unwrap().iter().filter(|line| line["record"] == "TrialReported").collect();
    assert_eq!(trials.len(), 2);
    assert_eq!((&trials[0]["latest"], &trials[1]["latest"]), (&json!(false), &json!(true)));
    assert_eq!(trials[1]["subject"], "ml.run.trial");
    assert_eq!(trials[1]["ce_type"], "ml.run.trial.v1");
    assert_eq!(trials[1]["ce_dataschema"], Record::TrialReported.ce_dataschema());
    assert!(trials[0]["ce_dataschema"].as_str().unwrap().starts_with("cerebros:TrialReported:1:"));
    let table = stdout(&run(&["list"]).await);
    assert_eq!(table.lines().count(), listed.as_array().unwrap().len() + 1);
    let lines = stdout(&run(&["list", "-o", "ndjson"]).await);
    assert_eq!(lines.lines().count(), listed.as_array().unwrap().len());
}

#[tokio::test]
async fn a_record_is_shown_by_any_of_its_names_and_as_json_byte_for_byte() {
    for name in ["MetricReported", "metric_reported", "ml.run.metric"] {
        let shown = stdout(&run(&["show", name]).await);
        assert!(shown.contains("recorded_at  timestamp     required  When it was taken, UTC."), "{shown}");
    }
    let schema = run(&["show", "TrialReported:1", "-o", "json"]).await;
    assert_eq!(stdout(&schema), Record::TrialReported.versions()[0].text);
    let line = stdout(&run(&["show", "TrialReported", "-o", "ndjson"]).await);
    assert_eq!(line.lines().count(), 1);
}

#[tokio::test]
async fn a_slip_in_a_name_is_answered_with_the_name_that_was_meant() {
    let slip = run(&["show", "TrailReported", "-o", "json"]).await;
    assert_eq!(slip.status.code(), Some(3));
    let help = error_of(&slip)["help"].as_str().unwrap().to_owned();
    assert!(help.contains("did you mean TrialReported?") && help.contains("RunRequested"), "{help}");
    let version = run(&["show", "TrialReported:9"]).await;
    assert_eq!(version.status.code(), Some(3));
    assert!(stderr(&version).contains("its versions are 1, 2"));
}

#[tokio::test]
async fn a_message_of_either_encoding_is_read_from_a_file_or_a_pipe() {
    let scratch = Scratch::new();
    let file = scratch.write("message", golden("trial_reported.v1/full.avro"));
    let old = json_of(&run(&["decode", file.to_str().unwrap(), "-o", "json"]).await);
    assert_eq!((&old["record"], &old["version"]), (&json!("TrialReported"), &json!(1)));
    assert_eq!(old["fingerprint"], Record::TrialReported.versions()[0].fingerprint.to_string());
    assert_eq!(old["data"]["artifact_refs"], json!([]), "as the latest version would say it");
    let from_json = &["decode", "--subject", "ml.run.trial", "-o", "json"];
    let json = json_of(&run_with(from_json, &golden("trial_reported.v1/full.json")).await);
    assert_eq!((&json["encoding"], &json["data"]), (&json!("json"), &old["data"]));
    let lines = run_with(&["decode", "-", "-o", "ndjson"], &golden("run_started.v1/full.avro")).await;
    assert_eq!(stdout(&lines).lines().count(), 1);
}

#[tokio::test]
async fn for_people_the_event_alone_is_printed_and_the_rest_said() {
    let event = br#"{"dataset_id": "iris", "datasett": 1}"#;
    let shown = run_with(&["decode", "--record", "RunRequested"], event).await;
    let data: Value = json_of(&shown);
    assert_eq!((&data["dataset_id"], &data["objective"]), (&json!("iris"), &json!("accuracy")));
    assert!(stderr(&shown).contains("RunRequested v2, json"), "{}", stderr(&shown));
    assert!(stderr(&shown).contains("not known and ignored: datasett"));
}

#[tokio::test]
async fn a_cloud_event_in_structured_mode_says_itself_what_it_is() {
    let event = json!({
        "specversion": "1.0", "id": "1", "source": "/me", "type": "cerebros.nas.run.requested.v1",
        "data": {"dataset_id": "iris"},
    });
    let read = json_of(&run_with(&["decode", "-o", "json"], event.to_string().as_bytes()).await);
    assert_eq!((&read["record"], &read["data"]["dataset_id"]), (&json!("RunRequested"), &json!("iris")));
    let other = event.to_string().replace("cerebros.nas.run.requested", "com.example.thing");
    let other = run_with(&["decode"], other.as_bytes()).await;
    assert_eq!(other.status.code(), Some(5));
    assert!(stderr(&other).contains("com.example.thing"));
}

#[tokio::test]
async fn plain_json_is_not_guessed() {
    let refused = run_with(&["decode", "-o", "json"], br#"{"dataset_id": "iris"}"#).await;
    assert_eq!(refused.status.code(), Some(2));
    assert!(error_of(&refused)["help"].as_str().unwrap().contains("--subject"));
}

#[tokio::test]
async fn what_cannot_be_read_is_said_as_a_dead_letter_would_say_it() {
    let refused = run_with(&["decode", "--record", "RunStarted", "-o", "json"], br#"{"run_id": 3}"#).await;
    assert_eq!(refused.status.code(), Some(5));
    let error = error_of(&refused);
    assert!(error["what"].as_str().unwrap().ends_with("class validation, stage decode"), "{error}");
    assert!(error["because"].as_str().unwrap().contains("run_id"));
    let truncated = &golden("run_started.v1/full.avro")[..20];
    let refused = run_with(&["decode"], truncated).await;
    assert_eq!(refused.status.code(), Some(5));
    let misnamed = run_with(&["decode", "--record", "RunFailed"], &golden("run_started.v1/full.avro")).await;
    assert_eq!(misnamed.status.code(), Some(5));
}

#[tokio::test]
async fn garbage_of_any_size_is_refused_without_being_read_whole() {
    for garbage in
        [b"".as_slice(), b"\xc3\x01\x00", b"\x00\x00\x00\x00\x01abc", b"Obj\x01x", b"\xff\xfe{", b"{"]
    {
        let refused = run_with(&["decode", "--registry"], garbage).await;
        assert_eq!(refused.status.code(), Some(5), "{garbage:?}: {}", stderr(&refused));
    }
    let deep = "[".repeat(MAX_EVENT_BYTES);
    assert_eq!(run_with(&["decode"], deep.as_bytes()).await.status.code(), Some(5));
    let endless = output(command(&Scratch::new(), &["decode", "/dev/zero"])).await;
    assert_eq!(endless.status.code(), Some(5));
    assert!(stderr(&endless).contains("message-too-large"));
    assert_eq!(run(&["decode", "no-such-file"]).await.status.code(), Some(3));
    assert_eq!(run(&["decode", "."]).await.status.code(), Some(5));
}

#[tokio::test]
async fn a_reader_that_leaves_ends_it_quietly() {
    let scratch = Scratch::new();
    let mut command = command(&scratch, &["export", "--format", "asyncapi"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    assert!(ended.status.success(), "{}", stderr(&ended));
    assert_eq!(stderr(&ended), "");
}

#[tokio::test]
async fn a_whole_document_is_about_all_records() {
    let refused = run(&["export", "--format", "markdown", "--record", "RunFailed"]).await;
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(run(&["export"]).await.status.code(), Some(2));
}

/// A schema this build was not made with: the latest version of a record, and a field more.
fn newer_schema(record: Record) -> String {
    let mut schema: Value = serde_json::from_str(record.latest().text).unwrap();
    let field = json!({"name": "mood", "type": "string", "doc": "How it felt.", "default": "calm"});
    schema["fields"].as_array_mut().unwrap().push(field);
    schema.to_string()
}

async fn connected(nats: &Nats) -> Broker {
    let broker = Broker::connect(&BrokerTarget::at(&nats.url()).unwrap(), "test", PATIENCE).await.unwrap();
    topology::ensure(&broker).await.unwrap();
    broker
}

#[tokio::test]
async fn a_message_of_a_newer_writer_is_read_with_the_schema_in_the_registry() {
    let nats = Nats::start().await;
    let broker = connected(&nats).await;
    let text = newer_schema(Record::MetricReported);
    let fingerprint = schemas::shape::parse(&text).unwrap().fingerprint;
    let mut message = golden("metric_reported.v1/full.avro");
    message.splice(2..10, fingerprint.0);
    message.push(8);
    message.extend(b"glad");

    let unknown = run_with(&["decode", "-o", "json"], &message).await;
    assert_eq!(unknown.status.code(), Some(5));
    assert!(error_of(&unknown)["help"].as_str().unwrap().contains("--registry"));
    let at_broker = ["decode", "--registry", "--nats-url", &nats.url(), "-o", "json"];
    assert_eq!(run_with(&at_broker, &message).await.status.code(), Some(5), "not registered yet");

    let bucket = broker.jetstream.get_key_value(SCHEMAS_BUCKET).await.unwrap();
    bucket.put(fingerprint.to_string(), text.into()).await.unwrap();
    let read = json_of(&run_with(&at_broker, &message).await);
    assert_eq!((&read["record"], &read["version"]), (&json!("MetricReported"), &Value::Null));
    let expected =
        schemas::codec::decode("ml.run.metric", &Headers::default(), &golden("metric_reported.v1/full.json"));
    assert_eq!(read["data"], expected.unwrap().event.to_json());

    let print = fingerprint.to_string();
    let ours = Record::MetricReported.fingerprint().to_string();
    bucket.put("MetricReported", json!({"1": ours, "2": print}).to_string().into()).await.unwrap();
    bucket.purge(Record::RunFailed.fingerprint().to_string()).await.unwrap();
    assert_eq!(json_of(&run_with(&at_broker, &message).await)["version"], 2);
    let listed = json_of(&run(&["list", "--registry", "--nats-url", &nats.url(), "-o", "json"]).await);
    let state = |record: &str, version: u32| {
        let lines = listed.as_array().unwrap().iter();
        let mut found = lines.filter(|line| line["record"] == record && line["version"] == version);
        found.next().map(|line| (line["state"].clone(), line["readable"].clone())).unwrap()
    };
    assert_eq!(state("MetricReported", 1), (json!("known"), json!(true)));
    assert_eq!(state("MetricReported", 2), (json!("unknown"), json!(true)));
    assert_eq!(state("RunFailed", 1).0, json!("missing"));
}

#[tokio::test]
async fn a_registry_that_holds_nonsense_is_not_believed() {
    let nats = Nats::start().await;
    let broker = connected(&nats).await;
    let bucket = broker.jetstream.get_key_value(SCHEMAS_BUCKET).await.unwrap();
    let mut message = golden("run_started.v1/full.avro");
    message.splice(2..10, [0xAA; 8]);
    let url = nats.url();
    let nonsense = [
        "{".to_owned(),
        "[".repeat(100_000),
        newer_schema(Record::RunStarted),
        r#"{"type": "record", "name": "a.b.C", "fields": []}"#.to_owned(),
    ];
    for text in nonsense {
        bucket.put("aaaaaaaaaaaaaaaa", text.into()).await.unwrap();
        for flags in [&["--registry"][..], &["--registry", "--record", "RunStarted"]] {
            let arguments = [&["decode", "--nats-url", &url], flags].concat();
            let refused = run_with(&arguments, &message).await;
            assert_eq!(refused.status.code(), Some(5), "{}", stderr(&refused));
        }
    }
    bucket.put("RunStarted", "nonsense".into()).await.unwrap();
    let listed = json_of(&run(&["list", "--registry", "--nats-url", &url, "-o", "json"]).await);
    let lines = listed.as_array().unwrap();
    assert!(lines.iter().any(|line| line["record"] == "RunStarted" && line["state"] == "missing"));
    let text = lines.iter().find(|line| line["fingerprint"] == "aaaaaaaaaaaaaaaa").unwrap();
    assert_eq!((&text["state"], &text["readable"]), (&json!("unknown"), &json!(false)));
}

#[tokio::test]
async fn a_registry_that_does_not_answer_is_said() {
    assert_eq!(run(&["list", "--registry"]).await.status.code(), Some(6));
    let nats = Nats::start().await;
    let empty = run(&["list", "--registry", "--nats-url", &nats.url()]).await;
    assert_eq!(empty.status.code(), Some(6));
    assert!(stderr(&empty).contains("the first service that starts creates it"), "{}", stderr(&empty));
}

#[tokio::test]
async fn a_pipe_that_stays_open_is_read_no_further_than_the_limit() {
    let scratch = Scratch::new();
    let mut command = command(&scratch, &["decode"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // More than is ever read: the program ends while the pipe is still open.
    let written = tokio::task::spawn_blocking(move || {
        let ended = input.write_all(&vec![b' '; 2 * MAX_EVENT_BYTES]);
        (child.wait_with_output().unwrap(), ended)
    });
    let (ended, _) = written.await.unwrap();
    assert_eq!(ended.status.code(), Some(5));
}
