//! Events that can be read and cannot be, beside what came before them.

use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::PullConsumer;
use futures_util::StreamExt as _;
use schemas::event::RunRequested;
use schemas::subject::STREAM;
use schemas::{RunId, Timestamp};
use service_kit::registry::Registry;
use service_kit::registry::record::{self, Claimant};
use service_kit::topology::{ACK_WAIT, CLASSIFIER_CONSUMER};
use testkit::wait_until;

use crate::corpus::semantic;
use crate::outage::without_letters;
use crate::room::{PATIENCE, Room, next, text};

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
    let serving = room.serve_with(&["--unknown-run-after", "5s"]);
    // Its start is not to take up the time in which the trial waits.
    serving.is_ready().await;
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
async fn a_trial_waits_for_the_announcement_of_its_run_that_somebody_else_has_in_hand() {
    const TRIALS: usize = 50;
    let room = Room::new().await;
    room.announce("r").await;
    // A classifier that was killed has it until its lease runs out.
    let consumer: PullConsumer =
        room.broker.jetstream.get_consumer_from_stream(CLASSIFIER_CONSUMER, STREAM).await.unwrap();
    room.lease(&consumer, PATIENCE).await;
    let announcement = next(&consumer).await;
    for attempt in 1..=u32::try_from(TRIALS).unwrap() {
        room.publish("ml.run.trial", &[], trial("r", attempt).as_bytes()).await;
    }
    room.publish("ml.run.trial", &[], trial("nowhere", 1).as_bytes()).await;
    let _serving = room.serve_with(&SOON);
    let entries = room.entries(1).await;
    assert_eq!(text(&entries[0], "run_id"), "nowhere", "it holds up nobody else");
    wait_until("only what is of that run is left", PATIENCE, async || {
        (room.waiting(CLASSIFIER_CONSUMER).await == (0, TRIALS + 1)).then_some(())
    })
    .await;
    announcement.ack_with(AckKind::Nak(None)).await.unwrap();
    room.settled().await;
    assert_eq!(room.kept().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_backlog_the_announcement_counts_that_came_in_time_whoever_is_judged_first() {
    let room = Room::new().await;
    room.publish("ml.run.trial", &[], trial("r", 1).as_bytes()).await;
    room.announce("r").await;
    let _serving = room.serve_with(&["--unknown-run-after", "50ms"]);
    room.settled().await;
    assert_eq!(room.kept().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_ends_the_second_dies_also_when_it_was_judged_first() {
    let room = Room::new().await;
    claim(&room, "r", 1).await;
    room.publish("cerebros.nas.run.completed", &[], completed("r", 1).as_bytes()).await;
    let consumer: PullConsumer =
        room.broker.jetstream.get_consumer_from_stream(CLASSIFIER_CONSUMER, STREAM).await.unwrap();
    room.lease(&consumer, PATIENCE).await;
    let first = next(&consumer).await;
    room.publish("cerebros.nas.run.completed", &[], completed("r", 1).as_bytes()).await;
    let _serving = room.serve_with(&SOON);
    wait_until("the second was judged", PATIENCE, async || {
        (room.waiting(CLASSIFIER_CONSUMER).await == (0, 1)).then_some(())
    })
    .await;
    first.ack_with(AckKind::Nak(None)).await.unwrap();
    let entries = room.entries(1).await;
    assert_eq!(entries[0]["seq"].as_u64(), Some(2), "{}", entries[0]);
    assert!(text(&entries[0], "reason").contains("had ended with message 1 already"), "{}", entries[0]);
    room.settled().await;
    assert_eq!(room.explained().await["dead"].as_u64(), Some(1));
    // From now on the first counts.
    room.publish("cerebros.nas.run.completed", &[], completed("r", 1).as_bytes()).await;
    let entries = room.entries(2).await;
    assert!(text(&entries[1], "reason").contains("had ended with message 1 already"), "{}", entries[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_hand_at_a_drain_is_handed_back_at_once() {
    // More than wait for their letters.
    const MALFORMED: usize = 60;
    let room = Room::new().await;
    let serving = room.serve();
    serving.is_ready().await;
    // A letter that nobody confirms holds up those behind it.
    without_letters(&room).await;
    for number in 0..MALFORMED {
        room.stranger.publish("ml.run.trial", format!("{{ {number}").into()).await.unwrap();
    }
    room.stranger.flush().await.unwrap();
    wait_until("all of them are in its hand", PATIENCE, async || {
        (room.waiting(CLASSIFIER_CONSUMER).await == (0, MALFORMED)).then_some(())
    })
    .await;
    serving.stop().await;

    let consumer: PullConsumer =
        room.broker.jetstream.get_consumer_from_stream(CLASSIFIER_CONSUMER, STREAM).await.unwrap();
    let successor = consumer.batch().max_messages(MALFORMED).expires(ACK_WAIT / 2).messages().await.unwrap();
    let came = successor.filter(|message| std::future::ready(message.is_ok())).count().await;
    assert_eq!(came, MALFORMED, "long before their leases run out");
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
    let groups = wait_until("there are 500 entries", Duration::from_secs(180), async || {
        let groups = room.json(&["groups"]).await.as_array().unwrap().clone();
        let count: u64 = groups.iter().map(|group| group["count"].as_u64().unwrap()).sum();
        (count == 500).then_some(groups)
    })
    .await;
    assert_eq!(groups.len(), 3, "{groups:#?}");
}
