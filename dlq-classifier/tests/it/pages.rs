//! A queue that is read by two, page by page: what is printed is the same as when one reads it in one piece.

use std::process::{Command, Output};

use schemas::subject::DLQ_STREAM;
use testkit::wait_until;

use crate::hostile::publish_raw;
use crate::patience::keep;
use crate::room::{PATIENCE, Room, text};

const LETTERS: u64 = 30;

/// Thirty letters and what else such a stream may hold: gaps, second letters, a record, a message of a stranger.
async fn with_letters() -> Room {
    let room = Room::new().await;
    for sequence in 1..=LETTERS {
        keep(&room, sequence, &format!("reason {}", sequence % 4), true).await;
        if sequence == 11 {
            room.stranger.publish("cerebros.dlq.decode.decode", "no letter".into()).await.unwrap();
            room.stranger.flush().await.unwrap();
        }
    }
    keep(&room, 2, "a second letter", false).await;
    keep(&room, 29, "another second letter", false).await;
    let list = room.json(&["list"]).await;
    let ids = [4, 20].map(|at: usize| text(&list[at], "id").to_owned());
    room.json(&["discard", &ids[0], &ids[1], "--reason", "a test"]).await;
    let stream = room.broker.jetstream.get_stream(DLQ_STREAM).await.unwrap();
    for sequence in [3, 13, 14, 15, 16, 17, 18, 26] {
        stream.delete_message(sequence).await.unwrap();
    }
    room
}

fn printed(output: Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

fn is_read_by(output: &Output, readers: usize) -> bool {
    String::from_utf8_lossy(&output.stderr).contains(&format!("readers={readers}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_read_is_printed_as_if_one_had_read_it() {
    let room = with_letters().await;
    let filters: [&[&str]; 4] =
        [&[], &["--state", "discarded"], &["--run", "nobody"], &["--fingerprint", "a"]];
    for command in ["list", "groups"] {
        for format in ["ndjson", "json", "table"] {
            for filter in filters {
                let arguments = [&[command, "-o", format], filter].concat();
                let expected = printed(room.dlq(&arguments).await);
                for page in [1, 2, 3, 7] {
                    let paged = printed(room.dlq_paged(page, &arguments).await);
                    assert_eq!(paged, expected, "{arguments:?}, {page} letters a page");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_letter_on_another_page_is_not_told_and_strangers_are_counted_once() {
    let room = with_letters().await;
    let has_cores = std::thread::available_parallelism().unwrap().get() > 1;
    // A second connection that a busy broker does not take in time is done without.
    let output = wait_until("as many read as can", PATIENCE, async || {
        let output = room.dlq_paged(2, &["list", "-o", "ndjson", "--log", "debug"]).await;
        is_read_by(&output, if has_cores { 2 } else { 1 }).then_some(output)
    })
    .await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let warnings: Vec<_> = said.lines().filter(|line| line.contains("without a verdict")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("count=1"), "{warnings:?}");
    let list = printed(output);
    // Of the thirty one is deleted on the first pages, six in the middle and one behind them.
    assert_eq!(list.lines().count(), 30 - 8);
    assert!(!list.contains("second letter"), "the earliest letter of an entry is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_takes_no_second_connection_is_read_on_the_first() {
    let room = Room::new().await;
    for sequence in 1..=LETTERS {
        keep(&room, sequence, "a reason", true).await;
    }
    // The room has two.
    let config = room.nats.dir().join("store/nats-server.conf");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text + "\nmax_connections: 3\n").unwrap();
    let server = room.nats.pid().to_string();
    assert!(Command::new("kill").args(["-HUP", &server]).status().unwrap().success());
    let output = wait_until("no second connection is taken", PATIENCE, async || {
        let output = room.dlq_paged(2, &["list", "-o", "ndjson", "--log", "debug"]).await;
        is_read_by(&output, 1).then_some(output)
    })
    .await;
    assert_eq!(printed(output).lines().count(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_breaks_the_client_down_ends_the_list_with_a_reason() {
    let room = Room::new().await;
    for sequence in 1..=LETTERS {
        keep(&room, sequence, "a reason", true).await;
        if sequence == 20 {
            publish_raw(&room, b"cerebros.dlq.decode.decode", b"NATS/1.0\r\nA: c\rd\r\n\r\n", b"x").await;
        }
    }
    let output = room.dlq_paged(3, &["list", "-o", "ndjson"]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("queue-stalled") && said.contains("break the protocol"), "{said}");
}
