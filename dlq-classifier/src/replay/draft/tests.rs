use schemas::dead_letter::{Place, Verdict};
use schemas::{Failure, FailureClass, Stage, Timestamp};

use super::*;

fn died(subject: &str, original: &[(&str, &str)], payload: &[u8]) -> (Entry, Kept) {
    let place = Place {
        stream: "CEREBROS".into(),
        sequence: 7,
        consumer: "dlq-classifier".into(),
        subject: subject.into(),
        deliveries: 1,
        first_seen: Timestamp::from_micros(1),
    };
    let original = Headers(original.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect());
    let failure = Failure::new(FailureClass::Validation, Stage::Decode, "r");
    let verdict = Verdict::new(&place, &failure, Timestamp::from_micros(2), &original);
    let kept = Kept {
        sequence: 1,
        subject: verdict.kept_on(),
        time: Timestamp::from_micros(2),
        headers: verdict.headers(&original, &place.message_id()),
        payload: payload.to_vec().into(),
        schema: None,
    };
    (Entry::read(&kept).unwrap(), kept)
}

const REQUESTED: &str = "cerebros.nas.run.requested";

#[test]
fn a_replay_carries_the_original_headers_and_its_own_identity() {
    let (entry, kept) =
        died(REQUESTED, &[("Nats-Msg-Id", "mine"), ("X", "1"), ("Nats-Expected-Stream", "S")], b"{}");
    let draft = draft(&entry, &kept, None);
    let mut expected = Headers(vec![("X".into(), "1".into())]);
    expected.push("Nats-Msg-Id", "mine/r1");
    expected.push(REPLAYS, "1");
    expected.push(REPLAY_OF, entry.id);
    assert_eq!(draft.headers, expected);
    assert_eq!((draft.subject.as_str(), draft.payload.as_slice()), (REQUESTED, b"{}".as_slice()));
}

#[test]
fn a_second_replay_counts_on_and_is_linked_to_its_own_entry() {
    let headers = [("Nats-Msg-Id", "mine/r1"), (REPLAYS, "1"), (REPLAY_OF, "1-aaaa")];
    let (entry, kept) = died(REQUESTED, &headers, b"{}");
    let draft = draft(&entry, &kept, None);
    assert_eq!(draft.headers.get("Nats-Msg-Id"), Some("mine/r2"));
    assert_eq!(draft.headers.get(REPLAYS), Some("2"));
    let links: Vec<_> =
        draft.headers.0.iter().filter(|(name, _)| name == REPLAY_OF).map(|(_, id)| id).collect();
    assert_eq!(links, [&entry.id]);
}

#[test]
fn a_stranger_s_id_is_left_whole() {
    let (entry, kept) = died(REQUESTED, &[("Nats-Msg-Id", "order/r7")], b"{}");
    assert_eq!(draft(&entry, &kept, None).headers.get("Nats-Msg-Id"), Some("order/r7/r1"));
    assert_eq!(own_message_id(&entry), format!("{}/r1", entry.id));
}

#[test]
fn a_message_without_id_gets_one_from_its_entry() {
    let (entry, kept) = died(REQUESTED, &[], b"{}");
    assert_eq!(
        draft(&entry, &kept, None).headers.get("Nats-Msg-Id"),
        Some(format!("{}/r1", entry.id).as_str())
    );
}

#[test]
fn a_replayed_request_does_not_expire_and_any_other_message_keeps_what_it_says_of_its_time() {
    let body = br#"{"dataset_id":"digits"}"#;
    for time in ["2026-01-31T12:00:00Z", "tomorrow"] {
        let given = [("X", "1"), ("ce-expirytime", time)];
        let (entry, kept) = died(REQUESTED, &given, body);
        let drawn = draft(&entry, &kept, None);
        assert_eq!((drawn.headers.get("ce-expirytime"), drawn.headers.get("X")), (None, Some("1")));
        assert_eq!(drawn.decode().unwrap().expires, None);
        assert_eq!(
            draft(&entry, &kept, Some("mine.x")).headers.get("ce-expirytime"),
            Some(time),
            "elsewhere"
        );
        let (entry, kept) = died("ml.run.trial", &given, b"{}");
        assert_eq!(draft(&entry, &kept, None).headers.get("ce-expirytime"), Some(time), "a fact");
    }
    let envelope = |time: &str| {
        format!(
            r#"{{"specversion":"1.0","type":"{REQUESTED}","expirytime":{time}, "data":{{"dataset_id":"digits"}}}}"#
        )
    };
    let mode = ("Content-Type", "application/cloudevents+json");
    let (entry, kept) = died(REQUESTED, &[mode], envelope("\"2026-01-31T12:00:00Z\"").as_bytes());
    let drawn = draft(&entry, &kept, None);
    assert_eq!(drawn.payload, envelope("null").as_bytes());
    assert_eq!(drawn.decode().unwrap().expires, None);
}

#[test]
fn what_would_die_again_is_refused_and_a_foreign_subject_is_nobody_s_business() {
    let (entry, kept) = died(REQUESTED, &[], b"{}");
    assert!(check(&draft(&entry, &kept, None)).unwrap_err().to_string().contains("dataset_id"));
    check(&draft(&entry, &kept, Some("elsewhere.requests"))).unwrap();
    assert!(check(&draft(&entry, &kept, Some("ml.run.nonsense"))).is_err());
    assert!(check(&draft(&entry, &kept, Some("cerebros.dlq.decode.x"))).is_err());
    let (entry, kept) = died(REQUESTED, &[], br#"{"dataset_id":"digits"}"#);
    check(&draft(&entry, &kept, None)).unwrap();
}

#[test]
fn a_target_is_a_subject_without_wildcards() {
    for good in [None, Some("a"), Some("a.b-c.d_1")] {
        check_target(good).unwrap();
    }
    for bad in
        ["", "a..b", "a.*", "a.>", "a b", ".a", "a.", "$JS.API.X", "cerebros.dlq.x", "cerebros.fence.r"]
    {
        assert_eq!(check_target(Some(bad)).unwrap_err().exit, Exit::Usage, "{bad}");
    }
}
