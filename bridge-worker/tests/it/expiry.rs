//! Requests that say until when they are wanted: refused when they are taken too late, and never once they have begun.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use bridge_worker::fault::{Fault, Faults};
use bridge_worker::steps::Step;
use bridge_worker::worker::Worker;
use schemas::event::TrialStatus;
use schemas::lifecycle::RunState;
use schemas::{Event, FailureClass, Timestamp};
use serde_json::{Value, json};
use service_kit::clock;
use service_kit::history::Kept;
use service_kit::intake::Intake;
use service_kit::shutdown::Shutdown;
use service_kit::topology::{CLASSIFIER_CONSUMER, WORKER_CONSUMER};
use testkit::wait_until;

use crate::house::{ALL, House, PATIENCE};
use crate::steps::{once, serve, shorten_ack_wait, slots, worker};
use crate::tries::request;

const REQUESTED: &str = "cerebros.nas.run.requested";
const PAST: &str = "2026-01-31T12:00:00Z";
const WITH_SEARCHES: [&str; 4] = ["--slots", "1", "--allow-entrypoint", "searching:*"];
/// What a worker that waits for requests takes to take one, on a busy machine.
const SOON: Duration = Duration::from_secs(8);

fn after(wait: Duration) -> Timestamp {
    Timestamp::from_micros(clock::now().micros() + i64::try_from(wait.as_micros()).unwrap())
}

fn noop(run: &str) -> Value {
    json!({"run_id": run, "dataset_id": "digits", "trainer": "noop", "budget": {"max_trials": 2}})
}

/// Publishes a request that is wanted until then.
async fn ask(house: &House, body: &Value, expires: &str) {
    let headers = HeaderMap::from_iter([("ce-expirytime".parse().unwrap(), expires.into())]);
    let jetstream = &house.broker.jetstream;
    let sent = jetstream.publish_with_headers(REQUESTED, headers, body.to_string().into()).await.unwrap();
    sent.await.unwrap();
}

async fn all_settled(house: &House) {
    wait_until("every request is settled", PATIENCE, async || (house.unsettled().await == 0).then_some(()))
        .await;
}

async fn passed(expires: Timestamp) {
    wait_until("the time has passed", PATIENCE, async || (clock::now() > expires).then_some(())).await;
}

fn verdict(letter: &Kept) -> [&str; 4] {
    ["Class", "Stage", "Consumer", "Run"]
        .map(|name| letter.headers.get(&format!("Cerebros-Dlq-{name}")).unwrap_or("none"))
}

