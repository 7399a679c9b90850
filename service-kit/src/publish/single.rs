//! One message at a time: sent until it is confirmed or refused, or until the patience of the caller runs out.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use schemas::Timestamp;
use tokio::time::Instant;

use super::{Outgoing, PublishFailure, Published};
use crate::broker::{Broker, REQUEST_TIMEOUT};
use crate::clock;

/// Pause before the first repetition; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause between two repetitions.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Sends a message until it is confirmed or `patience` ran out.
pub async fn send(
    broker: &Broker,
    message: &Outgoing,
    patience: Duration,
) -> Result<Published, PublishFailure> {
    let mut pause = Pause::new(patience);
    loop {
        match attempt(broker, message, pause.left()).await {
            Ok(published) => return Ok(published),
            Err(error) if is_refusal(&error) => return Err(refused(message, error)),
            Err(error) => {
                tracing::warn!(subject = message.subject, %error, "publish not confirmed, repeating")
            }
        }
        if pause.wait().await == Waited::TooLong {
            return Err(PublishFailure::Unconfirmed { subject: message.subject.clone(), patience });
        }
    }
}

/// One attempt, which ends with the patience. What was under way then may have arrived all the same.
async fn attempt(broker: &Broker, message: &Outgoing, left: Duration) -> Result<Published, PublishError> {
    let sent = async { outcome(begin(broker, message.clone(), left).await).await };
    let in_time = tokio::time::timeout(left, sent).await;
    in_time.unwrap_or_else(|_| Err(PublishError::new(PublishErrorKind::TimedOut)))
}

/// The pauses between repetitions, which grow, up to a deadline. It is one by the wall clock as well, since the other one
/// stands still while a machine sleeps: what is repeated has to come while the broker still remembers message ids.
#[derive(Debug)]
pub(super) struct Pause {
    deadline: Instant,
    wall_deadline: Timestamp,
    next: Duration,
}

/// What came of a pause.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// It is over.
    Over,
    /// It would have passed the deadline, and was left out.
    TooLong,
}

impl Pause {
    /// Pauses for this long in all.
    pub(super) fn new(patience: Duration) -> Self {
        Self::since(clock::now(), patience)
    }

    /// The same for one that began at a time by the wall clock.
    fn since(began: Timestamp, patience: Duration) -> Self {
        let micros = i64::try_from(patience.as_micros()).unwrap_or(i64::MAX);
        let wall_deadline = Timestamp::from_micros(began.micros().saturating_add(micros));
        Self { deadline: Instant::now() + patience, wall_deadline, next: FIRST_PAUSE }
    }

    /// Waits, twice as long as last time.
    pub(super) async fn wait(&mut self) -> Waited {
        if Instant::now() + self.next > self.deadline || clock::now() > self.wall_deadline {
            return Waited::TooLong;
        }
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        Waited::Over
    }

