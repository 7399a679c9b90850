//! A dry run says what the replay then does.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use schemas::cloudevents::Headers;
use schemas::dead_letter::Place;
use schemas::event::RunRequested;
use schemas::lifecycle::RunState;
use schemas::subject::STREAM;
use schemas::{Failure, FailureClass, RunId, Stage};
use serde_json::{Value, json};
use service_kit::registry::record::{Claimant, claim};
use service_kit::registry::{Registry, RunRecord};
use service_kit::{clock, dead_letter};

use crate::room::{PATIENCE, Room, text};

const REQUESTED: &str = "cerebros.nas.run.requested";
const TRIAL: &str = "ml.run.trial";
const COMPLETED: &str = "cerebros.nas.run.completed";

/// Puts a run into the registry, as a worker does.
async fn registered(room: &Room, run: &str, state: RunState) {
    let id = RunId::parse(run).unwrap();
    let request = RunRequested::new("digits");
    let claimant = Claimant {
        run_id: &id,
        request: &request,
        sequence: 1,
        delivery: 1,
        is_retry_of_failed: false,
        is_owner_gone: false,
        requested_at: clock::now(),
        worker_id: "w",
    };
    let begun = claim(None, &claimant, clock::now()).0.unwrap();
    let registry = Registry::open(&room.broker).await.unwrap();
    registry.change(&id, |_| (Some(RunRecord { state, ..begun.clone() }), ())).await.unwrap();
}

/// A dead letter of a message that is valid, as a consumer publishes it that gave it up.
async fn given_up(room: &Room, sequence: u64, class: FailureClass, subject: &str, payload: &Value) {
    let place = Place {
        stream: STREAM.to_owned(),
        sequence,
        consumer: "bridge-worker".to_owned(),
        subject: subject.to_owned(),
        deliveries: 5,
        first_seen: clock::now(),
    };
    let failure = Failure::new(class, Stage::Execute, "it was given up");
    let payload = payload.to_string().into_bytes().into();
    dead_letter::publish(&room.broker, &place, &failure, &Headers::default(), payload).await.unwrap();
}