#[tokio::test]
async fn a_request_that_is_taken_too_late_fails_its_run_and_becomes_one_dead_letter() {
    let house = House::open().await;
    ask(&house, &noop("late"), PAST).await;
    let envelope = json!({"specversion": "1.0", "type": REQUESTED, "source": "/me", "id": "1",
        "expirytime": PAST, "data": noop("enveloped")});
    let mode =
        HeaderMap::from_iter([("Content-Type".parse().unwrap(), "application/cloudevents+json".into())]);
    house.broker.client.publish_with_headers(REQUESTED, mode, envelope.to_string().into()).await.unwrap();
    let worker = house.worker(&["--slots", "1", "--preload", "noop"]).await;
    for run in ["late", "enveloped"] {
        let record = house.ended(run).await;
        assert_eq!((record.state, record.ended_by.as_deref()), (RunState::Failed, Some("expired")));
        let events = house.events(run).await;
        let [Event::RunRequested(_), Event::RunFailed(end)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((end.failure.class, end.attempt, end.completed_trials), (FailureClass::Expired, 1, 0));
        for words in ["ce-expirytime", PAST, "passed by", "replay", "producer retry"] {
            assert!(end.failure.message.contains(words), "{words}: {}", end.failure.message);
        }
    }
    all_settled(&house).await;
    let mut letters = house.dead_letters().await;
    letters.sort_by_key(|letter| letter.headers.get("ce-expirytime").is_none());
    let expected = ["late", "enveloped"].map(|run| ["expired", "validate", WORKER_CONSUMER, run]);
    assert_eq!(letters.iter().map(verdict).collect::<Vec<_>>(), expected);
    assert_eq!(letters[0].headers.get("ce-expirytime"), Some(PAST), "as it was");
    assert_eq!(letters[1].payload, envelope.to_string());
    worker.stop().await;
}

#[tokio::test]
async fn a_run_that_expired_is_asked_for_again_and_each_asking_has_a_time_of_its_own() {
    let house = House::open().await;
    let worker = house.worker(&["--slots", "1", "--preload", "noop"]).await;
    ask(&house, &noop("again"), PAST).await;
    assert_eq!(house.ended("again").await.attempt, 1);
    ask(&house, &noop("again"), PAST).await;
    wait_until("it is refused again", PATIENCE, async || {
        house.record("again").await.filter(|record| record.attempt == 2 && record.state.is_final())
    })
    .await;
    ask(&house, &noop("again"), &after(PATIENCE).to_string()).await;
    let record = wait_until("it runs", PATIENCE, async || {
        house.record("again").await.filter(|record| record.attempt == 3 && record.state.is_final())
    })
    .await;
    assert_eq!((record.state, record.completed_trials), (RunState::Completed, 2));
    all_settled(&house).await;
    assert_eq!(house.dead_letters().await.len(), 2);
    worker.stop().await;
}

#[tokio::test]
async fn a_retry_that_is_taken_too_late_costs_a_completed_run_none_of_its_results() {
    let house = House::open().await;
    let worker = house.worker(&WITH_SEARCHES).await;
    let space = json!({"kind": ["bad", "good"], "x": {"low": 0.0, "high": 1.0}});
    let body = request("kept", "fails_if_told", space, json!({"max_trials": 6}));
    house.request(body.clone()).await;
    let first = house.ended("kept").await;
    assert_eq!(first.state, RunState::Completed);
    let good = first.completed_trials - first.failed_trials;
    assert!(good > 0 && first.failed_trials > 0, "the seed draws both kinds");
    let retry = HeaderMap::from_iter([
        ("Cerebros-Retry".parse().unwrap(), "failed".into()),
        ("ce-expirytime".parse().unwrap(), PAST.into()),
    ]);
    house.broker.client.publish_with_headers(REQUESTED, retry, body.to_string().into()).await.unwrap();
    let ended = async |attempt| {
        wait_until(&format!("attempt {attempt} ended"), PATIENCE, async || {
            house.record("kept").await.filter(|record| record.attempt == attempt && record.state.is_final())
        })
        .await
    };
    let late = ended(2).await;
    assert_eq!((late.state, late.ended_by.as_deref()), (RunState::Failed, Some("expired")));
    assert_eq!(late.completed_trials, good);
    house.request(body).await;
    let again = ended(3).await;
    assert_eq!((again.state, again.completed_trials), (RunState::Completed, first.completed_trials));
    let trials = house.trials("kept").await;
    let succeeded = trials.iter().filter(|trial| trial.status == TrialStatus::Succeeded).count();
    assert_eq!(succeeded, good as usize, "none of them was trained again");
    worker.stop().await;
}

#[tokio::test]
async fn a_request_that_is_taken_in_time_runs_and_what_a_fact_says_of_its_time_is_nobody_s_business() {
    let house = House::open().await;
    let worker = house.worker(&WITH_SEARCHES).await;
    ask(&house, &noop("in-time"), &after(PATIENCE).to_string()).await;
    assert_eq!(house.ended("in-time").await.state, RunState::Completed);
    house.request(request("next", "sleeps", json!({"seconds": [600]}), json!({"max_trials": 1}))).await;
    house.training("next").await;
    let headers = HeaderMap::from_iter([("ce-expirytime".parse().unwrap(), "long ago".into())]);
    let cancel = json!({"run_id": "next"}).to_string();
    let subject = "cerebros.nas.run.cancel_requested";
    house.broker.client.publish_with_headers(subject, headers, cancel.into()).await.unwrap();
    assert_eq!(house.ended("next").await.state, RunState::Cancelled);
    all_settled(&house).await;
    assert!(house.dead_letters().await.is_empty());
    worker.stop().await;
}

#[tokio::test]
async fn a_run_that_began_in_time_goes_on_after_an_interruption_and_a_lost_worker_though_its_time_has_passed()
{
    let house = House::open().await;
    let first = house.worker(&WITH_SEARCHES).await;
    // A run of before: the worker takes requests.
    house.request(noop("before")).await;
    house.ended("before").await;
    let expires = after(SOON);
    let space = json!({"seconds": [0.01], "x": {"low": 0.0, "high": 1.0}, "free": [house.held()]});
    let body = request("begun", "sleeps", space, json!({"max_trials": 15, "parallelism": 1}));
    house.free(1);
    ask(&house, &body, &expires.to_string()).await;
    house.trained("begun", 1).await;
    first.stop_held(&house, 2).await;
    assert_eq!(house.record("begun").await.unwrap().state, RunState::Interrupted);
    passed(expires).await;
    let second = house.worker(&WITH_SEARCHES).await;
    wait_until("the second trains", PATIENCE, async || {
        house.record("begun").await.filter(|record| record.attempt == 2 && record.running_trials > 0)
    })
    .await;
    second.kill_hard().await;
    house.free(ALL);
    let third = house.worker(&WITH_SEARCHES).await;
    let record = house.ended("begun").await;
    assert_eq!((record.state, record.attempt, record.completed_trials), (RunState::Completed, 3, 15));
    assert_eq!((record.interruptions, record.worker_losses), (1, 1));
    assert!(house.dead_letters().await.is_empty());
    third.stop().await;
}

/// Hands one request to a worker that meets its fault.
async fn hand_over_once(house: &House, worker: &Arc<Worker>) {
    let mut intake = Intake::new(&house.broker, WORKER_CONSUMER, 1);
    let delivery = tokio::time::timeout(PATIENCE, intake.next()).await.expect("the request comes");
    worker.clone().take(delivery, Shutdown::manual()).await;
}

#[tokio::test]
async fn a_late_request_is_refused_once_also_when_the_worker_that_took_it_dies() {
    let house = House::open().await;
    shorten_ack_wait(&house).await;
    let slots = slots(&house).await;
    for (step, fault) in [(Step::Claim, Fault::DieAfter), (Step::Settle, Fault::DieBefore)] {
        let run = format!("dies-at-{step:?}");
        let before = house.dead_letters().await.len();
        let dying = worker(&house, &run, slots.clone(), once(step, fault)).await;
        ask(&house, &noop(&run), PAST).await;
        serve(&house, &dying, &run).await;
        let record = house.record(&run).await.unwrap();
        assert_eq!((record.state, record.ended_by.as_deref()), (RunState::Failed, Some("expired")), "{run}");
        let ends = house.events(&run).await.into_iter().filter(Event::is_terminal).count();
        assert_eq!((ends, house.dead_letters().await.len()), (1, before + 1), "{run}");
    }
    slots.close().await;
}

#[tokio::test]
async fn a_refusal_that_was_said_and_not_written_down_is_written_down_and_becomes_one_dead_letter() {
    let house = House::open().await;
    shorten_ack_wait(&house).await;
    let slots = slots(&house).await;
    let dying = worker(&house, "w", slots.clone(), once(Step::Claim, Fault::DieAfter)).await;
    ask(&house, &noop("said"), PAST).await;
    hand_over_once(&house, &dying).await;
    let failure = json!({"class": "expired", "stage": "validate", "message": "too late", "retryable": false});
    let end = json!({"run_id": "said", "attempt": 1, "failure": failure});
    house.publish_plain("cerebros.nas.run.failed", end.to_string()).await;
    serve(&house, &dying, "said").await;
    assert_eq!(house.record("said").await.unwrap().state, RunState::Failed);
    assert_eq!(house.events("said").await.into_iter().filter(Event::is_terminal).count(), 1);
    let letters = house.dead_letters().await;
    assert_eq!(
        letters.iter().map(verdict).collect::<Vec<_>>(),
        [["expired", "validate", WORKER_CONSUMER, "said"]]
    );
    slots.close().await;
}

#[tokio::test]
async fn a_run_that_began_in_time_goes_on_though_the_registry_has_forgotten_it_and_its_time_has_passed() {
    let house = House::open().await;
    shorten_ack_wait(&house).await;
    let slots = slots(&house).await;
    let dying = worker(&house, "w", slots.clone(), once(Step::Announce, Fault::DieAfter)).await;
    let expires = after(SOON);
    ask(&house, &noop("forgotten"), &expires.to_string()).await;
    hand_over_once(&house, &dying).await;
    let bucket = house.broker.jetstream.get_key_value("cerebros_runs").await.unwrap();
    bucket.purge("forgotten").await.unwrap();
    passed(expires).await;
    let next = worker(&house, "next", slots.clone(), Faults::default()).await;
    serve(&house, &next, "forgotten").await;
    assert_eq!(house.record("forgotten").await.unwrap().state, RunState::Completed);
    assert!(house.dead_letters().await.is_empty());
    slots.close().await;
}

#[tokio::test]
async fn a_time_that_is_none_makes_the_request_the_classifier_s_dead_letter() {
    let house = House::open().await;
    let worker = house.worker(&["--slots", "1", "--preload", "noop"]).await;
    ask(&house, &noop("malformed"), "in an hour").await;
    all_settled(&house).await;
    let letters = house.dead_letters().await;
    let expected = [["validation", "decode", CLASSIFIER_CONSUMER, "malformed"]];
    assert_eq!(letters.iter().map(verdict).collect::<Vec<_>>(), expected);
    let reason = letters[0].headers.get("Cerebros-Dlq-Reason").unwrap();
    assert!(reason.contains("ce-expirytime") && reason.contains("\"in an hour\""), "{reason}");
    assert!(house.record("malformed").await.is_none(), "nobody took it");
    worker.stop().await;
}
