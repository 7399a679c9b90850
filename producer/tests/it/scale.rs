//! `scale`: how many trials of a run may be under way at once.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use schemas::RunId;
use schemas::lifecycle::RunState;
use service_kit::clock;
use service_kit::registry::RunRecord;
use service_kit::registry::record::request_cancel;

use crate::program::{Ended, producer};
use crate::stage::Stage;

const RUN: &str = "a";

fn run() -> RunId {
    RunId::parse(RUN).unwrap()
}

async fn submitted() -> Stage {
    let stage = Stage::set().await;
    let submit = ["submit", "--set", "dataset_id=digits", "--set", "budget.parallelism=3", "--run-id", RUN];
    producer(&stage.url(), &submit).await.id();
    stage
}

async fn scale(stage: &Stage, number: &str) -> Ended {
    producer(&stage.url(), &["scale", RUN, number]).await
}

async fn recorded(stage: &Stage) -> Option<u32> {
    stage.registry().await.get(&run()).await.unwrap().and_then(|held| held.record.parallelism)
}

async fn shown(stage: &Stage) -> serde_json::Value {
    producer(&stage.url(), &["show", RUN, "-o", "json"]).await.json()["parallelism"].clone()
}

#[tokio::test]
async fn a_running_run_takes_another_number_and_the_same_again_is_no_error() {
    let stage = submitted().await;
    stage.claim(&run()).await;
    assert_eq!(shown(&stage).await, 3);
    let json = producer(&stage.url(), &["scale", RUN, "2", "-o", "json"]).await.json();
    assert_eq!(json, serde_json::json!({"run_id": RUN, "parallelism": 2, "before": 3}));
    assert_eq!((recorded(&stage).await, shown(&stage).await), (Some(2), 2.into()));
    let again = scale(&stage, "2").await;
    assert_eq!((again.code, again.stdout.as_str()), (0, "a 2\n"), "{again:?}");
    assert!(again.stderr.contains("had 2 already"), "{again:?}");
    assert_eq!(scale(&stage, "3").await.code, 0);
    assert_eq!(recorded(&stage).await, Some(3));
    let people = producer(&stage.url(), &["show", RUN]).await.stdout;
    assert!(people.contains("parallelism    3\n"), "{people}");
}

#[tokio::test]
async fn more_than_the_search_looks_back_is_refused_with_the_reason_and_the_remedy() {
    let stage = submitted().await;
    stage.claim(&run()).await;
    for number in ["4", "4294967296", "99999999999999999999999999"] {
        let refused = scale(&stage, number).await;
        assert_eq!((refused.code, refused.stdout.as_str()), (5, ""), "{refused:?}");
        for part in ["at most 3 trials", "would change which candidates", "larger budget.parallelism"] {
            assert!(refused.stderr.contains(part), "{part}: {refused:?}");
        }
    }
    let json = producer(&stage.url(), &["scale", RUN, "9", "-o", "json"]).await;
    let error: serde_json::Value = serde_json::from_str(&json.stderr).unwrap();
    assert_eq!((json.code, error["error"]["code"].as_str()), (5, Some("scale-too-large")));
    assert_eq!(recorded(&stage).await, None);
}

#[tokio::test]
async fn what_is_no_number_of_trials_is_a_usage_error() {
    let stage = submitted().await;
    for number in ["0", "-1", "1.5", "many", ""] {
        let ended = scale(&stage, number).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{number}: {ended:?}");
    }
    assert_eq!(recorded(&stage).await, None);
}

#[tokio::test]
async fn a_run_id_that_is_no_text_is_a_usage_error_in_every_command() {
    let bad = OsStr::from_bytes(b"r\xff\xfe");
    for command in ["watch", "show", "cancel", "scale", "retry"] {
        let arguments = [OsStr::new(command), bad, OsStr::new("1")];
        let count = if command == "scale" { 3 } else { 2 };
        let ended = producer("nats://127.0.0.1:1", &arguments[..count]).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{command}: {ended:?}");
    }
}

#[tokio::test]
async fn a_run_in_the_queue_is_scaled_before_a_worker_claims_it() {
    let stage = submitted().await;
    let scaled = scale(&stage, "1").await;
    assert_eq!((scaled.code, scaled.stdout.as_str()), (0, "a 1\n"), "{scaled:?}");
    assert_eq!(shown(&stage).await, 1);
    assert_eq!(scale(&stage, "4").await.code, 5);
    let listed = producer(&stage.url(), &["list", "-o", "json"]).await.json();
    assert_eq!((listed[0]["state"].as_str(), listed.as_array().map(Vec::len)), (Some("requested"), Some(1)));
    assert_eq!((stage.claim(&run()).await, recorded(&stage).await), (1, Some(1)));
    assert_eq!(shown(&stage).await, 1);
}

#[tokio::test]
async fn a_run_that_is_over_or_unknown_or_only_cancelled_ahead_cannot_be_scaled() {
    let stage = Stage::set().await;
    let unknown = scale(&stage, "1").await;
    assert_eq!((unknown.code, unknown.stdout.as_str()), (3, ""), "{unknown:?}");
    let cancel = |known: Option<&RunRecord>| (request_cancel(known, &run(), "early", clock::now()), ());
    stage.registry().await.change(&run(), cancel).await.unwrap();
    assert_eq!(scale(&stage, "1").await.code, 3);

    let stage = submitted().await;
    stage.claim(&run()).await;
    for state in [RunState::Completed, RunState::Failed, RunState::Cancelled] {
        stage.end(&run(), state).await;
        let over = scale(&stage, "1").await;
        assert_eq!((over.code, over.stdout.as_str()), (5, ""), "{over:?}");
        assert!(over.stderr.contains("help:") && over.stderr.contains(state.as_str()), "{over:?}");
    }
    stage.end(&run(), RunState::Interrupted).await;
    assert_eq!(scale(&stage, "1").await.code, 0);
}
