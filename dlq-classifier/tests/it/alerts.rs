//! Bounds of the queue: crossed once, cleared once, however many look.

use dlq_classifier::serve::Measures;
use schemas::subject::DLQ_STREAM;
use serde_json::Value;
use service_kit::metrics::Metrics;
use service_kit::topology;
use testkit::wait_until;

use crate::lost::{announced, followed};
use crate::room::{PATIENCE, Room, text};

const REQUESTED: &str = "cerebros.nas.run.requested";

impl Room {
    /// The alerts of a kind, oldest first.
    async fn alerts(&self, kind: &str) -> Vec<Value> {
        let stream = self.broker.jetstream.get_stream(DLQ_STREAM).await.unwrap();
        let last = stream.cached_info().state.last_sequence;
        let mut alerts = Vec::new();
        for sequence in 1..=last {
            // Some were purged.
            let Ok(message) = stream.get_raw_message(sequence).await else { continue };
            if message.subject.as_str() == format!("cerebros.dlq.alert.{kind}") {
                alerts.push(serde_json::from_slice(&message.payload).unwrap());
            }
        }
        alerts
    }

    pub(crate) async fn wait_for_alerts(&self, kind: &str, states: &[&str]) -> Vec<Value> {
        wait_until(&format!("the alerts of {kind} are {states:?}"), PATIENCE, async || {
            let alerts = self.alerts(kind).await;
            assert!(alerts.len() <= states.len(), "{alerts:#?}");
            let found: Vec<&str> = alerts.iter().map(|alert| text(alert, "state")).collect();
            (found == states).then_some(alerts)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_is_crossed_and_cleared_once_though_two_classifiers_watch_and_one_begins_anew() {
    let room = Room::new().await;
    // As many as come: whoever looks while they come finds too few.
    let flags = ["--alert-depth", "4"];
    let (_one, two) = (room.serve_with(&flags), room.serve_with(&flags));
    for _ in 0..4 {
        room.publish(REQUESTED, &[], b"{").await;
    }
    let crossed = &room.wait_for_alerts("depth", &["crossed"]).await[0];
    assert_eq!((crossed["value"].as_f64(), crossed["threshold"].as_f64()), (Some(4.0), Some(4.0)));
    assert!(text(crossed, "message").contains("`dlq-classifier groups`"), "{crossed:#}");
    drop(two);
    let _three = room.serve_with(&flags);
    assert!(room.dlq(&["discard", "--all", "--reason", "a test"]).await.status.success());
    room.wait_for_alerts("depth", &["crossed", "cleared"]).await;
    assert_eq!(
        room.json(&["list", "--state", "open"]).await,
        Value::Array(Vec::new()),
        "an alert is no entry"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_the_stream_drops_soon_is_said_before() {
    let room = Room::new().await;
    let _serving = room.serve_with(&["--alert-notice", "31days"]);
    room.publish(REQUESTED, &[], b"{").await;
    let expiring = &room.wait_for_alerts("expiring", &["crossed"]).await[0];
    assert!(text(expiring, "message").contains("max_age"), "{expiring:#}");
}

#[test]
fn the_rules_for_prometheus_name_metrics_there_are() {
    let metrics = Metrics::new();
    let _measures = Measures::new(&metrics);
    let page = metrics.render();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/prometheus/dead-letters.yml");
    let rules = std::fs::read_to_string(path).unwrap();
    let named = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let is_name = |word: &&str| word.starts_with("cerebros_");
    let words: Vec<&str> = named
        .flat_map(|expression| expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .filter(is_name)
        .collect();
    assert!(words.len() >= 6, "{words:?}");
    for name in words {
        let family = name.trim_end_matches("_total");
        assert!(page.contains(&format!("# HELP {family} ")), "{name} is on no page");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_of_the_queue_are_on_the_page() {
    let room = Room::new().await;
    let serving = room.serve();
    room.publish(REQUESTED, &[], b"{").await;
    wait_until("the page counts an open entry", PATIENCE, async || {
        serving.page("/metrics").await.contains("\ncerebros_dlq_open 1\n").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_somebody_purged_out_of_the_middle_are_open_no_more_whoever_counts() {
    let room = Room::new().await;
    let flags = ["--alert-depth", "3"];
    let serving = room.serve_with(&flags);
    room.publish(REQUESTED, &[], b"{}").await;
    room.entries(1).await;
    for _ in 0..4 {
        room.publish(REQUESTED, &[], b"{").await;
    }
    room.entries(5).await;
    room.wait_for_alerts("depth", &["crossed"]).await;
    let stream = room.broker.jetstream.get_stream(DLQ_STREAM).await.unwrap();
    stream.purge().filter("cerebros.dlq.decode.>").await.unwrap();
    wait_until("one entry is open", PATIENCE, async || {
        serving.page("/metrics").await.contains("\ncerebros_dlq_open 1\n").then_some(())
    })
    .await;
    room.wait_for_alerts("depth", &["crossed", "cleared"]).await;
    // A second one agrees with the first, and so there is nothing more to say.
    let later = room.serve_with(&flags);
    wait_until("it counts the same", PATIENCE, async || {
        later.page("/metrics").await.contains("\ncerebros_dlq_open 1\n").then_some(())
    })
    .await;
    stream.delete_message(1).await.unwrap();
    for classifier in [&serving, &later] {
        wait_until("no entry is open", PATIENCE, async || {
            classifier.page("/metrics").await.contains("\ncerebros_dlq_open 0\n").then_some(())
        })
        .await;
    }
    room.wait_for_alerts("depth", &["crossed", "cleared"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_was_deleted_and_made_anew_is_counted_anew() {
    let room = Room::new().await;
    let serving = room.serve_with(&["--alert-depth", "4"]);
    for _ in 0..4 {
        room.publish(REQUESTED, &[], b"{").await;
    }
    room.wait_for_alerts("depth", &["crossed"]).await;
    // What the broker says of messages without letters becomes letters.
    announced(&room, 4).await;
    followed(&room).await;
    room.broker.jetstream.delete_stream(DLQ_STREAM).await.unwrap();
    topology::ensure(&room.broker).await.unwrap();
    room.wait_for_alerts("depth", &["cleared"]).await;
    for _ in 0..4 {
        room.publish(REQUESTED, &[], b"{").await;
    }
    room.wait_for_alerts("depth", &["cleared", "crossed"]).await;
    assert!(serving.page("/metrics").await.contains("\ncerebros_dlq_open 4\n"));
}
