//! Naming entries, and the habits of a good command.

use std::process::Stdio;

use async_nats::jetstream::stream;
use dlq_classifier::figures::{Figures, NEAR_END};
use schemas::subject::DLQ_STREAM;

use crate::room::{Room, text};

const REQUESTED: &str = "cerebros.nas.run.requested";

async fn with_three_entries() -> Room {
    let room = Room::new().await;
    let mut serving = room.serve();
    room.publish(REQUESTED, &[], br#"{"dataset_id":7,"run_id":"r1"}"#).await;
    room.publish(REQUESTED, &[], b"{").await;
    room.publish("ml.run.trial", &[], br#"{"run_id":"r1"}"#).await;
    room.entries(3).await;
    // Everything below works while the service is down.
    serving.child.kill().await.unwrap();
    room
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_narrow_the_list_and_the_groups() {
    let room = with_three_entries().await;
    let all = room.json(&["list"]).await;
    let fingerprint = text(&all[1], "fingerprint").to_owned();
    let cases: [(&[&str], usize); 9] = [
        (&[], 3),
        (&["--class", "validation"], 2),
        (&["--class", "validation", "--subject", "ml.run.*"], 1),
        (&["--stage", "decode"], 3),
        (&["--run", "r1"], 2),
        (&["--fingerprint", &fingerprint], 1),
        (&["--since", "1h"], 3),
        (&["--since", "2100-01-01T00:00:00Z"], 0),
        (&["--state", "replayed"], 0),
    ];
    for (flags, count) in cases {
        let list = room.json(&[&["list"], flags].concat()).await;
        assert_eq!(list.as_array().unwrap().len(), count, "{flags:?}");
    }
    assert_eq!(room.json(&["groups", "--class", "validation"]).await.as_array().unwrap().len(), 2);
    let seqs: Vec<u64> = all.as_array().unwrap().iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [1, 2, 3], "oldest first");
    let lines = room.dlq(&["list", "-o", "ndjson"]).await.stdout;
    assert_eq!(String::from_utf8(lines).unwrap().lines().count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_action_without_a_filter_is_refused() {
    let room = with_three_entries().await;
    for arguments in [&["replay"][..], &["discard"], &["replay", "--dry-run"], &["replay", "x", "--all"]] {
        let output = room.dlq(arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
    }
    assert_eq!(room.kept().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_names_nothing_is_exit_3_and_changes_nothing() {
    let room = with_three_entries().await;
    let known = text(&room.json(&["list"]).await[0], "id").to_owned();
    let cases: [&[&str]; 4] =
        [&["show", "9-none"], &["replay", "9-none"], &["discard", "9-none"], &["discard", &known, "9-none"]];
    for arguments in cases {
        let output = room.dlq(&[arguments, &["-o", "json"]].concat()).await;
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(error["error"]["code"], "entry-unknown");
    }
    assert_eq!(room.kept().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_tells_who_did_what_to_how_many_and_why() {
    let room = with_three_entries().await;
    let list = room.json(&["list"]).await;
    assert_eq!(room.json(&["history"]).await, serde_json::json!([]));
    room.dlq(&["discard", text(&list[0], "id"), "--reason", "a test of ours"]).await;
    let edit = "{dataset_id: \"digits\"}";
    room.dlq(&["replay", "--subject", REQUESTED, "--edit", edit, "--reason", "mended"]).await;
    let history = room.json(&["history"]).await;
    let told: Vec<_> = history.as_array().unwrap().iter().map(|one| (text(one, "operation"), one)).collect();
    assert_eq!(told.iter().map(|(what, _)| *what).collect::<Vec<_>>(), ["discarded", "replayed"]);
    for ((_, action), (reason, filter, edited)) in told.iter().zip([
        ("a test of ours", serde_json::Value::Null, 0),
        ("mended", format!("--subject {REQUESTED}").into(), 1),
    ]) {
        assert_eq!((text(action, "reason"), &action["filter"]), (reason, &filter), "{action:#}");
        assert_eq!((action["count"].as_u64(), action["edited"].as_u64()), (Some(1), Some(edited)));
        assert!(text(action, "actor").starts_with("ann@"), "{action:#}");
    }
    for (flags, count) in [(["--actor", "ann"], 2), (["--actor", "bob"], 0), (["--since", "1h"], 2)] {
        let told = room.json(&[&["history"][..], &flags].concat()).await;
        assert_eq!(told.as_array().unwrap().len(), count, "{flags:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browsing_consumes_nothing() {
    let room = with_three_entries().await;
    let id = text(&room.json(&["list"]).await[0], "id").to_owned();
    let before = room.state(DLQ_STREAM).await;
    let browsing: [&[&str]; 5] = [&["list"], &["groups"], &["show", &id], &["history"], &["audit"]];
    for arguments in browsing {
        assert!(room.dlq(arguments).await.status.success(), "{arguments:?}");
    }
    let after = room.state(DLQ_STREAM).await;
    assert_eq!(
        (after.messages, after.first_sequence, after.last_sequence),
        (before.messages, before.first_sequence, before.last_sequence)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_of_an_earlier_build_is_listed_and_shown_with_what_it_says() {
    let room = Room::new().await;
    let mut serving = room.serve();
    room.publish(REQUESTED, &[("Cerebros-Run-Id", "r1")], br#"{"dataset_id":7}"#).await;
    room.publish(REQUESTED, &[], br#"{"dataset_id":7,"run_id":"r2"}"#).await;
    room.entries(2).await;
    serving.child.kill().await.unwrap();
    // Earlier builds left it to the reader to find the run.
    let jetstream = async_nats::jetstream::new(room.stranger.clone());
    let queue = jetstream.get_stream(DLQ_STREAM).await.unwrap();
    for sequence in [1, 2] {
        let letter = queue.get_raw_message(sequence).await.unwrap();
        queue.delete_message(sequence).await.unwrap();
        let mut headers = async_nats::HeaderMap::new();
        let old = |name: &str| !["Cerebros-Dlq-Run", "Nats-Msg-Id"].contains(&name);
        for (name, values) in letter.headers.iter().filter(|(name, _)| old(name.as_ref())) {
            values.iter().for_each(|value| headers.append(name.clone(), value.clone()));
        }
        jetstream.publish_with_headers(letter.subject, headers, letter.payload).await.unwrap().await.unwrap();
    }
    let list = room.json(&["list"]).await;
    assert_eq!(list[0]["run_id"], "r1", "{list:#}");
    assert_eq!(list[1]["run_id"], serde_json::Value::Null, "only its payload tells");
    assert_eq!(list[1]["bytes"], 30);
    assert_eq!(room.json(&["show", text(&list[1], "id")]).await["run_id"], "r2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_ends_a_command_quietly() {
    let room = with_three_entries().await;
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_dlq-classifier"))
        .env_clear()
        .env("NATS_URL", room.nats.url())
        .args(["list", "-o", "ndjson"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().await.unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_is_exit_6() {
    let room = Room::new().await;
    room.nats.kill().await;
    let output = room.dlq(&["list"]).await;
    assert_eq!(output.status.code(), Some(6));
    assert!(String::from_utf8(output.stderr).unwrap().contains("help:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tally_tells_what_is_open_near_its_end_and_whether_the_stream_is_safe() {
    let room = with_three_entries().await;
    room.json(&["discard", text(&room.json(&["list"]).await[0], "id"), "--reason", "not needed"]).await;
    let figures = Figures::read(&room.broker).await.unwrap();
    assert_eq!(
        (figures.all, figures.open, figures.near_end, figures.is_safe, figures.full),
        (3, 2, 0, true, 0)
    );

    // As an earlier build made it, and letters that have an hour to live.
    let stream = room.broker.jetstream.get_stream(DLQ_STREAM).await.unwrap();
    let known = stream.cached_info().config.clone();
    let (max_age, hour) = (NEAR_END, std::time::Duration::from_secs(3600));
    let old =
        stream::Config { discard: stream::DiscardPolicy::Old, max_age, duplicate_window: hour, ..known };
    room.broker.jetstream.update_stream(old).await.unwrap();
    stream.delete_message(1).await.unwrap();
    let figures = Figures::read(&room.broker).await.unwrap();
    assert_eq!((figures.all, figures.open, figures.near_end), (2, 2, 2));
    assert!(!figures.is_safe && figures.has_dropped, "{figures:?}");
}
