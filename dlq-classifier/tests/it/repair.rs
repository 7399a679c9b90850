//! What people do with entries: repair, replay, discard.

use schemas::cloudevents::Headers;
use schemas::codec;
use schemas::dead_letter::{Place, REPLAY_OF, REPLAYS};
use schemas::event::Event;
use schemas::subject::{DLQ_STREAM, STREAM};
use schemas::{Failure, FailureClass, Record, Stage};
use serde_json::{Value, json};
use service_kit::history::{self, Kept};
use service_kit::{clock, dead_letter};

use crate::room::{Room, text};

const REQUESTED: &str = "cerebros.nas.run.requested";

/// A room with one entry: a request with a wrong type.
async fn with_a_broken_request() -> (Room, String, crate::room::Serving) {
    let room = Room::new().await;
    let serving = room.serve();
    let payload = br#"{"dataset_id":"digits","budget":{"max_trials":"six"}}"#;
    room.publish(REQUESTED, &[("Nats-Msg-Id", "mine"), ("X-Mine", "kept")], payload).await;
    let id = text(&room.entries(1).await[0], "id").to_owned();
    (room, id, serving)
}

async fn on_the_stream(room: &Room, sequence: &Value) -> Kept {
    history::at(&room.broker, STREAM, sequence.as_u64().unwrap()).await.unwrap().unwrap()
}

