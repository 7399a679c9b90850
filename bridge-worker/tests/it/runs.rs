//! Runs that go well, and runs that are told to end.

use schemas::event::TrialStatus;
use schemas::lifecycle::{Lifecycle, RunState};
use schemas::{Encoding, Event, RunId};
use serde_json::json;
use service_kit::publish::{Publisher, Voice};
use testkit::wait_until;

use crate::house::{House, PATIENCE, PROMISED, cancelled, least};

const SMALL: &str = r#"{"run_id": "small", "dataset_id": "iris", "search_space": {"layers": [8], "activation": ["relu"], "epochs": 3},
    "budget": {"max_trials": 3, "population_size": 2}, "seed": 7}"#;

#[tokio::test]
async fn a_bare_request_by_hand_is_trained_and_every_trial_comes_out_as_an_event() {
    let house = House::open().await;
    let _worker = house.worker(&["--slots", "2", "--preload", "mlp"]).await;
    house.publish_plain("cerebros.nas.run.requested", SMALL).await;
    let record = house.ended("small").await;
    assert_eq!(record.state, RunState::Completed);
    assert_eq!((record.completed_trials, record.failed_trials, record.attempt), (3, 0, 1));

    let events = house.events("small").await;
    let mut life = Lifecycle::default();
    events.iter().for_each(|event| life.apply(event).unwrap());
    assert_eq!(life.state(), RunState::Completed);
    let trials = house.trials("small").await;
    assert_eq!(trials.len(), 3);
    for trial in &trials {
        assert_eq!(trial.status, TrialStatus::Succeeded);
        assert!(trial.metrics["accuracy"].0 > 0.2, "{:?}", trial.metrics);
        assert!(trial.spectral_norm_value.is_some_and(|value| value.0 > 0.0));
        let metrics = events.iter().filter(
            |event| matches!(event, Event::MetricReported(metric) if metric.trial_id == trial.trial_id),
        );
        assert!(metrics.count() >= 3);
    }
    let Some(Event::RunCompleted(end)) = events.last() else { panic!("{events:?}") };
    let best =
        trials.iter().max_by(|a, b| a.metrics["accuracy"].0.total_cmp(&b.metrics["accuracy"].0)).unwrap();
    assert_eq!(end.best_metric.unwrap(), best.metrics["accuracy"]);
    // The end is written into the registry first.
    wait_until("the request is settled", PATIENCE, async || (house.unsettled().await == 0).then_some(()))
        .await;
}

#[tokio::test]
async fn the_best_model_lies_in_the_object_store_with_its_checksum() {
    use sha2::{Digest as _, Sha256};
    use tokio::io::AsyncReadExt as _;
    let house = House::open().await;
    let _worker = house.worker(&["--slots", "1"]).await;
    house.publish_plain("cerebros.nas.run.requested", SMALL).await;
    house.ended("small").await;
    let Some(Event::RunCompleted(end)) = house.events("small").await.pop() else { panic!("not completed") };
    let file = end.artifact_refs.first().expect("the best trial left its model");
    let object = file.uri.strip_prefix("nats://cerebros_artifacts/").unwrap();
    let store = house.broker.jetstream.get_object_store("cerebros_artifacts").await.unwrap();
    let mut content = Vec::new();
    store.get(object).await.unwrap().read_to_end(&mut content).await.unwrap();
    let digest: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(file.checksum.as_deref(), Some(format!("sha256:{digest}").as_str()));
}

