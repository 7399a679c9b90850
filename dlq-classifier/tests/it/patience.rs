//! A list that is longer than what its reader takes at once.

use schemas::cloudevents::Headers;
use schemas::dead_letter::{Place, Verdict};
use schemas::{Failure, FailureClass, Stage, Timestamp};
use serde_json::Value;
use service_kit::publish::{Outgoing, send, to_header_map};
use testkit::wait_until;
use tokio::io::AsyncReadExt as _;
use tokio::process::Child;

use crate::room::{PATIENCE, Room};
use crate::tasks::signal;

/// So many lines fill a pipe several times.
const LETTERS: usize = 800;

/// So many of them are a page where two read, and more than one reading fills a pipe.
const PAGE: usize = 50;

async fn with_many_letters() -> Room {
    let room = Room::new().await;
    for sequence in 1..=LETTERS as u64 {
        keep(&room, sequence, &"not JSON: ".repeat(10), true).await;
    }
    room
}

/// Keeps a letter of a message; one the broker knows by its message id is not kept again.
pub(crate) async fn keep(room: &Room, sequence: u64, reason: &str, is_known: bool) {
    let place = Place {
        stream: "CEREBROS".to_owned(),
        sequence,
        consumer: "dlq-classifier".to_owned(),
        subject: "ml.run.trial".to_owned(),
        deliveries: 1,
        first_seen: Timestamp::default(),
    };
    let failure = Failure::new(FailureClass::Decode, Stage::Decode, reason);
    let verdict = Verdict::new(&place, &failure, Timestamp::default(), &Headers::default());
    let id = if is_known { place.message_id() } else { format!("again:{reason}") };
    let headers = verdict.headers(&Headers::default(), &id);
    let letter = Outgoing {
        subject: verdict.kept_on(),
        headers: to_header_map(&headers),
        payload: b"{".to_vec().into(),
    };
    send(&room.broker, &letter, PATIENCE).await.unwrap();
}

/// A list nobody reads, once it waits for its reader.
async fn waiting_for_its_reader(room: &Room, page: usize) -> Child {
    let list = room.start_paged(page, &["list", "-o", "ndjson"]);
    let pid = list.id().unwrap();
    wait_until("the list waits for its reader", PATIENCE, async || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let mut places =
            threads.filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("wchan")).ok());
        places.any(|place| place.contains("pipe_write")).then_some(())
    })
    .await;
    list
}

/// What a list that had to wait has printed.
async fn is_whole(list: Child) {
    let output = list.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let told = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap());
    assert!(told.eq(1..=LETTERS as u64), "every letter is told once, in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_waits_for_its_reader_is_whole_when_the_reader_goes_on() {
    let room = with_many_letters().await;
    for page in [LETTERS, PAGE] {
        is_whole(waiting_for_its_reader(&room, page).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_waits_for_its_reader_hears_a_signal() {
    let room = with_many_letters().await;
    for page in [LETTERS, PAGE] {
        let mut list = waiting_for_its_reader(&room, page).await;
        signal(&list, "-INT");
        let ended = tokio::time::timeout(PATIENCE, list.wait()).await.expect("it ends").unwrap();
        assert_eq!(ended.code(), Some(130));
        let mut said = String::new();
        list.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_whose_broker_comes_back_in_the_middle_is_whole() {
    let mut room = with_many_letters().await;
    let list = waiting_for_its_reader(&room, PAGE).await;
    room.nats.kill().await;
    room.nats.restart().await;
    is_whole(list).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_whose_broker_goes_away_in_the_middle_says_so() {
    let room = with_many_letters().await;
    let list = waiting_for_its_reader(&room, PAGE).await;
    room.nats.kill().await;
    let output = tokio::time::timeout(PATIENCE, list.wait_with_output()).await.expect("it ends").unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("queue-stalled") && said.contains("stopped coming for 20 s"), "{said}");
}
