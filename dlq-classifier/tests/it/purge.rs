//! `purge`: what was dealt with goes, what is open stays, and it is on record.

use serde_json::Value;

use crate::room::{Room, text};

const TRIAL: &str = "ml.run.trial";

#[tokio::test(flavor = "multi_thread")]
async fn what_was_dealt_with_is_removed_and_what_is_open_stays() {
    let room = Room::new().await;
    let _serving = room.serve();
    for payload in ["{", "[", "1", "x"] {
        room.publish(TRIAL, &[], payload.as_bytes()).await;
    }
    let ids: Vec<String> = room.entries(4).await.iter().map(|entry| text(entry, "id").to_owned()).collect();
    room.settled().await;
    room.json(&["discard", &ids[0], &ids[2], "--reason", "a test"]).await;
    let kept = room.kept().await;

    let unguarded = room.dlq(&["purge"]).await;
    assert_eq!(unguarded.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unguarded.stderr).contains("--dealt-with"));
    let removed = |rows: Value| -> Vec<String> {
        rows.as_array().unwrap().iter().map(|row| text(row, "id").to_owned()).collect()
    };
    let young = room.json(&["purge", "--dealt-with", "--older", "1h"]).await;
    assert!(removed(young).is_empty(), "they died a moment ago");
    let dealt_with = [ids[0].clone(), ids[2].clone()];
    assert_eq!(removed(room.json(&["purge", "--dealt-with", "--dry-run"]).await), dealt_with);
    assert_eq!(room.kept().await, kept, "a dry run changes nothing");

    let purged = room.json(&["purge", "--dealt-with", "--reason", "room"]).await;
    assert_eq!(removed(purged), dealt_with);
    let left: Vec<String> = room.entries(2).await.iter().map(|entry| text(entry, "id").to_owned()).collect();
    assert_eq!(left, [ids[1].clone(), ids[3].clone()]);
    assert!(removed(room.json(&["purge", "--dealt-with"]).await).is_empty(), "there is nothing left to do");

    let history = room.json(&["history"]).await;
    let acts: Vec<_> =
        history.as_array().unwrap().iter().filter(|act| text(act, "operation") == "purged").collect();
    assert_eq!(acts.len(), 1, "{history:#}");
    assert!(text(acts[0], "actor").starts_with("ann@"));
    assert_eq!((acts[0]["count"].as_u64(), text(acts[0], "reason")), (Some(2), "room"));
    room.explained().await;
}
