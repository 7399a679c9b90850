//! The storm limit: a classifier that stops instead of filling the queue, and goes on.

use std::time::Duration;

use schemas::subject::DLQ_STREAM;
use serde_json::Value;
use service_kit::history::History;
use service_kit::topology::{CLASSIFIER_CONSUMER, SCHEMAS_BUCKET};
use testkit::wait_until;

use crate::growth::tomorrow;
use crate::outage::with_room_for;
use crate::room::{PATIENCE, Room, Serving, text};
use crate::semantic::claim;

const REQUESTED: &str = "cerebros.nas.run.requested";
const LIMIT: u64 = 20;

const BOUNDS: [&str; 4] = ["--storm-consecutive", "20", "--storm-window", "40"];

fn serve(room: &Room) -> Serving {
    room.serve_with(&BOUNDS)
}

/// Lets the broker forget message ids at once, as it does in the end.
async fn forgetful(room: &Room) {
    let mut stream = room.broker.jetstream.get_stream(DLQ_STREAM).await.unwrap();
    let mut config = stream.info().await.unwrap().config.clone();
    config.duplicate_window = Duration::from_millis(100);
    room.broker.jetstream.update_stream(config).await.unwrap();
}

async fn storm(room: &Room, messages: usize) {
    for number in 0..messages {
        room.stranger.publish(REQUESTED, format!("{{ {number}").into()).await.unwrap();
    }
    room.stranger.flush().await.unwrap();
}

/// The letters in the queue, without alerts and records.
async fn letters(room: &Room) -> u64 {
    room.json(&["list"]).await.as_array().unwrap().len() as u64
}

async fn alerts(room: &Room) -> Vec<Value> {
    let mut history =
        History::to_the_present(&room.broker, DLQ_STREAM, &["cerebros.dlq.alert.storm"], 1).await.unwrap();
    let mut alerts = Vec::new();
    while let Some(kept) = history.next().await.unwrap() {
        alerts.push(serde_json::from_slice(&kept.payload).unwrap());
    }
    alerts
}

async fn alerted(room: &Room, states: &[&str]) -> Vec<Value> {
    wait_until(&format!("the alerts are {states:?}"), PATIENCE, async || {
        let alerts = alerts(room).await;
        assert!(alerts.len() <= states.len(), "{alerts:#?}");
        (alerts.len() == states.len()
            && alerts.iter().zip(states).all(|(alert, state)| text(alert, "state") == *state))
        .then_some(alerts)
    })
    .await
}