/// Entries of every kind, and what is expected of each: effect and outcome.
async fn with_entries_of_every_kind() -> (Room, Vec<(&'static str, &'static str)>) {
    let room = Room::new().await;
    let mut serving = room.serve();
    registered(&room, "over", RunState::Completed).await;
    registered(&room, "running", RunState::Running).await;
    room.publish(TRIAL, &[], br#"{"trial_id":"t","run_id":"running","status":"succeeded"}"#).await;
    let broken = [
        (REQUESTED, r#"{"dataset_id":1,"run_id":"fresh"}"#, ("new", "replayed")),
        (REQUESTED, r#"{"dataset_id":2,"run_id":"fresh"}"#, ("none", "replayed")),
        (REQUESTED, r#"{"dataset_id":3,"run_id":"over"}"#, ("none", "replayed")),
        (REQUESTED, r#"{"dataset_id":4,"run_id":"running"}"#, ("none", "replayed")),
        (REQUESTED, r#"{"dataset_id":5,"seed":"x"}"#, ("invalid", "invalid")),
        (TRIAL, r#"{"trial_id":"t","run_id":"running","status":"done"}"#, ("none", "replayed")),
        (TRIAL, r#"{"trial_id":"u","run_id":"running","status":"done"}"#, ("new", "replayed")),
        (TRIAL, r#"{"trial_id":"u","run_id":"running","status":"done"}"#, ("none", "replayed")),
    ];
    let mut expected = Vec::new();
    for (number, (subject, payload, wanted)) in broken.into_iter().enumerate() {
        room.publish(subject, &[], payload.as_bytes()).await;
        expected.push(wanted);
        room.entries(number + 1).await;
    }
    serving.child.kill().await.unwrap();
    let given_up_of = [
        (FailureClass::WorkerLost, REQUESTED, json!({"dataset_id": "digits", "run_id": "deadly"})),
        (FailureClass::Oom, REQUESTED, json!({"dataset_id": "digits", "run_id": "deadly"})),
        (
            FailureClass::SinkRefused,
            COMPLETED,
            json!({"run_id": "running", "attempt": 1, "status": "succeeded"}),
        ),
    ];
    for (sequence, (class, subject, payload)) in (100..).zip(given_up_of) {
        given_up(&room, sequence, class, subject, &payload).await;
        expected.push(("unsafe", "skipped"));
    }
    (room, expected)
}

/// Repairs a data set that is a number, a status that is none; everything else stays.
const REPAIR: &str = r#"if (.dataset_id | type) == "number" then .dataset_id = "digits" else . end
    | if .status == "done" then .status = "succeeded" else . end"#;

fn column(rows: &Value, field: &str) -> Vec<String> {
    rows.as_array().unwrap().iter().map(|row| row[field].as_str().unwrap_or("-").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dry_run_equals_the_outcome() {
    let (room, expected) = with_entries_of_every_kind().await;
    let predicted = room.json(&["replay", "--all", "--dry-run", "--edit", REPAIR]).await;
    let effects: Vec<&str> = expected.iter().map(|(effect, _)| *effect).collect();
    assert_eq!(column(&predicted, "effect"), effects, "{predicted:#}");
    let done = room.json_with_findings(&["replay", "--all", "--edit", REPAIR]).await;
    let outcomes: Vec<&str> = expected.iter().map(|(_, outcome)| *outcome).collect();
    assert_eq!(column(&done, "outcome"), outcomes, "{done:#}");
    let foreseen: Vec<String> = column(&predicted, "outcome")
        .into_iter()
        .map(|outcome| outcome.replace("would_replay", "replayed"))
        .collect();
    assert_eq!(column(&done, "outcome"), foreseen);
    let reasons = |rows: &Value| -> BTreeMap<String, Value> {
        let skipped = rows.as_array().unwrap().iter().filter(|row| row["outcome"] != "would_replay");
        let skipped = skipped.filter(|row| row["outcome"] != "replayed");
        skipped.map(|row| (text(row, "id").to_owned(), row["reason"].clone())).collect()
    };
    assert_eq!(reasons(&done), reasons(&predicted), "in the same words");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unsafe_is_replayed_when_it_is_asked_for() {
    let (room, _) = with_entries_of_every_kind().await;
    let dry = room.json(&["replay", "--class", "worker_lost", "--unsafe", "--dry-run"]).await;
    assert_eq!((text(&dry[0], "outcome"), text(&dry[0], "effect")), ("would_replay", "unsafe"));
    let bulk = room.json(&["replay", "--class", "worker_lost"]).await;
    assert!(text(&bulk[0], "reason").contains("--unsafe"), "{bulk}");
    let bulk = room.json(&["replay", "--class", "worker_lost", "--unsafe"]).await;
    assert_eq!(text(&bulk[0], "outcome"), "replayed");
    let id = text(&room.json(&["list", "--class", "oom"]).await[0], "id").to_owned();
    assert_eq!(text(&room.json(&["replay", &id]).await[0], "outcome"), "replayed", "who names it has looked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_many_trials_reads_the_stream_once() {
    let room = Room::new().await;
    let serving = room.serve();
    for number in 0..250 {
        let payload = format!(r#"{{"trial_id":"t{number}","run_id":"r","status":"done"}}"#);
        room.publish(TRIAL, &[], payload.as_bytes()).await;
    }
    room.entries(250).await;
    // Nobody has announced its run, and it is not to become the next of them.
    serving.kill().await;
    room.publish(TRIAL, &[], br#"{"trial_id":"t249","run_id":"r","status":"succeeded"}"#).await;
    let created = format!("$JS.EVENT.ADVISORY.CONSUMER.CREATED.{STREAM}.>");
    let mut readings = testkit::subscribe(&room.stranger, created).await;
    let rows = room.json(&["replay", "--all", "--dry-run", "--edit", ".status = \"succeeded\""]).await;
    assert_eq!(column(&rows, "effect").iter().filter(|effect| *effect == "new").count(), 249);
    assert_eq!(text(&rows[249], "effect"), "none");
    // The advisories come in order: what was created before our own consumer is counted.
    room.consumer(async_nats::jetstream::consumer::pull::Config {
        durable_name: Some("mark".to_owned()),
        ..Default::default()
    })
    .await;
    let mut count = 0;
    loop {
        let advisory = tokio::time::timeout(PATIENCE, readings.next()).await.unwrap().unwrap();
        if advisory.subject.ends_with(".mark") {
            break;
        }
        count += 1;
    }
    assert_eq!(count, 1, "readings of the stream");
}
