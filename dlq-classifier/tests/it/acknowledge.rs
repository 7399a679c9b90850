//! `acknowledge`: what is gone and explained by a person is a finding no longer; what is on the stream stays one.

use async_nats::jetstream::{AckKind, stream};
use schemas::subject::STREAM;
use serde_json::Value;
use service_kit::topology::{SINK_CONSUMER, WORKER_CONSUMER};

use crate::audit::settle;
use crate::outage::with_room_for;
use crate::room::{Room, text};

/// Words every test gives as its reason.
const REASON: &str = "purged by hand, see ticket 7";

impl Room {
    async fn acknowledge(&self, arguments: &[&str]) -> Value {
        self.json(&[&["acknowledge", "--reason", REASON], arguments].concat()).await
    }

    /// How often something was acknowledged.
    async fn acknowledged(&self) -> usize {
        let history = self.json(&["history"]).await;
        history.as_array().unwrap().iter().filter(|act| text(act, "operation") == "acknowledged").count()
    }

    /// Nine trials; somebody has purged the first three of them, and deleted the seventh.
    async fn with_holes(&self) -> stream::Stream {
        self.trials(9).await;
        let stream = self.broker.jetstream.get_stream(STREAM).await.unwrap();
        stream.delete_message(7).await.unwrap();
        stream.purge().sequence(4).await.unwrap();
        stream
    }
}