/// A classifier that has stopped at its limit, and has said so.
async fn stopped(room: &Room) -> Serving {
    let serving = serve(room);
    storm(room, 60).await;
    serving.is_unready("stopped at the storm limit").await;
    alerted(room, &["crossed"]).await;
    serving
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_deployment_stops_the_classifier_at_the_limit_and_a_command_lets_it_go_on() {
    const MESSAGES: usize = 300;
    let room = Room::new().await;
    let serving = serve(&room);
    storm(&room, MESSAGES).await;
    serving.is_unready("stopped at the storm limit").await;
    let alert = &alerted(&room, &["crossed"]).await[0];
    assert!(text(alert, "reason").contains("more than 20 messages in a row"), "{alert}");
    assert_eq!((text(alert, "alert"), alert["threshold"].as_f64()), ("storm", Some(20.0)));
    assert!(letters(&room).await <= LIMIT);
    assert!(serving.page("/metrics").await.contains("cerebros_dlq_storm 1"));

    // Who is started anew stays stopped.
    serving.kill().await;
    let serving = serve(&room);
    serving.is_unready("more than 20 messages in a row").await;
    assert!(letters(&room).await <= LIMIT);

    let resumed = room.json(&["resume", "--reason", "they have to go"]).await;
    assert_eq!(resumed["resumed"], true);
    serving.is_ready().await;
    room.entries(MESSAGES).await;
    alerted(&room, &["crossed", "cleared"]).await;
    let again = room.json(&["resume"]).await;
    assert_eq!(again["resumed"], false);
    let mut records =
        History::to_the_present(&room.broker, DLQ_STREAM, &["cerebros.dlq.operation.resumed"], 1)
            .await
            .unwrap();
    let record: Value = serde_json::from_slice(&records.next().await.unwrap().unwrap().payload).unwrap();
    assert_eq!(
        (text(&record, "reason"), record["range"][1].as_u64()),
        ("they have to go", resumed["through"].as_u64())
    );
    assert!(records.next().await.unwrap().is_none());

    // What comes from now on counts again.
    storm(&room, 30).await;
    serving.is_unready("stopped at the storm limit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_by_itself_when_what_comes_is_in_order_again() {
    let room = Room::new().await;
    let serving = [serve(&room), serve(&room)];
    storm(&room, 60).await;
    for classifier in &serving {
        classifier.is_unready("stopped at the storm limit").await;
    }
    for _ in 0..20 {
        room.publish(REQUESTED, &[], br#"{"dataset_id":"digits"}"#).await;
    }
    for classifier in &serving {
        classifier.is_ready().await;
    }
    room.entries(60).await;
    wait_until("everything is settled", PATIENCE, async || {
        (room.waiting(CLASSIFIER_CONSUMER).await == (0, 0)).then_some(())
    })
    .await;
    alerted(&room, &["crossed", "cleared"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_when_what_stopped_it_can_be_read() {
    let room = Room::new().await;
    let serving = serve(&room);
    let (schema, fingerprint, payload) = tomorrow();
    for _ in 0..120 {
        room.publish(REQUESTED, &[("Content-Type", "application/avro")], &payload).await;
    }
    serving.is_unready("stopped at the storm limit").await;
    let bucket = room.broker.jetstream.get_key_value(SCHEMAS_BUCKET).await.unwrap();
    bucket.put(fingerprint, schema.into()).await.unwrap();
    serving.is_ready().await;
    room.settled().await;
    assert!(letters(&room).await <= LIMIT);
}

#[tokio::test(flavor = "multi_thread")]
async fn trials_of_attempts_that_never_existed_are_a_storm_that_does_not_end_by_itself() {
    const TRIALS: usize = 300;
    let room = Room::new().await;
    claim(&room, "r", 1).await;
    let trial =
        |attempt: u32| format!(r#"{{"trial_id":"t","run_id":"r","status":"succeeded","attempt":{attempt}}}"#);
    for _ in 0..TRIALS {
        room.stranger.publish("ml.run.trial", trial(99).into()).await.unwrap();
    }
    room.stranger.flush().await.unwrap();
    let serving = serve(&room);
    // It has looked whether what comes is in order again.
    serving.is_unready("; 0 of the last ").await;
    assert!(letters(&room).await <= LIMIT);
    alerted(&room, &["crossed"]).await;

    for _ in 0..20 {
        room.publish("ml.run.trial", &[], trial(1).as_bytes()).await;
    }
    serving.is_ready().await;
    room.entries(TRIALS).await;
    room.settled().await;
    alerted(&room, &["crossed", "cleared"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_is_judged_beside_what_it_announces_itself() {
    let room = Room::new().await;
    let serving = serve(&room);
    storm(&room, 60).await;
    serving.is_unready("stopped at the storm limit").await;
    room.announce("elsewhere").await;
    for _ in 0..20 {
        let trial = br#"{"trial_id":"t","run_id":"elsewhere","status":"succeeded"}"#;
        room.publish("ml.run.trial", &[], trial).await;
    }
    serving.is_ready().await;
    room.entries(60).await;
    room.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_among_valid_events_stops_nothing() {
    let room = Room::new().await;
    let serving = serve(&room);
    for number in 0..200 {
        let valid = br#"{"dataset_id":"digits"}"#;
        let payload: &[u8] = if number % 5 == 0 { b"{" } else { valid };
        room.publish(REQUESTED, &[], payload).await;
    }
    room.entries(40).await;
    serving.is_ready().await;
    assert!(alerts(&room).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_that_is_killed_half_way_is_finished_by_a_classifier_and_said_once() {
    let room = Room::new().await;
    forgetful(&room).await;
    let serving = stopped(&room).await;
    serving.kill().await;
    let killed = room.start(&["resume"], "storm-cleared").wait_with_output().await.unwrap();
    assert!(!killed.status.success());
    let serving = serve(&room);
    serving.is_ready().await;
    room.entries(60).await;
    alerted(&room, &["crossed", "cleared"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_classifier_that_is_killed_while_it_goes_on_by_itself_is_finished_by_the_next() {
    let room = Room::new().await;
    forgetful(&room).await;
    let mut first = room.serve_until("storm-cleared", &BOUNDS);
    storm(&room, 60).await;
    first.is_unready("stopped at the storm limit").await;
    for _ in 0..20 {
        room.publish(REQUESTED, &[], br#"{"dataset_id":"digits"}"#).await;
    }
    let ended = tokio::time::timeout(PATIENCE, first.child.wait()).await.unwrap().unwrap();
    assert!(!ended.success());
    let second = serve(&room);
    second.is_ready().await;
    room.entries(60).await;
    alerted(&room, &["crossed", "cleared"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_classifier_that_is_started_anew_does_not_repeat_what_was_said() {
    let room = Room::new().await;
    forgetful(&room).await;
    let serving = stopped(&room).await;
    serving.kill().await;
    let serving = serve(&room);
    serving.is_unready("stopped at the storm limit").await;
    room.json(&["resume"]).await;
    serving.is_ready().await;
    alerted(&room, &["crossed", "cleared"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_that_cannot_be_put_on_record_changes_nothing() {
    let room = Room::new().await;
    let _serving = stopped(&room).await;
    with_room_for(&room, i64::try_from(room.state(DLQ_STREAM).await.bytes).unwrap()).await;
    let refused = room.dlq(&["resume"]).await;
    assert_eq!(refused.status.code(), Some(10), "{}", String::from_utf8_lossy(&refused.stderr));

    with_room_for(&room, 1 << 30).await;
    assert_eq!(room.json(&["resume"]).await["resumed"], true, "nobody had resumed");
    room.entries(60).await;
    alerted(&room, &["crossed", "cleared"]).await;
    assert_eq!(room.json(&["history"]).await.as_array().unwrap().len(), 1);
}
