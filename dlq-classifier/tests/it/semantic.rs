//! Events that can be read and cannot be, beside what came before them.

use std::time::Duration;

use schemas::event::RunRequested;
use schemas::{RunId, Timestamp};
use service_kit::registry::Registry;
use service_kit::registry::record::{self, Claimant};
use service_kit::topology::CLASSIFIER_CONSUMER;
use testkit::wait_until;

use crate::corpus::semantic;
use crate::room::{PATIENCE, Room, text};

/// Soon enough for a test.
const SOON: [&str; 2] = ["--unknown-run-after", "300ms"];

fn trial(run: &str, attempt: u32) -> String {
    format!(r#"{{"trial_id":"t{attempt}","run_id":"{run}","status":"succeeded","attempt":{attempt}}}"#)
}

fn completed(run: &str, attempt: u32) -> String {
    format!(r#"{{"run_id":"{run}","attempt":{attempt},"status":"succeeded"}}"#)
}

/// Has the registry hand out the next attempt of a run.
pub(crate) async fn claim(room: &Room, run: &str, sequence: u64) {
    let registry = Registry::open(&room.broker).await.unwrap();
    let (run, request) = (RunId::parse(run).unwrap(), RunRequested::new("digits"));
    let claimant = Claimant {
        run_id: &run,
        request: &request,
        sequence,
        delivery: 1,
        is_retry_of_failed: false,
        is_owner_gone: true,
        requested_at: Timestamp::default(),
        worker_id: "w",
    };
    let change = |known: Option<&record::RunRecord>| record::claim(known, &claimant, Timestamp::default());
    registry.change(&run, change).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_semantic_corpus_is_classified_without_a_mistake() {
    let room = Room::new().await;
    let _serving = room.serve_with(&SOON);
    let corpus = semantic();
    for (number, case) in corpus.iter().enumerate() {
        let run = format!("run-{number}");
        for (subject, payload) in case.before(&run) {
            room.publish(&subject, &[], payload.as_bytes()).await;
        }
        room.publish(&case.subject, &[], case.payload(&run).as_bytes()).await;
    }
    let entries = room.entries(corpus.len()).await;
    room.settled().await;
    assert_eq!(room.kept().await, corpus.len() as u64, "what comes before is in order");
    for (number, case) in corpus.iter().enumerate() {
        let run = format!("run-{number}");
        let entry = entries.iter().find(|entry| text(entry, "run_id") == run).expect(&case.name);
        assert_eq!((text(entry, "class"), text(entry, "stage")), ("validation", "validate"), "{}", case.name);
        assert_eq!(text(entry, "subject"), case.subject, "{}", case.name);
        let reason = text(entry, "reason");
        assert!(case.says.iter().all(|words| reason.contains(words.as_str())), "{}: {reason}", case.name);
    }
    let groups = room.json(&["groups"]).await;
    assert_eq!(
        groups.as_array().unwrap().len(),
        4,
        "trials and values of unknown runs, attempts, ends: {groups:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_says_which_attempts_there_were_also_to_a_classifier_that_has_just_begun() {
    let room = Room::new().await;
    claim(&room, "r", 1).await;
    room.publish("ml.run.trial", &[], trial("r", 1).as_bytes()).await;
    room.publish(
        "cerebros.nas.run.completed",
        &[("Nats-Msg-Id", "r:1:completed::")],
        completed("r", 1).as_bytes(),
    )
    .await;
    let serving = room.serve_with(&SOON);
    room.settled().await;
    serving.stop().await;

    let _again = room.serve_with(&SOON);
    room.publish("ml.run.trial", &[], trial("r", 2).as_bytes()).await;
    room.publish("cerebros.nas.run.completed", &[], completed("r", 1).as_bytes()).await;
    let mut entries = room.entries(2).await;
    // A message that came again is judged later than the one behind it.
    entries.sort_by_key(|entry| entry["seq"].as_u64());
    assert!(text(&entries[0], "reason").contains("attempt 2 of run"), "{}", entries[0]);
    assert!(text(&entries[1], "reason").contains("second terminal event"), "{}", entries[1]);
    // Once the attempt was handed out, the same is in order.
    claim(&room, "r", 9).await;
    room.publish("ml.run.trial", &[], trial("r", 2).as_bytes()).await;
    room.publish("cerebros.nas.run.completed", &[], completed("r", 2).as_bytes()).await;
    room.settled().await;
    assert_eq!(room.kept().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_that_overtook_the_announcement_of_its_run_is_in_order() {
    let room = Room::new().await;
    let _serving = room.serve_with(&["--unknown-run-after", "2s"]);
    room.publish("ml.run.trial", &[], trial("late", 1).as_bytes()).await;
    wait_until("it waits for its run", PATIENCE, async || {
        (room.waiting(CLASSIFIER_CONSUMER).await == (0, 1)).then_some(())
    })
    .await;
    room.announce("late").await;
    room.settled().await;
    assert_eq!(room.kept().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_outlives_the_classifier_that_heard_it() {
    let room = Room::new().await;
    let serving = room.serve_with(&SOON);
    room.announce("elsewhere").await;
    room.settled().await;
    serving.stop().await;
    let _again = room.serve_with(&SOON);
    room.publish("ml.run.trial", &[], trial("elsewhere", 1).as_bytes()).await;
    room.settled().await;
    assert_eq!(room.kept().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_failures_of_three_causes_are_three_groups() {
    let room = Room::new().await;
    let _serving = room.serve_with(&SOON);
    for number in 0..500 {
        let (subject, payload) = match number % 3 {
            0 => ("ml.run.trial", trial(&format!("unknown-{number}"), 1)),
            1 => (
                "cerebros.nas.run.requested",
                format!(r#"{{"dataset_id":"d{number}","budget":{{"max_trials":"n{number}"}}}}"#),
            ),
            _ => (
                "ml.run.metric",
                format!(r#"{{"run_id":"r{number}","trial_id":"t","name":"loss","value":{number}}}"#),
            ),
        };
        room.stranger.publish(subject, payload.into()).await.unwrap();
    }
    room.stranger.flush().await.unwrap();
    let groups = wait_until("there are 500 entries", Duration::from_secs(60), async || {
        let groups = room.json(&["groups"]).await.as_array().unwrap().clone();
        let count: u64 = groups.iter().map(|group| group["count"].as_u64().unwrap()).sum();
        (count == 500).then_some(groups)
    })
    .await;
    assert_eq!(groups.len(), 3, "{groups:#?}");
}
