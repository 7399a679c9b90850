//! A request that names no run is for the run its readers derive from its place; so is its replay, which has another place.

use schemas::cloudevents::Headers;
use schemas::dead_letter::Place;
use schemas::event::RunRequested;
use schemas::lifecycle::RunState;
use schemas::subject::STREAM;
use schemas::{Encoding, Event, Failure, FailureClass, RunId, Stage, codec};
use serde_json::{Value, json};
use service_kit::registry::record::{Claimant, claim};
use service_kit::registry::{Registry, RunRecord};
use service_kit::{clock, dead_letter, history};

use crate::room::{Room, text};

const REQUESTED: &str = "cerebros.nas.run.requested";

/// A request without a run that some worker had begun and was lost with; the id of its entry, and its run.
async fn lost_request(room: &Room, payload: &[u8], headers: &[(&str, &str)]) -> (String, RunId) {
    room.publish(REQUESTED, headers, payload).await;
    let sequence = room.state(STREAM).await.last_sequence;
    let kept = history::at(&room.broker, STREAM, sequence).await.unwrap().unwrap();
    let run = RunId::derive(STREAM, sequence, u64::try_from(kept.time.millis()).unwrap());
    let request = RunRequested::new("digits");
    let claimant = Claimant {
        run_id: &run,
        request: &request,
        sequence,
        delivery: 1,
        is_retry_of_failed: false,
        is_owner_gone: false,
        requested_at: kept.time,
        worker_id: "lost",
    };
    let begun = claim(None, &claimant, clock::now()).0.unwrap();
    let registry = Registry::open(&room.broker).await.unwrap();
    registry.change(&run, |_| (Some(begun.clone()), ())).await.unwrap();
    let place = Place {
        stream: STREAM.to_owned(),
        sequence,
        consumer: "bridge-worker".to_owned(),
        subject: REQUESTED.to_owned(),
        deliveries: 5,
        first_seen: kept.time,
    };
    let failure = Failure::new(FailureClass::WorkerLost, Stage::Execute, "its worker was lost");
    dead_letter::publish(&room.broker, &place, &failure, &kept.headers, kept.payload).await.unwrap();
    (place.entry_id(), run)
}