/// Number and reason of everything that was left alone.
fn left(outcome: &Value) -> Vec<(&str, u64, &str)> {
    let left = outcome["left"].as_array().unwrap().iter();
    left.map(|one| (text(one, "sequences"), one["count"].as_u64().unwrap(), text(one, "why"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_answers_for_is_no_finding_and_what_goes_later_is_one() {
    let room = Room::new().await;
    let stream = room.with_holes().await;
    let holes = [(1, Some(3), String::new()), (7, None, String::new())];
    assert_eq!(room.named().await, holes);
    let foreseen = room.acknowledge(&["2-7", "--dry-run"]).await;
    assert_eq!(foreseen["sequences"], serde_json::json!(["2-3", "7"]));
    assert_eq!((foreseen["acknowledged"].as_u64(), foreseen["dry_run"].as_bool()), (Some(3), Some(true)));
    assert_eq!(
        (room.acknowledged().await, room.named().await),
        (0, holes.into()),
        "a dry run changes nothing"
    );

    let outcome = room.acknowledge(&["2-7"]).await;
    assert_eq!(outcome["sequences"], foreseen["sequences"]);
    let on_stream = left(&outcome);
    assert!(on_stream.len() == 1 && on_stream[0].0 == "4-6", "{outcome:#}");
    assert!(on_stream[0].2.contains("still on the stream"), "{outcome:#}");
    assert_eq!(room.named().await, [(1, None, String::new())]);
    room.acknowledge(&["1"]).await;
    let sums = room.explained().await;
    assert_eq!((sums["acknowledged"].as_u64(), sums["in_flight"].as_u64()), (Some(4), Some(5)), "{sums:#}");

    let again = room.acknowledge(&["1-3", "7"]).await;
    assert_eq!(left(&again), [("1-3, 7", 4, "acknowledged already")]);
    assert_eq!(room.acknowledged().await, 2, "nothing is recorded twice");
    // What an answer was asked for in vain is named when it goes.
    stream.delete_message(5).await.unwrap();
    assert_eq!(room.named().await, [(5, None, String::new())]);
    stream.purge().sequence(7).await.unwrap();
    assert_eq!(room.named().await, [(4, Some(6), String::new())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_and_the_history_tell_who_answers_and_why() {
    let room = Room::new().await;
    room.with_holes().await;
    let shown = room.dlq(&["acknowledge", "1-7", "--reason", REASON]).await;
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.starts_with("4 acknowledged\n  1-3, 7\nleft alone 4-6  (3)\n"), "{shown}");
    let (account, code) = room.audit().await;
    assert_eq!(code, 0, "{account:#}");
    let told = &account["acknowledgements"][0];
    assert!(text(told, "actor").starts_with("ann@"), "{told:#}");
    assert_eq!((text(told, "reason"), text(told, "sequences")), (REASON, "1-3, 7"));
    assert_eq!(told["count"], 4);
    let audit = String::from_utf8(room.dlq(&["audit"]).await.stdout).unwrap();
    for words in ["acknowledged           4", "acknowledged 1-3, 7  (4)  ann@", REASON] {
        assert!(audit.contains(words), "{audit}");
    }
    let history = room.json(&["history", "--actor", "ann"]).await;
    let act = &history[0];
    assert_eq!((act["count"].as_u64(), text(act, "reason")), (Some(4), REASON), "{history:#}");
    assert_eq!(act["ranges"], serde_json::json!([[1, 3], [7, 7]]));
    let table = String::from_utf8(room.dlq(&["history"]).await.stdout).unwrap();
    assert!(table.contains("sequences 1-3, 7"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_said_or_cannot_be_meant_is_refused_with_a_remedy() {
    let room = Room::new().await;
    room.with_holes().await;
    let because = ["--reason", REASON];
    let cases: [(&[&str], &[&str]); 7] = [
        (&["1"], &["--reason", "see ticket 7"]),
        (&["1", "--reason", "  "], &["--reason"]),
        (&[because[0], because[1]], &["needs sequences", "dlq-classifier audit"]),
        (&["1-10", because[0], because[1]], &["1-10 is beyond the stream", "last sequence is 9"]),
        (&["3-1", because[0], because[1]], &["write 1-3"]),
        (&["0", because[0], because[1]], &["begin with 1"]),
        (&["all", because[0], because[1]], &["40-99"]),
    ];
    for (arguments, words) in cases {
        let refused = room.dlq(&[&["acknowledge"], arguments].concat()).await;
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{arguments:?}: {said}"));
    }
    assert_eq!(room.acknowledged().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_that_left_in_silence_are_one_answer() {
    let room = Room::new().await;
    let known = room.broker.jetstream.get_stream(STREAM).await.unwrap().cached_info().config.clone();
    room.broker.jetstream.delete_stream(STREAM).await.unwrap();
    let config = stream::Config { first_sequence: Some(1_000_001), ..known };
    room.broker.jetstream.create_stream(config).await.unwrap();
    assert_eq!(room.named().await, [(1, Some(1_000_000), String::new())]);
    let outcome = room.acknowledge(&["1-1000000"]).await;
    assert_eq!(outcome["acknowledged"], 1_000_000);
    assert_eq!(room.explained().await["acknowledged"], 1_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_for_the_record_nothing_is_acknowledged() {
    let room = Room::new().await;
    room.with_holes().await;
    room.acknowledge(&["1"]).await;
    with_room_for(&room, i64::try_from(room.state("CEREBROS_DLQ").await.bytes).unwrap()).await;
    let refused = room.dlq(&["acknowledge", "2-3", "--reason", REASON]).await;
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(10), "{words}");
    assert!(words.contains("no room") && words.contains("max_bytes"), "{words}");
    assert_eq!(room.named().await.len(), 2);
    with_room_for(&room, 1 << 30).await;
    room.acknowledge(&["2-3", "7"]).await;
    room.explained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_consumer_terminated_is_answered_for_when_it_is_gone_and_only_for_that_consumer() {
    let room = Room::new().await;
    room.trials(2).await;
    settle(&room.durable(STREAM, SINK_CONSUMER).await, 2, AckKind::Term).await;
    room.explained().await;
    room.advisories_taken(2).await;
    let lost = [1, 2].map(|seq| (seq, None, SINK_CONSUMER.to_owned()));
    assert_eq!(room.named().await, lost);
    let early = room.acknowledge(&["1-2"]).await;
    assert_eq!((early["acknowledged"].as_u64(), room.acknowledged().await), (Some(0), 0), "{early:#}");
    assert_eq!(room.named().await, lost);
    // Everybody has settled them when they go.
    let serving = room.sweeping();
    room.book(|book| book.through() == 2).await;
    room.broker.jetstream.get_stream(STREAM).await.unwrap().purge().await.unwrap();
    assert_eq!(room.named().await, lost);
    let strange = room.acknowledge(&["1-2", "--consumer", WORKER_CONSUMER]).await;
    assert!(left(&strange)[0].2.contains("--consumer"), "{strange:#}");
    assert_eq!(room.named().await, lost);
    room.acknowledge(&["1-2", "--consumer", SINK_CONSUMER]).await;
    let (account, code) = room.audit().await;
    assert_eq!((code, &account["sums"]["acknowledged"]), (0, &Value::from(2)), "{account:#}");
    assert_eq!(text(&account["acknowledgements"][0], "consumer"), SINK_CONSUMER);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_nobody_can_name_is_answered_for_as_a_whole_and_hides_none_that_comes_later() {
    let room = Room::new().await;
    let mut sink = room.limited_sink(2).await;
    room.loses_one(&mut sink).await;
    // A number that no classifier has written down may grow.
    let early = room.acknowledge(&["1-4"]).await;
    assert_eq!(early["acknowledged"], 0, "{early:#}");
    let serving = room.sweeping();
    let mut watched = room.durable(STREAM, SINK_CONSUMER).await;
    room.swept(&mut watched).await;
    serving.stop().await;
    assert_eq!(room.named().await, [(1, Some(4), SINK_CONSUMER.to_owned())]);

    let part = room.acknowledge(&["1-3"]).await;
    assert_eq!(part["acknowledged"], 0);
    assert!(left(&part)[0].2.contains("name 1-4 as a whole"), "{part:#}");
    let whole = room.acknowledge(&["1-4", "--consumer", SINK_CONSUMER]).await;
    assert_eq!(whole["acknowledged"], 1, "{whole:#}");
    assert_eq!(room.explained().await["acknowledged"], 1);
    room.loses_one(&mut sink).await;
    let again = room.named().await;
    assert!(again.iter().all(|(_, _, consumer)| consumer == SINK_CONSUMER), "{again:?}");
    let serving = room.sweeping();
    room.swept(&mut watched).await;
    serving.stop().await;
    assert_eq!(room.named().await, [(5, Some(8), SINK_CONSUMER.to_owned())]);
    let (account, _) = room.audit().await;
    assert_eq!((&account["sums"]["acknowledged"], &account["sums"]["unexplained"]), (&1.into(), &1.into()));
    room.acknowledge(&["5-8"]).await;
    assert_eq!(room.explained().await["acknowledged"], 2);
}