    /// What is left until the deadline.
    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// Hands a message to the client, once there is a connection, which is waited for within the patience; the ack is the
/// broker's word.
pub(super) async fn begin(
    broker: &Broker,
    message: Outgoing,
    patience: Duration,
) -> Result<PublishAckFuture, PublishError> {
    if !broker.connected_within(patience.min(REQUEST_TIMEOUT)).await {
        return Err(PublishError::new(PublishErrorKind::TimedOut));
    }
    let publish = PublishMessage::build().headers(message.headers).payload(message.payload);
    broker.jetstream.send_publish(message.subject, publish).await
}

/// What became of a message that was begun.
pub(super) async fn outcome(
    begun: Result<PublishAckFuture, PublishError>,
) -> Result<Published, PublishError> {
    begun?.await.map(Published::from)
}

impl From<PublishAck> for Published {
    fn from(ack: PublishAck) -> Self {
        Self { sequence: ack.sequence, is_duplicate: ack.duplicate }
    }
}

pub(super) fn refused(message: &Outgoing, error: PublishError) -> PublishFailure {
    let subject = message.subject.clone();
    if is_full(&error) {
        let reason = format!(
            "{error}; raise max_bytes or max_msgs of the stream that takes it in, or the broker's own storage"
        );
        return PublishFailure::Full { subject, reason };
    }
    PublishFailure::Refused { subject, error }
}

/// True when the stream, or the broker, has no room left. The broker has one code for every message it could not
/// store, and tells by its words which bound was met.
fn is_full(error: &PublishError) -> bool {
    let is_bound = || {
        let words = error.to_string();
        words.contains("maximum bytes exceeded") || words.contains("maximum messages exceeded")
    };
    match code(error) {
        Some(ErrorCode::STORAGE_RESOURCES_EXCEEDED | ErrorCode::INSUFFICIENT_RESOURCES) => true,
        Some(ErrorCode::STREAM_STORE_FAILED) => is_bound(),
        Some(_) | None => false,
    }
}

/// True when repeating changes nothing.
pub(super) fn is_refusal(error: &PublishError) -> bool {
    match error.kind() {
        PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::WrongLastSequence
        | PublishErrorKind::MaxPayloadExceeded => true,
        PublishErrorKind::Other => !code(error).is_some_and(passes),
        // A stream that is not there yet answers like no responders while the broker restarts.
        PublishErrorKind::StreamNotFound
        | PublishErrorKind::TimedOut
        | PublishErrorKind::BrokenPipe
        | PublishErrorKind::MaxAckPending => false,
    }
}

/// True for what is refused for its size, by the client or by the stream.
pub(super) fn is_too_large(error: &PublishError) -> bool {
    let is_of_size = |code: ErrorCode| {
        [ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM, ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM].contains(&code)
    };
    error.kind() == PublishErrorKind::MaxPayloadExceeded || code(error).is_some_and(is_of_size)
}

/// The broker's code for a refusal; none when it was not the broker who spoke.
pub(super) fn code(error: &PublishError) -> Option<ErrorCode> {
    let source = std::error::Error::source(error)?;
    source.downcast_ref::<async_nats::jetstream::Error>().map(async_nats::jetstream::Error::error_code)
}

/// True for what passes by itself: the same message on its way twice, a stream that is behind, an election, and a message on
/// its way through a cluster that the condition of this one is about: whether it holds is not known yet.
fn passes(code: ErrorCode) -> bool {
    [
        ErrorCode::STREAM_DUPLICATE_MESSAGE_CONFLICT,
        ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT,
        ErrorCode::STREAM_TOO_MANY_REQUESTS,
        ErrorCode::CLUSTER_NOT_AVAILABLE,
    ]
    .contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: ErrorCode) -> PublishError {
        let json = serde_json::json!({"code": 400, "err_code": code.0, "description": "x"});
        let error: async_nats::jetstream::Error = serde_json::from_value(json).unwrap();
        PublishError::with_source(PublishErrorKind::Other, error)
    }

    #[test]
    fn a_refusal_is_final_and_a_broker_that_is_busy_is_asked_again() {
        assert!(is_refusal(&said(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM)));
        assert!(is_too_large(&said(ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM)));
        assert!(!is_too_large(&said(ErrorCode::STREAM_TOO_MANY_REQUESTS)));
        assert!(is_refusal(&PublishError::new(PublishErrorKind::MaxPayloadExceeded)));
        assert!(!is_refusal(&said(ErrorCode::STREAM_TOO_MANY_REQUESTS)));
        assert!(!is_refusal(&said(ErrorCode::STREAM_DUPLICATE_MESSAGE_CONFLICT)));
        assert!(!is_refusal(&said(ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT)));
        assert!(!is_refusal(&PublishError::new(PublishErrorKind::TimedOut)));
    }

    #[test]
    fn a_stream_without_room_is_told_from_a_message_it_does_not_take() {
        let message =
            Outgoing { subject: "s".to_owned(), headers: async_nats::HeaderMap::new(), payload: "".into() };
        let full = |code: ErrorCode, words: &str| {
            let json = serde_json::json!({"code": 503, "err_code": code.0, "description": words});
            let error: async_nats::jetstream::Error = serde_json::from_value(json).unwrap();
            let error = PublishError::with_source(PublishErrorKind::Other, error);
            matches!(refused(&message, error), PublishFailure::Full { .. })
        };
        assert!(full(ErrorCode::STREAM_STORE_FAILED, "maximum bytes exceeded"));
        assert!(full(ErrorCode::STREAM_STORE_FAILED, "maximum messages exceeded"));
        assert!(full(ErrorCode::STORAGE_RESOURCES_EXCEEDED, "resource limits exceeded for account"));
        assert!(!full(ErrorCode::STREAM_STORE_FAILED, "no message found"));
        assert!(!full(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM, "message size exceeds maximum allowed"));
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_and_end_before_the_deadline() {
        let began = Instant::now();
        let mut pause = Pause::new(Duration::from_millis(400));
        let mut pauses = 0;
        while pause.wait().await == Waited::Over {
            pauses += 1;
        }
        assert_eq!((pauses, began.elapsed()), (3, Duration::from_millis(350)));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_is_over_by_the_wall_clock_too_after_a_machine_has_slept() {
        let now = clock::now();
        let slept = Timestamp::from_micros(now.micros() - 120_000_000);
        assert_eq!(Pause::since(slept, Duration::from_secs(60)).wait().await, Waited::TooLong);
        assert_eq!(Pause::since(now, Duration::from_secs(60)).wait().await, Waited::Over);
    }
}
