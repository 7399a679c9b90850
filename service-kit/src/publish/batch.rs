//! Messages of one stream as JetStream atomic batches: the broker stores a batch whole, in order and without anything
//! between, or not at all, and pays for its durability once.
//!
//! - More than a batch may carry becomes several, one after another; each is whole for itself.
//! - A commit without an answer is unknown. The same messages are sent again as a new batch; had the first been
//!   stored, their ids are known and the second is rejected whole.
//! - What the broker does not take as a batch goes through the window, each message for itself and still under its id:
//!   all are stored exactly once, but a reader may see a part of them first. That is so for a batch with an id the
//!   broker knows, and for one with a message the stream refuses, of which the broker says only that the batch is
//!   incomplete; the window names it.

pub(super) mod rules;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::client::traits::Publisher as _;
use async_nats::header::{NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL, NATS_BATCH_ID, NATS_BATCH_SEQUENCE};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::publish::PublishAck;
use async_nats::message::OutboundMessage;
use tokio::time::timeout;

use self::rules::{Next, Path, Room};
use super::single::{Pause, Waited};
use super::{Outgoing, PublishFailure, Published, single, window};
use crate::broker::{Broker, REQUEST_TIMEOUT};

/// Whether the stream was found to take no batches. It is asked again by the next program.
pub(super) type IsDisabled = AtomicBool;

/// Sends `count` messages as batches where the broker offers them and they are worth it, else through the window. Each
/// is made shortly before it leaves, and again if it has to be repeated.
pub(super) async fn send_all(
    broker: &Broker,
    is_disabled: &IsDisabled,
    count: usize,
    patience: Duration,
    mut message: impl FnMut(usize) -> Result<Outgoing, PublishFailure>,
) -> Result<Vec<Published>, PublishFailure> {
    let version = broker.client.server_info().version;
    let mut confirmed = Vec::with_capacity(count);
    while confirmed.len() < count {
        let done = confirmed.len();
        match rules::path(&version, is_disabled.load(Ordering::Relaxed), count - done) {
            Path::Batch => {
                let messages = fill(done..count, &mut message)?;
                confirmed.extend(send(broker, is_disabled, &messages, patience).await?);
            }
            Path::Window => {
                let rest = |number| message(done + number);
                confirmed.extend(window::send_all(broker, count - done, patience, rest).await?);
            }
        }
    }
    Ok(confirmed)
}

/// The messages of the next batch.
fn fill(
    mut numbers: Range<usize>,
    message: &mut impl FnMut(usize) -> Result<Outgoing, PublishFailure>,
) -> Result<Vec<Outgoing>, PublishFailure> {
    let mut room = Room::default();
    let mut messages = Vec::new();
    while let Some(message) = numbers.next().map(&mut *message).transpose()? {
        if !room.takes(message.payload.len()) {
            break;
        }
        messages.push(message);
    }
    Ok(messages)
}

/// Sends one batch until it is stored, or its messages have to go one by one, or `patience` ran out.
async fn send(
    broker: &Broker,
    is_disabled: &IsDisabled,
    messages: &[Outgoing],
    patience: Duration,
) -> Result<Vec<Published>, PublishFailure> {
    let Some(last) = messages.last() else { return Ok(Vec::new()) };
    let mut pause = Pause::new(patience);
    let mut tries = 0;
    loop {
        tries += 1;
        let answer = commit(broker, messages, pause.left()).await;
        match (rules::next(&answer, messages.len(), tries), answer) {
            (Next::Stored(sequence), _) => {
                return Ok(rules::confirmations(sequence, messages.len()).collect());
            }
            (Next::Refuse, Err(error)) => return Err(single::refused(last, error)),
            (Next::Repeat, Err(error)) => {
                tracing::warn!(messages = messages.len(), %error, "batch not confirmed, repeating");
            }
            (Next::OneByOneFromNow, _) => {
                is_disabled.store(true, Ordering::Relaxed);
                break;
            }
            (Next::OneByOne, _) | (Next::Refuse | Next::Repeat, Ok(_)) => break,
        }
        if pause.wait().await == Waited::TooLong {
            return Err(PublishFailure::Unconfirmed { subject: last.subject.clone(), patience });
        }
    }
    tracing::debug!(
        messages = messages.len(),
        "the broker does not take the batch, sending its messages one by one"
    );
    window::send_all(broker, messages.len(), pause.left(), |number| Ok(messages[number].clone())).await
}

/// Sends all messages, the last one with the commit, and waits for the answer to that.
async fn commit(
    broker: &Broker,
    messages: &[Outgoing],
    patience: Duration,
) -> Result<PublishAck, PublishError> {
    if !broker.connected_within(patience.min(REQUEST_TIMEOUT)).await {
        return Err(PublishError::new(PublishErrorKind::TimedOut));
    }
    let batch = uuid::Uuid::now_v7().simple().to_string();
    let (last, rest) = messages.split_last().expect("a batch has at least one message");
    for (message, place) in rest.iter().zip(1..) {
        let Outgoing { subject, headers, payload } = member(message, &batch, place);
        let message =
            OutboundMessage { subject: subject.into(), reply: None, payload, headers: Some(headers) };
        match timeout(REQUEST_TIMEOUT, broker.client.publish_message(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(not_taken(error)),
            Err(_) => return Err(PublishError::new(PublishErrorKind::TimedOut)),
        }
    }
    let mut last = member(last, &batch, messages.len());
    last.headers.insert(NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL);
    single::begin(broker, last, patience).await?.await
}

/// A message as part of a batch. Places count from 1.
fn member(message: &Outgoing, batch: &str, place: usize) -> Outgoing {
    let mut message = message.clone();
    message.headers.insert(NATS_BATCH_ID, batch);
    message.headers.insert(NATS_BATCH_SEQUENCE, place.to_string());
    message
}

/// The client did not take a message. Without the commit, the broker forgets those it has after ten seconds.
fn not_taken(error: async_nats::PublishError) -> PublishError {
    let kind = match error.kind() {
        async_nats::client::PublishErrorKind::MaxPayloadExceeded => PublishErrorKind::MaxPayloadExceeded,
        async_nats::client::PublishErrorKind::InvalidSubject | async_nats::client::PublishErrorKind::Send => {
            PublishErrorKind::Other
        }
    };
    PublishError::with_source(kind, error)
}
