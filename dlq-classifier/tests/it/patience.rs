//! A list that is longer than what its reader takes at once.

use schemas::cloudevents::Headers;
use schemas::dead_letter::{Place, Verdict};
use schemas::{Failure, FailureClass, Stage, Timestamp};
use service_kit::publish::{Outgoing, send, to_header_map};
use testkit::wait_until;
use tokio::io::AsyncReadExt as _;
use tokio::process::Child;

use crate::room::{PATIENCE, Room};
use crate::tasks::signal;

/// So many lines fill a pipe several times.
const LETTERS: usize = 800;

async fn with_many_letters() -> Room {
    let room = Room::new().await;
    for sequence in 1..=LETTERS as u64 {
        let place = Place {
            stream: "CEREBROS".to_owned(),
            sequence,
            consumer: "dlq-classifier".to_owned(),
            subject: "ml.run.trial".to_owned(),
            deliveries: 1,
            first_seen: Timestamp::default(),
        };
        let failure = Failure::new(FailureClass::Decode, Stage::Decode, "not JSON: ".repeat(10));
        let verdict = Verdict::new(&place, &failure, Timestamp::default(), &Headers::default());
        let headers = verdict.headers(&Headers::default(), &place.message_id());
        let letter = Outgoing {
            subject: verdict.kept_on(),
            headers: to_header_map(&headers),
            payload: b"{".to_vec().into(),
        };
        send(&room.broker, &letter, PATIENCE).await.unwrap();
    }
    room
}

/// A list nobody reads, once it waits for its reader.
async fn waiting_for_its_reader(room: &Room) -> Child {
    let list = room.start(&["list", "-o", "ndjson"], "");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_waits_for_its_reader_is_whole_when_the_reader_goes_on() {
    let room = with_many_letters().await;
    let list = waiting_for_its_reader(&room).await;
    let output = list.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = output.stdout.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines, LETTERS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_waits_for_its_reader_hears_a_signal() {
    let room = with_many_letters().await;
    let mut list = waiting_for_its_reader(&room).await;
    signal(&list, "-INT");
    let ended = tokio::time::timeout(PATIENCE, list.wait()).await.expect("it ends").unwrap();
    assert_eq!(ended.code(), Some(130));
    let mut said = String::new();
    list.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
    assert!(!said.contains("panicked"), "{said}");
}
