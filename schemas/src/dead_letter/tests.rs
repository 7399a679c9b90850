use super::*;
use crate::Failure;

fn place() -> Place {
    Place {
        stream: "CEREBROS".into(),
        sequence: 42,
        consumer: "dlq-classifier".into(),
        subject: "ml.run.trial".into(),
        deliveries: 1,
        first_seen: Timestamp::from_micros(1_700_000_000_000_000),
    }
}

#[test]
fn a_verdict_survives_its_headers_and_the_broker_s_headers_are_put_aside() {
    let original = Headers(vec![
        ("Nats-Msg-Id".into(), "mine".into()),
        ("Cerebros-Original-Nats-Msg-Id".into(), "not mine".into()),
        ("nats-expected-last-sequence".into(), "7".into()),
        ("X-Mine".into(), "kept".into()),
        (REPLAYS.into(), "2".into()),
        (REPLAY_OF.into(), "7-abcd".into()),
    ]);
    let failure = Failure::new(FailureClass::Decode, Stage::Decode, "line one\r\nline two");
    let verdict = Verdict::new(&place(), &failure, Timestamp::from_micros(1_700_000_001_000_000), &original);
    let headers = verdict.headers(&original, &place().message_id());
    let read = Verdict::read(&headers).unwrap();
    let aside = headers.get("Cerebros-Original-Cerebros-Dlq-Replays");
    assert_eq!((aside, headers.get(REPLAYS)), (Some("2"), Some("2")), "the message's own, and the verdict's");
    let twice = "Cerebros-Original-Cerebros-Original-Nats-Msg-Id";
    assert_eq!(headers.get(twice), Some("not mine"));
    assert_eq!(read.reason, "line one  line two");
    assert_eq!(Verdict { reason: verdict.reason.clone(), ..read }, verdict);
    assert_eq!(verdict.replays, 2);
    assert_eq!(headers.get("Nats-Msg-Id"), Some("dlq:CEREBROS:42:dlq-classifier"));
    assert_eq!(original_message_id(&headers), Some("mine"));
    assert_eq!(headers.get("nats-expected-last-sequence"), None);
    let kept = [("X-Mine", "kept"), (REPLAY_OF, "7-abcd")];
    let kept: Vec<_> = kept.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(original_headers(&headers).0, kept);
}

#[test]
fn that_a_message_was_gone_is_read_back() {
    let failure = Failure::new(FailureClass::WorkerLost, Stage::Execute, "lost");
    let headers = Headers::default();
    let verdict = Verdict::new(&place(), &failure, Timestamp::from_micros(2), &headers);
    for verdict in [verdict.clone(), verdict.without_payload()] {
        assert_eq!(Verdict::read(&verdict.headers(&headers, "m")), Some(verdict));
    }
}

#[test]
fn a_message_that_dies_after_its_last_replay_is_a_loop_and_a_counter_of_somebody_else_is_not_believed() {
    let failure = Failure::new(FailureClass::Decode, Stage::Decode, "no JSON");
    let seen = Timestamp::from_micros(1_700_000_001_000_000);
    let mut original = Headers(vec![(REPLAYS.into(), MAX_REPLAYS.to_string())]);
    let stranger = Verdict::new(&place(), &failure, seen, &original);
    assert_eq!((stranger.class, stranger.replays, stranger.cause), (FailureClass::Decode, 0, None));
    original.push(REPLAY_OF, "7-abcd".to_owned());
    let ours = Verdict::new(&place(), &failure, seen, &original);
    assert_eq!((ours.class, ours.cause), (FailureClass::ReplayLoop, Some(FailureClass::Decode)));
    assert_eq!(ours.fingerprint, failure.fingerprint, "loops are grouped by their cause");
    assert_eq!(Verdict::read(&ours.headers(&original, "m")), Some(ours));
}