fn header<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers.get(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_repairs_a_request_and_the_stream_takes_it_under_the_right_ids() {
    let (room, id, _serving) = with_a_broken_request().await;
    let result =
        &room.json(&["replay", &id, "--edit", ".budget.max_trials = 6", "--reason", "typo"]).await[0];
    assert_eq!((text(result, "id"), text(result, "outcome")), (id.as_str(), "replayed"));
    let message = on_the_stream(&room, &result["sequence"]).await;
    assert_eq!(message.subject, REQUESTED);
    assert_eq!(header(&message.headers, "Nats-Msg-Id"), Some("mine/r1"));
    assert_eq!(header(&message.headers, REPLAYS), Some("1"));
    assert_eq!(header(&message.headers, REPLAY_OF), Some(id.as_str()));
    assert_eq!(header(&message.headers, "X-Mine"), Some("kept"));
    let decoded = codec::decode(&message.subject, &message.headers, &message.payload).unwrap();
    let Event::RunRequested(request) = decoded.event else { panic!("it is a request") };
    assert_eq!((request.dataset_id.as_str(), request.budget.max_trials), ("digits", 6));

    // The entry stays, marked; what was done is on record; the repaired message does not die.
    room.settled().await;
    let entry = &room.entries(1).await[0];
    assert_eq!(text(entry, "state"), "replayed");
    let shown = room.json(&["show", &id]).await;
    let mark = &shown["operations"][0];
    assert_eq!((text(mark, "operation"), text(mark, "reason")), ("replayed", "typo"));
    assert!(text(mark, "actor").starts_with("ann@"));
    assert_eq!(
        (mark["replay"]["edited"].as_bool(), &mark["replay"]["sequence"]),
        (Some(true), &result["sequence"])
    );
    let raw = room.dlq(&["show", &id, "--raw"]).await.stdout;
    assert_eq!(raw, br#"{"dataset_id":"digits","budget":{"max_trials":"six"}}"#, "the original is untouched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_repairs_as_well() {
    let (room, id, _serving) = with_a_broken_request().await;
    let file = room.scratch.write("patch.json", r#"{"budget": {"max_trials": 7}}"#);
    let result = &room.json(&["replay", &id, "--patch", file.to_str().unwrap()]).await[0];
    let message = on_the_stream(&room, &result["sequence"]).await;
    let mut value: Value = serde_json::from_slice(&message.payload).unwrap();
    let run = value.as_object_mut().unwrap().remove("run_id");
    assert!(run.is_some(), "a replay names its run");
    assert_eq!(value, json!({"dataset_id": "digits", "budget": {"max_trials": 7}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_still_invalid_is_not_published() {
    let (room, id, _serving) = with_a_broken_request().await;
    let before = room.state(STREAM).await.last_sequence;
    for arguments in [&["replay", &id][..], &["replay", &id, "--edit", ".budget = 3"]] {
        let output = room.dlq(arguments).await;
        assert_eq!(output.status.code(), Some(5), "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("budget") && said.contains("still invalid"), "{said}");
    }
    let bulk = room.json_with_findings(&["replay", "--class", "validation"]).await;
    assert_eq!(text(&bulk[0], "outcome"), "invalid");
    let usage = room.dlq(&["replay", &id, "--edit", ".budget |"]).await;
    assert_eq!(usage.status.code(), Some(2));
    assert_eq!(room.state(STREAM).await.last_sequence, before);
    assert_eq!(room.kept().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_replay_has_no_effect() {
    let (room, id, _serving) = with_a_broken_request().await;
    let repair = ["--edit", ".budget.max_trials = 6"];
    room.json(&["replay", &id, repair[0], repair[1]]).await;
    let before = room.state(STREAM).await.last_sequence;
    let again = room.dlq(&["replay", &id, repair[0], repair[1]]).await;
    assert_eq!(again.status.code(), Some(5));
    assert!(String::from_utf8(again.stderr).unwrap().contains("already replayed"));
    let bulk = room.json(&["replay", "--all", repair[0], repair[1]]).await;
    assert_eq!((text(&bulk[0], "outcome"), text(&bulk[0], "reason")), ("skipped", "already replayed"));
    assert_eq!(room.state(STREAM).await.last_sequence, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_whose_record_was_lost_is_a_duplicate_to_the_broker() {
    let (room, id, _serving) = with_a_broken_request().await;
    let repair = ["replay", &id, "--edit", ".budget.max_trials = 6"];
    let first = room.json(&repair).await;
    let before = room.state(STREAM).await.last_sequence;
    // The command was killed after the confirmation: the record is not there.
    let kept = room.broker.jetstream.get_stream_no_info(DLQ_STREAM).await.unwrap();
    kept.delete_message(2).await.unwrap();
    let again = room.json(&repair).await;
    assert_eq!(again[0]["sequence"], first[0]["sequence"]);
    assert_eq!(room.state(STREAM).await.last_sequence, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_publishes_nothing_and_predicts() {
    let (room, id, _serving) = with_a_broken_request().await;
    room.announce("r").await;
    room.publish("ml.run.trial", &[], br#"{"trial_id":"t","run_id":"r","status":"succeeded"}"#).await;
    room.publish("ml.run.trial", &[], br#"{"trial_id":"t","run_id":"r","status":"done"}"#).await;
    room.publish("ml.run.trial", &[], br#"{"trial_id":"u","run_id":"r","status":"done"}"#).await;
    room.entries(3).await;
    let before = (room.state(STREAM).await.last_sequence, room.state(DLQ_STREAM).await.last_sequence);
    let still = &room.json(&["replay", &id, "--dry-run"]).await[0];
    assert_eq!(text(still, "outcome"), "invalid");
    let new = &room.json(&["replay", &id, "--dry-run", "--edit", ".budget.max_trials = 6"]).await[0];
    assert_eq!((text(new, "outcome"), text(new, "effect")), ("would_replay", "new"));
    let trials = room
        .json(&["replay", "--subject", "ml.run.trial", "--dry-run", "--edit", ".status = \"succeeded\""])
        .await;
    let effects: Vec<&str> = trials.as_array().unwrap().iter().map(|result| text(result, "effect")).collect();
    assert_eq!(effects, ["none", "new"], "{trials:#}");
    assert_eq!((room.state(STREAM).await.last_sequence, room.state(DLQ_STREAM).await.last_sequence), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_dies_after_each_replay_is_quarantined() {
    let room = Room::new().await;
    let _serving = room.serve();
    room.publish(REQUESTED, &[("Nats-Msg-Id", "mine")], b"{").await;
    // Whoever replays elsewhere goes around the decoder; the stream's own gate does not.
    let mut died = room.entries(1).await[0].clone();
    for round in 1..=3_u64 {
        let message = room.json(&["show", text(&died, "id")]).await;
        assert_eq!(message["replays"].as_u64(), Some(round - 1));
        let replays = round.to_string();
        room.publish(REQUESTED, &[(REPLAYS, &replays), (REPLAY_OF, text(&died, "id"))], b"{").await;
        let count = usize::try_from(round).unwrap() + 1;
        died = room.entries(count).await[count - 1].clone();
    }
    assert_eq!((text(&died, "state"), text(&died, "class")), ("quarantined", "replay_loop"));
    let bulk = room.json(&["replay", "--state", "quarantined", "--edit", "{dataset_id: \"digits\"}"]).await;
    assert_eq!(text(&bulk[0], "outcome"), "skipped");
    let named = room.json(&["replay", text(&died, "id"), "--edit", "{dataset_id: \"digits\"}"]).await;
    assert_eq!(text(&named[0], "outcome"), "replayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_may_go_elsewhere_as_it_is() {
    let (room, id, _serving) = with_a_broken_request().await;
    let config = async_nats::jetstream::stream::Config {
        name: "ELSEWHERE".to_owned(),
        subjects: vec!["elsewhere.>".to_owned()],
        ..Default::default()
    };
    room.broker.jetstream.create_stream(config).await.unwrap();
    let result = &room.json(&["replay", &id, "--to", "elsewhere.requests"]).await[0];
    let message =
        history::at(&room.broker, "ELSEWHERE", result["sequence"].as_u64().unwrap()).await.unwrap().unwrap();
    assert_eq!(message.payload.as_ref(), br#"{"dataset_id":"digits","budget":{"max_trials":"six"}}"#);
    assert_eq!(header(&message.headers, REPLAY_OF), Some(id.as_str()));
    assert_eq!(room.dlq(&["replay", &id, "--to", "cerebros.dlq.x"]).await.status.code(), Some(2));
    assert_eq!(room.dlq(&["replay", &id, "--to", "nobody.listens"]).await.status.code(), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_payload_any_more_is_refused_with_the_remedy_and_the_others_go_on() {
    let (room, repairable, _serving) = with_a_broken_request().await;
    let place = Place {
        stream: STREAM.to_owned(),
        sequence: 7,
        consumer: "doomed".to_owned(),
        subject: REQUESTED.to_owned(),
        deliveries: 1,
        first_seen: clock::now(),
    };
    let failure = Failure::new(FailureClass::Unknown, Stage::Execute, "it was terminated");
    dead_letter::publish_gone(&room.broker, &place, &failure).await.unwrap();
    let gone = text(&room.entries(2).await[1], "id").to_owned();
    let config = async_nats::jetstream::stream::Config {
        name: "ELSEWHERE".to_owned(),
        subjects: vec!["elsewhere.>".to_owned()],
        ..Default::default()
    };
    room.broker.jetstream.create_stream(config).await.unwrap();
    let invented = "{dataset_id: \"digits\"}";
    for flags in [&[][..], &["--edit", invented], &["--to", "elsewhere.requests"]] {
        let dry = room.json(&[&["replay", &gone, "--dry-run"], flags].concat()).await;
        assert_eq!((text(&dry[0], "outcome"), text(&dry[0], "effect")), ("invalid", "invalid"), "{dry}");
        assert!(text(&dry[0], "reason").contains("gone from the stream"), "{dry}");
        let refused = room.dlq(&[&["replay", &gone], flags].concat()).await;
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(5), "{said}");
        assert!(said.contains("gone from the stream") && said.contains("dlq-classifier discard"), "{said}");
        assert!(!said.contains("repair it"), "{said}");
    }
    assert_eq!(room.state("ELSEWHERE").await.messages, 0);
    let bulk = room.json_with_findings(&["replay", "--all", "--edit", invented]).await;
    assert_eq!((text(&bulk[0], "outcome"), text(&bulk[0], "id")), ("replayed", repairable.as_str()));
    assert_eq!((text(&bulk[1], "outcome"), text(&bulk[1], "id")), ("invalid", gone.as_str()));
    assert!(text(&bulk[1], "reason").contains("gone from the stream"), "{bulk}");
    assert_eq!(text(&room.json(&["discard", &gone]).await[0], "outcome"), "discarded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discard_marks_and_keeps() {
    let (room, id, _serving) = with_a_broken_request().await;
    let dry = room.json(&["discard", &id, "--dry-run"]).await;
    assert_eq!(text(&dry[0], "outcome"), "would_discard");
    assert_eq!(room.kept().await, 1);
    let result = room.json(&["discard", &id, "--reason", "a test"]).await;
    assert_eq!(text(&result[0], "outcome"), "discarded");
    assert_eq!(text(&room.entries(1).await[0], "state"), "discarded");
    assert_eq!(text(&room.json(&["show", &id]).await["operations"][0], "reason"), "a test");
    assert_eq!(room.json(&["list", "--state", "open"]).await, json!([]));
    let bulk = room.json(&["replay", "--all", "--edit", ".budget = {}"]).await;
    assert_eq!(text(&bulk[0], "outcome"), "skipped");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_avro_entry_is_written_in_today_s_schema() {
    let room = Room::new().await;
    let _serving = room.serve();
    let old = include_bytes!("../../../schemas/golden/trial_reported.v1/full.avro");
    let record = Record::TrialReported;
    let headers = [
        ("Content-Type", "application/avro"),
        ("ce-dataschema", record.versions()[0].ce_dataschema()),
        ("Nats-Msg-Id", "old"),
    ];
    let headers = Headers(headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec());
    // A consumer that could not handle it gives it up, as a sink does whose MLflow refuses a trial.
    let place = Place {
        stream: STREAM.to_owned(),
        sequence: 1,
        consumer: "mlflow-sink".to_owned(),
        subject: record.subject().to_owned(),
        deliveries: 1,
        first_seen: clock::now(),
    };
    let failure = Failure::new(FailureClass::SinkRefused, Stage::Sink, "MLflow does not take it");
    dead_letter::publish(&room.broker, &place, &failure, &headers, old.to_vec().into()).await.unwrap();
    let id = text(&room.entries(1).await[0], "id").to_owned();
    let result = &room.json(&["replay", &id]).await[0];
    assert_eq!(text(result, "outcome"), "replayed");
    let message = on_the_stream(&room, &result["sequence"]).await;
    assert_eq!(message.payload[2..10], record.fingerprint().0, "today's schema, the same encoding");
    assert_eq!(header(&message.headers, "ce-dataschema"), Some(record.ce_dataschema()));
    let before = codec::decode(record.subject(), &headers, old).unwrap().event;
    assert_eq!(message.decode().unwrap().event, before);
    let shown = room.json(&["show", &id]).await;
    assert_eq!(shown["operations"][0]["replay"]["upcast"], true);
    assert_eq!(room.dlq(&["show", &id, "--raw"]).await.stdout, old, "the original is untouched");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_after_every_replay_is_a_loop_and_each_link_of_it_is_told() {
    let room = Room::new().await;
    let _serving = room.serve();
    let payload = br#"{"trial_id":"t","run_id":"r","status":"succeeded"}"#;
    room.publish("ml.run.trial", &[("Nats-Msg-Id", "mine")], payload).await;
    let mut sequence = 1;
    for round in 0..=3_usize {
        // A sink gives it up, again and again.
        let kept = on_the_stream(&room, &json!(sequence)).await;
        let place = Place {
            stream: STREAM.to_owned(),
            sequence,
            consumer: "mlflow-sink".to_owned(),
            subject: kept.subject.clone(),
            deliveries: 1,
            first_seen: kept.time,
        };
        let failure = Failure::new(FailureClass::SinkRefused, Stage::Sink, "MLflow does not take it");
        dead_letter::publish(&room.broker, &place, &failure, &kept.headers, kept.payload).await.unwrap();
        let died = room.entries(round + 1).await[round].clone();
        let id = text(&died, "id");
        if round == 3 {
            assert_eq!((text(&died, "state"), text(&died, "class")), ("quarantined", "replay_loop"));
            let bulk = room.json(&["replay", "--state", "quarantined"]).await;
            assert_eq!(text(&bulk[0], "outcome"), "skipped");
            break;
        }
        let edit = format!(".rank = {round}");
        let result = &room.json(&["replay", "--state", "open", "--edit", &edit]).await[0];
        sequence = result["sequence"].as_u64().unwrap();
        // The entry names the message, the message names the entry, and the record says how it was changed.
        let message = on_the_stream(&room, &result["sequence"]).await;
        assert_eq!(header(&message.headers, REPLAY_OF), Some(id));
        assert_eq!(header(&message.headers, "Nats-Msg-Id"), Some(format!("mine/r{}", round + 1).as_str()));
        let shown = room.json(&["show", id]).await;
        assert_eq!(shown["operations"][0]["replay"]["sequence"].as_u64(), Some(sequence));
        let filter = "cerebros.dlq.operation.replayed";
        let stream = room.broker.jetstream.get_stream_no_info(DLQ_STREAM).await.unwrap();
        let record = stream.get_last_raw_message_by_subject(filter).await.unwrap();
        let record: Value = serde_json::from_slice(&record.payload).unwrap();
        assert_eq!((text(&record, "edit"), text(&record, "filter")), (edit.as_str(), "--state open"));
        assert_eq!(record["replays"][0]["edited"], true);
        assert!(room.json(&["tasks", "show", text(&record, "task")]).await.is_object());
    }
}
