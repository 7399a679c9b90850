//! A fault at every step of an attempt: whatever happens, one right end, said once, and nothing half done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bridge_worker::artifacts::Artifacts;
use bridge_worker::child::ChildSettings;
use bridge_worker::datasets::Datasets;
use bridge_worker::fault::{Fault, Faults};
use bridge_worker::fitness::Fitness;
use bridge_worker::gauges::Gauges;
use bridge_worker::in_hand::InHand;
use bridge_worker::invoker::{Invoker, Way};
use bridge_worker::plan::Allowed;
use bridge_worker::retry::RetryPolicy;
use bridge_worker::script::ScriptSettings;
use bridge_worker::slots::Slots;
use bridge_worker::steps::Step;
use bridge_worker::workdir::Workdirs;
use bridge_worker::worker::Worker;
use schemas::lifecycle::RunState;
use schemas::subject::STREAM;
use schemas::{Encoding, Event, Failure, FailureClass, Stage};
use serde_json::json;
use service_kit::config::Gates;
use service_kit::intake::Intake;
use service_kit::metrics::Metrics;
use service_kit::publish::Publisher;
use service_kit::shutdown::Shutdown;
use service_kit::topology::WORKER_CONSUMER;
use tokio_util::sync::CancellationToken;

use crate::house::{House, PATIENCE};

/// A hand-over that is not settled comes back this soon.
const ACK_WAIT: Duration = Duration::from_millis(700);

/// A worker in this process.
pub(crate) async fn worker(house: &House, id: &str, slots: Arc<Slots>, faults: Faults) -> Arc<Worker> {
    let root = house.scratch.join(id);
    Arc::new(Worker {
        id: id.into(),
        broker: house.broker.clone(),
        publisher: Publisher::new(&house.broker, Encoding::Json),
        registry: house.registry.clone(),
        slots,
        invoker: invoker(),
        artifacts: Artifacts::open(&house.broker).await.unwrap(),
        cache: None,
        datasets: Datasets::new(root.join("datasets"), root.join("fetched")),
        in_hand: InHand::open(&root).unwrap(),
        workdirs: Workdirs::under(root),
        retries: RetryPolicy { max_retries: 2, backoff: Duration::from_millis(20) },
        allowed: Allowed { entrypoints: vec!["searching:*".to_owned()], has_script: false },
        fitness: Fitness::proven(),
        last_word: CancellationToken::new(),
        gates: Gates::from_env_values(Some("true"), None, Some("ml_nas")).unwrap(),
        gauges: Gauges::new(&Metrics::new()),
        faults,
    })
}

/// Children, and nothing else.
fn invoker() -> Arc<Invoker> {
    let script = ScriptSettings {
        python: "none".into(),
        script: "none".into(),
        is_the_operators: false,
        limit: None,
        import_paths: Vec::new(),
        dataset_dir: None,
        threads: 1,
        limits: bridge_worker::limits::Limits::default(),
    };
    Invoker::new(Way::Pool, script, None)
}

pub(crate) async fn slots(house: &House) -> Arc<Slots> {
    Slots::new(1, settings(house).await)
}

/// How children of this test are started.
pub(crate) async fn settings(house: &House) -> ChildSettings {
    ChildSettings {
        python: testkit::trainer_python().await,
        runtime: bridge_worker::runtime::lay_out(&house.scratch.join("runtime")).unwrap(),
        preload: vec!["noop".to_owned()],
        dataset_dir: None,
        extra_paths: vec![testkit::workspace().join("python/tests/fixtures")],
        threads: 1,
        limits: bridge_worker::limits::Limits::default(),
    }
}

pub(crate) async fn shorten_ack_wait(house: &House) {
    set_ack_wait(house, ACK_WAIT).await;
}

/// Has the broker wait so long for a word about a request, as an operator would; workers leave it so.
pub(crate) async fn set_ack_wait(house: &House, ack_wait: Duration) {
    let stream = house.broker.jetstream.get_stream(STREAM).await.unwrap();
    let info = stream.consumer_info(WORKER_CONSUMER).await.unwrap();
    let mut config = service_kit::topology::consumers()
        .into_iter()
        .find(|config| config.durable_name.as_deref() == Some(WORKER_CONSUMER))
        .unwrap();
    assert_eq!(config.ack_wait, info.config.ack_wait);
    config.ack_wait = ack_wait;
    stream.update_consumer(config).await.unwrap();
}

