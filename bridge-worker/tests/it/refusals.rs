//! Requests that can never run, and requests that are none.

use std::collections::BTreeSet;

use schemas::event::RunRequested;
use schemas::lifecycle::RunState;
use schemas::{Encoding, Event, FailureClass, Record, codec, shape};
use serde_json::{Value, json};
use service_kit::topology::{CLASSIFIER_CONSUMER, SCHEMAS_BUCKET};
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
async fn what_is_no_request_becomes_the_classifier_s_dead_letter_and_never_stops_the_worker() {
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
    let letters = house.dead_letters().await;
    let sequences = letters.iter().filter_map(|letter| letter.headers.get("Cerebros-Dlq-Sequence"));
    assert_eq!(sequences.collect::<BTreeSet<_>>().len(), 6);
    for letter in &letters {
        let of = |name: &str| letter.headers.get(name).unwrap().to_owned();
        assert_eq!(of("Cerebros-Dlq-Consumer"), CLASSIFIER_CONSUMER, "the classifier's own makes no second");
        assert_eq!(of("Nats-Msg-Id"), format!("dlq:CEREBROS:{}:dlq-classifier", of("Cerebros-Dlq-Sequence")));
    }
}

#[tokio::test]
async fn a_request_no_worker_can_read_is_not_lost() {
    let house = House::open().await;
    let worker = house.worker(&["--slots", "1", "--preload", "noop"]).await;
    // Written with a schema that is registered a moment later: the classifier will find nothing wrong with it.
    let mut schema: Value = serde_json::from_str(Record::RunRequested.latest().text).unwrap();
    let more = json!({"name": "urgency", "doc": "d", "type": "int", "default": 0});
    schema["fields"].as_array_mut().unwrap().push(more);
    let fingerprint = shape::parse(&schema.to_string()).unwrap().fingerprint;
    let mut payload = codec::encode(&RunRequested::new("digits").into(), Encoding::Avro).unwrap();
    payload[2..10].copy_from_slice(&fingerprint.0);
    payload.push(14);
    let avro =
        async_nats::HeaderMap::from_iter([("Content-Type".parse().unwrap(), "application/avro".into())]);
    let (subject, body) = ("cerebros.nas.run.requested", payload.clone().into());
    let stored = house.broker.jetstream.publish_with_headers(subject, avro, body).await.unwrap();
    stored.await.unwrap();
    wait_until("the worker has settled it", PATIENCE, async || (house.unsettled().await == 0).then_some(()))
        .await;
    worker.stop().await;
    let bucket = house.broker.jetstream.get_key_value(SCHEMAS_BUCKET).await.unwrap();
    bucket.put(fingerprint.to_string(), schema.to_string().into()).await.unwrap();

    let letters = house.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].payload, payload);
    assert_eq!(letters[0].headers.get("Cerebros-Dlq-Class"), Some("schema_unknown"));
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
