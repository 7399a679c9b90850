//! Messages whose letters would be larger than the broker takes: many headers that are renamed, headers near the broker's
//! limit of 64 KiB, subjects near its limit of a line, a broker that takes little.

use schemas::subject::{DLQ_STREAM, STREAM};
use serde_json::Value;
use service_kit::history;
use testkit::Nats;

use crate::hostile::publish_raw;
use crate::room::{Room, text};

const TRIAL: &str = "ml.run.trial";

/// A block of headers, as many as make so many bytes.
fn block(line: &str, bytes: usize) -> Vec<u8> {
    let (start, end) = ("NATS/1.0\r\n", "\r\n");
    let lines = line.repeat((bytes - start.len() - end.len()) / line.len());
    format!("{start}{lines}{end}").into_bytes()
}

/// The only entry, whole.
async fn entry(room: &Room) -> Value {
    let entry = room.entries(1).await.remove(0);
    room.json(&["show", text(&entry, "id")]).await
}

async fn payload(room: &Room, entry: &Value) -> Vec<u8> {
    room.dlq(&["show", text(entry, "id"), "--raw"]).await.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_need_more_room_in_the_letter_than_the_broker_gives_are_kept_all_the_same() {
    for (line, bytes, count) in [("Nats-a: b\r\n", 60_000, 0), ("X-a: b\r\n", 65_500, 8186)] {
        let room = Room::new().await;
        publish_raw(&room, TRIAL.as_bytes(), &block(line, bytes), b"{").await;
        let serving = room.serve();
        let entry = entry(&room).await;
        assert_eq!((payload(&room, &entry).await, entry["bytes"].as_u64()), (b"{".to_vec(), Some(1)));
        assert_eq!(room.entries(1).await[0]["bytes"].as_u64(), Some(1), "also in the list");
        let headers = entry["headers"].as_array().unwrap();
        assert_eq!(headers.iter().filter(|header| header[0] == "X-a").count(), count, "{line:?}");
        room.settled().await;
        serving.is_ready().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_whose_headers_stand_elsewhere_is_replayed_with_them() {
    let room = Room::new().await;
    let trial = br#"{"trial_id":"t","run_id":"late","status":"succeeded"}"#;
    publish_raw(&room, TRIAL.as_bytes(), &block("X-a: b\r\n", 65_000), trial).await;
    let _serving = room.serve_with(&["--unknown-run-after", "50ms"]);
    let entry = entry(&room).await;
    room.announce("late").await;
    room.settled().await;
    let replayed = room.dlq(&["replay", text(&entry, "id")]).await;
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    let message = history::at(&room.broker, STREAM, 3).await.unwrap().unwrap();
    assert_eq!(message.payload.as_ref(), trial);
    assert_eq!(message.headers.get("Cerebros-Replay-Of"), Some(text(&entry, "id")));
    assert_eq!(message.headers.0.iter().filter(|(name, _)| name == "X-a").count(), 8123);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_header_block_no_client_can_read_is_kept_byte_for_byte() {
    let room = Room::new().await;
    room.with_short_leases().await;
    let mut broken = block("X-a: b\r\n", 65_400);
    broken.splice(10..10, *b"\xff\xfe: \r\n");
    publish_raw(&room, TRIAL.as_bytes(), &broken, b"payload").await;
    let _serving = room.serve_into("serve.log");
    let entry = entry(&room).await;
    assert!(text(&entry, "reason").contains("no client can receive it"), "{}", text(&entry, "reason"));
    assert_eq!(payload(&room, &entry).await, b"payload");
    let kept = room.broker.jetstream.get_stream(DLQ_STREAM).await.unwrap();
    let letter = kept.get_raw_message(1).await.unwrap();
    assert_eq!(letter.headers.get("Cerebros-Dlq-Header-Bytes").unwrap().as_str(), broken.len().to_string());
    assert_eq!(letter.payload, [&broken[..], b"payload"].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_that_leaves_no_room_for_ours_is_kept_in_the_letter() {
    let room = Room::new().await;
    let subject = format!("ml.run.{}", "x".repeat(4040));
    publish_raw(&room, subject.as_bytes(), b"NATS/1.0\r\n\r\n", b"{").await;
    room.publish(TRIAL, &[], b"{").await;
    let serving = room.serve();
    let entries = room.entries(2).await;
    assert_eq!(text(&entries[0], "subject"), subject);
    assert_eq!(payload(&room, &entries[0]).await, b"{");
    room.settled().await;
    serving.is_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_a_broker_takes_only_without_a_verdict_has_a_letter_that_says_where_it_is() {
    let nats = Nats::start_with(|config| config.max_payload_bytes = 100_000).await;
    let room = Room::on(nats).await;
    room.publish(TRIAL, &[], &vec![b'x'; 99_900]).await;
    room.publish(TRIAL, &[], b"{").await;
    let serving = room.serve();
    let entries = room.entries(2).await;
    assert!(text(&entries[0], "reason").contains("still message 1 of CEREBROS"), "{}", entries[0]);
    assert_eq!(text(&entries[0], "class"), "decode");
    room.settled().await;
    serving.is_ready().await;
}