/// Hands requests to `worker` until the run is over and its request settled.
pub(crate) async fn serve(house: &House, worker: &Arc<Worker>, run: &str) {
    let mut intake = Intake::new(&house.broker, WORKER_CONSUMER, 1);
    let shutdown = Shutdown::manual();
    let serving = async {
        loop {
            let delivery = tokio::time::timeout(Duration::from_millis(100), intake.next()).await;
            if let Ok(delivery) = delivery {
                worker.clone().take(delivery, shutdown.clone()).await;
            }
            let is_over = house.record(run).await.is_some_and(|record| record.state.is_final());
            if is_over && house.unsettled().await == 0 {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, serving).await.unwrap_or_else(|_| panic!("{run} does not end"));
}

/// One fault, at the first attempt only. Each attempt asks for the first step before and after it.
pub(crate) fn once(step: Step, fault: Fault) -> Faults {
    let asked = AtomicU32::new(0);
    Faults::new(move |at| {
        let is_first = at == Step::Gate;
        let before = asked.fetch_add(u32::from(is_first), Ordering::Relaxed);
        let attempts = (before - u32::from(!is_first)) / 2;
        (at == step && attempts == 0).then(|| fault.clone())
    })
}

fn noop(run: &str) -> serde_json::Value {
    json!({"run_id": run, "dataset_id": "digits", "trainer": "noop", "seed": 3, "budget": {"max_trials": 3}})
}

/// How often each kind of event was said.
async fn said(house: &House, run: &str) -> String {
    let mut counts = std::collections::BTreeMap::<&str, u32>::new();
    for event in house.events(run).await {
        let what = match event {
            Event::RunStarted(_) => "started",
            Event::RunCompleted(_) => "completed",
            Event::RunFailed(_) => "failed",
            Event::RunInterrupted(_) => "interrupted",
            Event::MlRunStarted(_) => "opened",
            Event::MlRunFinalized(_) => "closed",
            Event::TrialReported(_) => "trials",
            Event::RunRequested(_)
            | Event::RunCancelRequested(_)
            | Event::RunCancelled(_)
            | Event::MetricReported(_)
            | Event::RunException(_) => continue,
        };
        *counts.entry(what).or_default() += 1;
    }
    counts.iter().map(|(what, count)| format!("{what} {count}")).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn a_worker_that_dies_before_or_after_any_step_leaves_a_run_the_next_one_completes() {
    let house = House::open().await;
    shorten_ack_wait(&house).await;
    let slots = slots(&house).await;
    for step in Step::ALL {
        for (when, fault) in [("before", Fault::DieBefore), ("after", Fault::DieAfter)] {
            let run = format!("dies-{when}-{step:?}");
            let dying = worker(&house, &run, slots.clone(), once(step, fault)).await;
            house.request(noop(&run)).await;
            serve(&house, &dying, &run).await;
            let record = house.record(&run).await.unwrap();
            assert_eq!(record.state, RunState::Completed, "{run}");
            assert_eq!((record.completed_trials, record.failures), (3, 0), "{run}");
            let numbers: Vec<_> = house.trials(&run).await.iter().map(|trial| trial.number).collect();
            assert_eq!(numbers, [Some(0), Some(1), Some(2)], "{run}: each trial once");
            let said = said(&house, &run).await;
            let started = if said.contains("started 2") { 2 } else { 1 };
            assert_eq!(
                said,
                format!("closed 1, completed 1, opened 1, started {started}, trials 3"),
                "{run}"
            );
        }
    }
    slots.close().await;
}

#[tokio::test]
async fn a_step_that_cannot_be_done_undoes_what_was_done_and_says_the_right_end_once() {
    let house = House::open().await;
    shorten_ack_wait(&house).await;
    let slots = slots(&house).await;
    for step in [Step::Gate, Step::Claim, Step::Fence, Step::Announce, Step::Execute, Step::Check, Step::End]
    {
        let run = format!("fails-at-{step:?}");
        let failure = Failure::new(FailureClass::Dependency, Stage::Execute, "made to fail");
        let failing = worker(&house, &run, slots.clone(), once(step, Fault::Fail(failure))).await;
        house.request(noop(&run)).await;
        serve(&house, &failing, &run).await;
        let record = house.record(&run).await.unwrap();
        if step <= Step::Claim {
            // Nobody owned the run who could have said what became of it: the request came again.
            assert_eq!((record.state, record.attempt), (RunState::Completed, 1), "{run}");
            continue;
        }
        assert_eq!((record.state, record.failures, record.attempt), (RunState::Failed, 1, 1), "{run}");
        assert_eq!(record.failure.unwrap().message, "made to fail");
        let trials = if step > Step::Execute { ", trials 3" } else { "" };
        let expected = if step > Step::Announce {
            format!("closed 1, failed 1, opened 1, started 1{trials}")
        } else {
            "failed 1".to_owned()
        };
        assert_eq!(said(&house, &run).await, expected, "{run}");
    }
    slots.close().await;
}

#[tokio::test]
async fn an_outage_at_any_step_costs_an_interruption_and_nothing_else() {
    let house = House::open().await;
    let slots = slots(&house).await;
    for step in [Step::Fence, Step::Announce, Step::Execute, Step::Check, Step::End] {
        let run = format!("outage-at-{step:?}");
        let hindered = worker(&house, &run, slots.clone(), once(step, Fault::Outage)).await;
        house.request(noop(&run)).await;
        serve(&house, &hindered, &run).await;
        let record = house.record(&run).await.unwrap();
        assert_eq!((record.state, record.attempt), (RunState::Completed, 2), "{run}");
        assert_eq!((record.failures, record.interruptions, record.worker_losses), (0, 1, 0), "{run}");
        assert_eq!(house.trials(&run).await.len(), 3, "{run}");
    }
    slots.close().await;
}

#[tokio::test]
async fn files_of_a_run_that_failed_are_marked_until_a_retry_completes_it() {
    let house = House::open().await;
    let slots = slots(&house).await;
    let failure = Failure::new(FailureClass::Dependency, Stage::Execute, "made to fail");
    let failing = worker(&house, "failing", slots.clone(), once(Step::Check, Fault::Fail(failure))).await;
    let request = json!({"run_id": "files", "dataset_id": "digits", "trainer": "searching:leaves_a_file",
        "search_space": {"kind": ["good"], "score": {"low": 0.0, "high": 1.0}}, "seed": 3,
        "budget": {"max_trials": 3, "parallelism": 1}});
    house.request(request.clone()).await;
    serve(&house, &failing, "files").await;
    let store = house.broker.jetstream.get_object_store("cerebros_artifacts").await.unwrap();
    let best = house.record("files").await.unwrap().best_trial_id.unwrap();
    let state = async || {
        let info = store.info(format!("files/{best}/model.bin")).await.unwrap();
        info.description
    };
    assert_eq!(state().await.as_deref(), Some("of a run that ended as failed"));
    // A file of a trial whose event was never said, as a worker that was lost leaves it.
    store.put("files/files-t00099/model.bin", &mut &b"half"[..]).await.unwrap();
    house.request(request).await;
    serve(&house, &failing, "files").await;
    assert_eq!(house.record("files").await.unwrap().state, RunState::Completed);
    assert_eq!(state().await, None, "a run that completed has files like any other");
    let half = store.info("files/files-t00099/model.bin").await;
    assert!(half.map_or(true, |info| info.deleted), "what no trial tells of is gone");
    slots.close().await;
}

#[tokio::test]
async fn a_registry_that_was_emptied_learns_from_the_fence_which_attempts_there_were() {
    let house = House::open().await;
    shorten_ack_wait(&house).await;
    let slots = slots(&house).await;
    let run = schemas::RunId::parse("forgotten").unwrap();
    service_kit::fence::Fence::new(&house.broker, &run, 7).raise().await.unwrap();
    let worker = worker(&house, "worker", slots.clone(), Faults::default()).await;
    house.request(noop("forgotten")).await;
    serve(&house, &worker, "forgotten").await;
    let record = house.record("forgotten").await.unwrap();
    assert_eq!((record.state, record.completed_trials), (RunState::Completed, 3));
    assert!(record.attempt > 7, "{}", record.attempt);
    slots.close().await;
}