async fn requested_run(room: &Room, row: &Value) -> (Option<RunId>, Encoding, Headers) {
    let sequence = row["sequence"].as_u64().unwrap();
    let kept = history::at(&room.broker, STREAM, sequence).await.unwrap().unwrap();
    let decoded = kept.decode().unwrap();
    (decoded.event.run_id().cloned(), decoded.encoding, kept.headers)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_a_request_without_a_run_goes_on_with_the_run_that_had_begun() {
    let room = Room::new().await;
    let avro = codec::encode(&Event::RunRequested(RunRequested::new("digits")), Encoding::Avro).unwrap();
    let written: [(&[u8], (&str, &str), Encoding); 3] = [
        (br#"{"dataset_id":"digits","mine":0.10}"#, ("Cerebros-Run-Id", "another"), Encoding::Json),
        (&avro, ("Content-Type", "application/avro"), Encoding::Avro),
        (
            br#"{"specversion":"1.0","type":"cerebros.nas.run.requested","data":{"dataset_id":"digits","run_id":null}}"#,
            ("Content-Type", "application/cloudevents+json"),
            Encoding::Json,
        ),
    ];
    for (payload, header, encoding) in written {
        let (id, run) = lost_request(&room, payload, &[header]).await;
        let dry = &room.json(&["replay", &id, "--dry-run"]).await[0];
        let foreseen = format!("goes on with the run {run}");
        assert_eq!(text(dry, "effect"), "unsafe", "{dry}");
        assert!(text(dry, "reason").contains(&foreseen), "{dry}");
        let row = &room.json(&["replay", &id]).await[0];
        assert_eq!(text(row, "outcome"), "replayed", "{row}");
        assert!(text(row, "reason").contains(run.as_str()), "{row}");
        let (named, written_in, envelope) = requested_run(&room, row).await;
        assert_eq!((named.as_ref(), written_in), (Some(&run), encoding));
        if header.0 == "Cerebros-Run-Id" {
            assert_eq!(envelope.get("Cerebros-Run-Id"), Some(run.as_str()), "the envelope agrees");
        }
        // It was made to say what it meant, which is neither an edit nor another version.
        let shown = room.json(&["show", &id]).await;
        let mark = &shown["operations"][0]["replay"];
        assert_eq!((mark["edited"].as_bool(), mark.get("upcast")), (Some(false), None), "{mark}");
        assert_eq!(text(mark, "named_run"), run.as_str());
        assert_eq!(room.dlq(&["show", &id, "--raw"]).await.stdout, payload, "the original is untouched");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_over_is_not_begun_again_by_the_replay_of_a_request_without_a_run() {
    let room = Room::new().await;
    let (id, run) = lost_request(&room, br#"{"dataset_id":"digits"}"#, &[]).await;
    let registry = Registry::open(&room.broker).await.unwrap();
    let over = |known: Option<&RunRecord>| {
        let known = known.expect("it has begun").clone();
        (Some(RunRecord { state: RunState::Completed, ..known }), ())
    };
    registry.change(&run, over).await.unwrap();
    let dry = &room.json(&["replay", &id, "--dry-run"]).await[0];
    assert_eq!((text(dry, "effect"), text(dry, "outcome")), ("none", "would_replay"), "{dry}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_taken_over_tells_a_run_that_was_named_from_an_edit() {
    let room = Room::new().await;
    let (plain, plain_run) = lost_request(&room, br#"{"dataset_id":"digits"}"#, &[]).await;
    let (edited, edited_run) = lost_request(&room, br#"{"dataset_id":"digits"}"#, &[]).await;
    for (id, flags) in [(&plain, &[][..]), (&edited, &["--edit", ".budget = {max_trials: 6}"])] {
        let arguments = [&["replay", id], flags].concat();
        let killed = room.start(&arguments, "after-publish-1").wait_with_output().await.unwrap();
        assert!(!killed.status.success());
        let again = room.dlq(&arguments).await;
        assert_eq!(again.status.code(), Some(5));
        let said = String::from_utf8(again.stderr).unwrap();
        assert!(said.contains("already replayed"), "{said}");
    }
    let replay_of = async |id: &str| room.json(&["show", id]).await["operations"][0]["replay"].clone();
    let (plain, edited) = (replay_of(&plain).await, replay_of(&edited).await);
    assert_eq!((plain["edited"].as_bool(), plain.get("upcast")), (Some(false), None), "{plain}");
    assert_eq!(text(&plain, "named_run"), plain_run.as_str());
    assert_eq!((edited["edited"].as_bool(), edited.get("upcast")), (Some(true), None), "{edited}");
    assert_eq!(text(&edited, "named_run"), edited_run.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_nobody_could_read_names_the_run_of_its_place_unless_the_edit_names_one() {
    let room = Room::new().await;
    let _serving = room.serve();
    room.publish(REQUESTED, &[], b"{").await;
    room.publish(REQUESTED, &[], b"{").await;
    let entries = room.entries(2).await;
    let kept = history::at(&room.broker, STREAM, 1).await.unwrap().unwrap();
    let derived = RunId::derive(STREAM, 1, u64::try_from(kept.time.millis()).unwrap());
    let repair = ["{dataset_id: \"digits\"}", "{dataset_id: \"digits\", run_id: \"mine\"}"];
    let expected = [(derived.as_str(), Some(derived.as_str())), ("mine", None)];
    for ((entry, edit), (run, named)) in entries.iter().zip(repair).zip(expected) {
        let row = &room.json(&["replay", text(entry, "id"), "--edit", edit]).await[0];
        assert_eq!(requested_run(&room, row).await.0, Some(RunId::parse(run).unwrap()));
        let shown = room.json(&["show", text(entry, "id")]).await;
        let mark = &shown["operations"][0]["replay"];
        assert_eq!((mark["edited"].as_bool(), mark["named_run"].as_str()), (Some(true), named));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_to_a_foreign_subject_goes_as_it_is() {
    let room = Room::new().await;
    let config = async_nats::jetstream::stream::Config {
        name: "ELSEWHERE".to_owned(),
        subjects: vec!["elsewhere.>".to_owned()],
        ..Default::default()
    };
    room.broker.jetstream.create_stream(config).await.unwrap();
    let payload = br#"{"dataset_id":"digits"}"#;
    let (id, _) = lost_request(&room, payload, &[]).await;
    let row = &room.json(&["replay", &id, "--to", "elsewhere.requests"]).await[0];
    let sequence = row["sequence"].as_u64().unwrap();
    let kept = history::at(&room.broker, "ELSEWHERE", sequence).await.unwrap().unwrap();
    assert_eq!(kept.payload.as_ref(), payload);
    assert_eq!(room.json(&["show", &id]).await["operations"][0]["replay"].get("named_run"), None);
    assert_eq!(row["reason"], json!(null));
}