#[tokio::test]
async fn a_request_without_a_run_id_gets_the_one_derived_from_its_place_in_the_stream() {
    let house = House::open().await;
    let _worker = house.worker(&["--slots", "1", "--preload", "noop"]).await;
    house.request(json!({"dataset_id": "digits", "trainer": "noop", "budget": {"max_trials": 1}})).await;
    let records = wait_until("the run is in the registry", crate::house::PATIENCE, async || {
        let records = house.registry.all().await.unwrap();
        records.iter().any(|record| record.state.is_final()).then_some(records)
    })
    .await;
    assert_eq!(records.len(), 1);
    let millis = u64::try_from(records[0].requested_at.millis()).unwrap();
    assert_eq!(records[0].run_id, RunId::derive("CEREBROS", 1, millis));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_trials_on_one_slot_and_on_two() {
    let house = House::open().await;
    let body = |run: &str| {
        json!({"run_id": run, "dataset_id": "digits", "trainer": "noop", "seed": 3,
        "search_space": {"x": {"low": 0.0, "high": 1.0}}, "budget": {"max_trials": 30, "population_size": 5}})
    };
    let one = house.worker(&["--slots", "1", "--preload", "noop"]).await;
    house.request(body("one")).await;
    house.ended("one").await;
    one.stop().await;
    let _two = house.worker(&["--slots", "2", "--preload", "noop"]).await;
    house.request(body("two")).await;
    house.ended("two").await;
    let told = |trials: Vec<schemas::event::TrialReported>| -> Vec<_> {
        trials.into_iter().map(|trial| (trial.number, trial.parameters, trial.metrics, trial.seed)).collect()
    };
    assert_eq!(told(house.trials("one").await), told(house.trials("two").await));
    assert_eq!(house.trials("two").await.len(), 30);
}

#[tokio::test]
async fn a_cancel_stops_a_training_run_within_two_seconds() {
    let house = House::open().await;
    let _worker = house.worker(&["--slots", "1", "--allow-entrypoint", "faulty_trainers:*"]).await;
    let took = least(PROMISED, async |number| {
        let run = format!("long-{number}");
        house.request(json!({"run_id": run, "dataset_id": "digits", "trainer": "faulty_trainers:hangs_with_signals_blocked",
            "search_space": {"x": [1, 2]}, "budget": {"max_trials": 2, "parallelism": 1}})).await;
        house.training(&run).await;
        let (took, record) = cancelled(&house, &run).await;
        assert_eq!(record.state, RunState::Cancelled);
        let Some(Event::RunCancelled(end)) = house.events(&run).await.pop() else { panic!("not cancelled") };
        assert_eq!(end.reason.as_deref(), Some("enough"));
        took
    })
    .await;
    assert!(took < PROMISED, "{took:?}");
}

#[tokio::test]
async fn a_run_cancelled_before_a_worker_takes_it_never_trains() {
    let house = House::open().await;
    house.publish_plain("cerebros.nas.run.requested", SMALL).await;
    house.publish_plain("cerebros.nas.run.cancel_requested", r#"{"run_id": "small"}"#).await;
    // The cancel must be known before the request is taken: no slot is free until Python is warm, but cancels are
    // read at once; to be sure, it is written here as a worker would.
    let run = RunId::parse("small").unwrap();
    let now = service_kit::clock::now();
    house
        .registry
        .change(&run, |known| (service_kit::registry::record::request_cancel(known, &run, "early", now), ()))
        .await
        .unwrap();
    let _worker = house.worker(&["--slots", "1"]).await;
    assert_eq!(house.ended("small").await.state, RunState::Cancelled);
    assert!(house.trials("small").await.is_empty());
}

#[tokio::test]
async fn a_budget_of_seconds_ends_the_run_and_what_is_under_way() {
    let house = House::open().await;
    let _worker = house.worker(&["--slots", "2", "--allow-entrypoint", "faulty_trainers:*"]).await;
    house
        .request(
            json!({"run_id": "slow", "dataset_id": "digits", "trainer": "faulty_trainers:sleeps_in_slices",
        "search_space": {"seconds": [60]}, "budget": {"max_trials": 4, "max_seconds": 1.5}}),
        )
        .await;
    let record = house.ended("slow").await;
    assert_eq!((record.state, record.ended_by.as_deref()), (RunState::Failed, Some("max_seconds")));
    assert!(house.trials("slow").await.iter().all(|trial| trial.status == TrialStatus::Cancelled));
}

#[tokio::test]
async fn an_avro_request_is_understood_like_a_json_one() {
    let house = House::open().await;
    let _worker = house.worker(&["--slots", "1", "--preload", "noop", "--encoding", "avro"]).await;
    let Ok(decoded) = schemas::codec::decode(
        "cerebros.nas.run.requested",
        &Default::default(),
        br#"{"run_id": "avro", "dataset_id": "digits", "trainer": "noop", "budget": {"max_trials": 2}}"#,
    ) else {
        panic!("valid")
    };
    let publisher = Publisher::new(&house.broker, Encoding::Avro);
    let voice = Voice::outside(RunId::parse("avro").unwrap(), Default::default());
    publisher.publish(&decoded.event, &voice).await.unwrap();
    assert_eq!(house.ended("avro").await.completed_trials, 2);
    assert_eq!(house.trials("avro").await.len(), 2);
}
