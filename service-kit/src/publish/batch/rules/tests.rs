use async_nats::jetstream;

use super::*;

fn ack(sequence: u64, batch_size: Option<u64>) -> Result<PublishAck, PublishError> {
    Ok(PublishAck { sequence, batch_size, ..PublishAck::default() })
}

fn refusal(code: ErrorCode) -> Result<PublishAck, PublishError> {
    let json = serde_json::json!({"code": 400, "err_code": code.0, "description": "x"});
    let error: jetstream::Error = serde_json::from_value(json).unwrap();
    Err(PublishError::with_source(PublishErrorKind::Other, error))
}

fn unknown(kind: PublishErrorKind) -> Result<PublishAck, PublishError> {
    Err(PublishError::new(kind))
}

#[test]
fn only_a_broker_of_2_15_or_later_gets_batches() {
    for version in ["2.15.0", "2.15.1", "2.16.0-RC.1", "3.0.0", "v2.15.2"] {
        assert_eq!(path(version, false, 100), Path::Batch, "{version}");
    }
    for version in ["2.14.9", "2.9.25", "1.99.0", "2", "", "x.y.z", "2.x"] {
        assert_eq!(path(version, false, 100), Path::Window, "{version}");
    }
}

#[test]
fn few_messages_and_those_of_a_stream_without_batches_go_through_the_window() {
    assert_eq!(path("2.15.1", false, WORTH_IT), Path::Batch);
    assert_eq!(path("2.15.1", false, WORTH_IT - 1), Path::Window);
    assert_eq!(path("2.15.1", true, 1000), Path::Window);
}

#[test]
fn a_batch_is_bounded_by_messages_and_by_bytes_and_never_empty() {
    let taken = |sizes: &[usize]| {
        let mut room = Room::default();
        sizes.iter().take_while(|size| room.takes(**size)).count()
    };
    assert_eq!(taken(&[1; 3]), 3);
    assert_eq!(taken(&[1; MOST_MESSAGES + 7]), MOST_MESSAGES);
    assert_eq!(taken(&[MOST_BYTES / 2, MOST_BYTES / 2, 1]), 2);
    assert_eq!(taken(&[MOST_BYTES + 1, 1]), 1);
}

#[test]
fn a_commit_that_counts_every_message_has_stored_them_one_after_another() {
    assert_eq!(next(&ack(1007, Some(3)), 3, 1), Next::Stored(1007));
    let sequences: Vec<_> = confirmations(1007, 3).map(|published| published.sequence).collect();
    assert_eq!(sequences, [1005, 1006, 1007]);
}

#[test]
fn a_commit_that_was_stored_alone_or_short_is_no_batch() {
    assert_eq!(next(&ack(7, None), 3, 1), Next::OneByOne);
    assert_eq!(next(&ack(7, Some(2)), 3, 1), Next::OneByOne);
}

#[test]
fn an_id_the_broker_knows_sends_the_messages_one_by_one() {
    let answer = refusal(ErrorCode::ATOMIC_PUBLISH_CONTAINS_DUPLICATE_MESSAGE);
    assert_eq!((next(&answer, 3, 1), next(&answer, 3, 2)), (Next::OneByOne, Next::OneByOne));
    assert_eq!(next(&refusal(ErrorCode::ATOMIC_PUBLISH_TOO_LARGE_BATCH), 3, 1), Next::OneByOne);
    assert_eq!(next(&refusal(ErrorCode::ATOMIC_PUBLISH_TOO_MANY_INFLIGHT), 3, 1), Next::OneByOne);
}

#[test]
fn a_stream_without_batches_is_remembered() {
    assert_eq!(next(&refusal(ErrorCode::ATOMIC_PUBLISH_DISABLED), 3, 1), Next::OneByOneFromNow);
}

#[test]
fn what_got_lost_on_the_way_is_repeated_as_a_batch_a_bounded_number_of_times() {
    let answer = refusal(ErrorCode::ATOMIC_PUBLISH_INCOMPLETE_BATCH);
    assert_eq!((next(&answer, 3, 1), next(&answer, 3, 2)), (Next::Repeat, Next::Repeat));
    assert_eq!(next(&answer, 3, 3), Next::OneByOne);
}

#[test]
fn an_answer_that_did_not_come_is_unknown_and_a_refusal_is_final() {
    for kind in [PublishErrorKind::TimedOut, PublishErrorKind::BrokenPipe, PublishErrorKind::StreamNotFound] {
        assert_eq!(next(&unknown(kind), 3, 9), Next::Repeat);
    }
    assert_eq!(next(&refusal(ErrorCode::CLUSTER_NOT_AVAILABLE), 3, 1), Next::Repeat);
    assert_eq!(next(&refusal(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM), 3, 1), Next::Refuse);
    assert_eq!(next(&unknown(PublishErrorKind::MaxPayloadExceeded), 3, 1), Next::OneByOne);
}
