//! Requests that can never run, and requests that are none.

use schemas::lifecycle::RunState;
use schemas::{Event, FailureClass};
use serde_json::json;
use testkit::wait_until;

use crate::house::{House, PATIENCE};

#[tokio::test]
async fn a_request_that_can_never_run_fails_its_run_and_becomes_one_dead_letter() {
    let house = House::open().await;
    let _worker = house.worker(&["--slots", "1", "--preload", "noop"]).await;
    for (run, change, class, path) in [
        ("unknown-set", json!({"dataset_id": "mnist"}), FailureClass::Validation, "dataset_id"),
        ("outside", json!({"dataset_id": "../../etc/passwd.csv"}), FailureClass::Validation, "dataset_id"),
        ("unknown-strategy", json!({"strategy": "annealing"}), FailureClass::Validation, "strategy"),
        ("empty-space", json!({"search_space": {"layers": []}}), FailureClass::Validation, "search_space"),
        (
            "foreign-code",
            json!({"trainer": "os:system", "search_space": {"x": [1]}}),
            FailureClass::EntrypointRefused,
            "trainer",
        ),
    ] {
        let mut body = json!({"run_id": run, "dataset_id": "digits"});
        body.as_object_mut().unwrap().extend(change.as_object().cloned().unwrap());
        house.request(body).await;
        let record = house.ended(run).await;
        assert_eq!(record.state, RunState::Failed);
        let Some(Event::RunFailed(end)) = house.events(run).await.pop() else { panic!("{run} did not fail") };
        assert_eq!(end.failure.class, class);
        assert!(end.failure.message.contains(path), "{}", end.failure.message);
    }
    wait_until("every request is settled", PATIENCE, async || (house.unsettled().await == 0).then_some(()))
        .await;
    let letters = house.dead_letters().await;
    assert_eq!(letters.len(), 5);
    assert!(letters.iter().all(|letter| letter.headers.get("Cerebros-Dlq-Stage") == Some("validate")));
}

#[tokio::test]
async fn what_is_no_request_is_left_to_the_classifier_and_never_stops_the_worker() {
    let house = House::open().await;
    let _worker = house.worker(&["--slots", "1", "--preload", "noop"]).await;
    for garbage in [&b"not json"[..], b"", b"\xff\xfe", b"{}", b"[]", br#"{"dataset_id": 7}"#] {
        house.publish_plain("cerebros.nas.run.requested", garbage).await;
    }
    house
        .request(
            json!({"run_id": "good", "dataset_id": "digits", "trainer": "noop", "budget": {"max_trials": 1}}),
        )
        .await;
    assert_eq!(house.ended("good").await.state, RunState::Completed);
    wait_until("every request is settled", PATIENCE, async || (house.unsettled().await == 0).then_some(()))
        .await;
    assert!(house.dead_letters().await.is_empty());
}

#[tokio::test]
async fn a_shut_gate_fails_the_run_as_a_dependency_and_names_itself() {
    let house = House::open().await;
    let _worker =
        house.worker_with(&["--slots", "1", "--preload", "noop"], &[("CEREBROS_ENABLED", "true")]).await;
    house.request(json!({"run_id": "gated", "dataset_id": "digits", "trainer": "noop"})).await;
    let record = house.ended("gated").await;
    let failure = record.failure.unwrap();
    assert_eq!((record.state, failure.class), (RunState::Failed, FailureClass::Dependency));
    assert!(failure.message.contains("ml_nas"), "{}", failure.message);
    assert!(house.dead_letters().await.is_empty());
}

#[tokio::test]
async fn a_second_request_with_the_same_run_id_has_no_effect() {
    let house = House::open().await;
    let _worker = house.worker(&["--slots", "1", "--preload", "noop"]).await;
    let body =
        json!({"run_id": "twice", "dataset_id": "digits", "trainer": "noop", "budget": {"max_trials": 2}});
    house.request(body.clone()).await;
    house.ended("twice").await;
    house.request(body).await;
    wait_until("both are settled", PATIENCE, async || (house.unsettled().await == 0).then_some(())).await;
    assert_eq!(house.trials("twice").await.len(), 2);
    assert_eq!(house.events("twice").await.iter().filter(|event| event.is_terminal()).count(), 1);
}
