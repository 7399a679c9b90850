//! When messages go as an atomic batch, how many of them, and what the broker's answer means. Pure.

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::publish::PublishAck;

use crate::publish::{Published, single};

/// Most messages of one batch: what a broker allows unless it is configured otherwise.
pub(in crate::publish) const MOST_MESSAGES: usize = 1000;
/// Most payload bytes of one batch. The broker holds them back until the commit, and drops what comes faster than it
/// can take in beyond 128 MiB.
pub(in crate::publish) const MOST_BYTES: usize = 8 << 20;
/// A batch costs the broker about two milliseconds, however small it is; below this a window is faster.
pub(in crate::publish) const WORTH_IT: usize = 50;
/// First version whose batches are used. Earlier ones have them, with faults that were mended since.
const SINCE: (u64, u64) = (2, 15);
/// How often a batch of which the broker lost a part is repeated before its messages go one by one.
const TRIES_IF_INCOMPLETE: u32 = 3;

/// How messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::publish) enum Path {
    /// As one atomic batch.
    Batch,
    /// One by one, through a window.
    Window,
}

/// The path for so many messages to a broker of this version. `is_disabled` when the stream was found to take no
/// batches.
pub(in crate::publish) fn path(version: &str, is_disabled: bool, count: usize) -> Path {
    if count >= WORTH_IT && !is_disabled && has_sound_batches(version) { Path::Batch } else { Path::Window }
}

/// True for 2.15 and later; false for what is no version.
fn has_sound_batches(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('v').split('.').map_while(|part| part.parse::<u64>().ok());
    matches!((numbers.next(), numbers.next()), (Some(major), Some(minor)) if (major, minor) >= SINCE)
}

/// What the next batch still has room for.
#[derive(Debug, Default)]
pub(in crate::publish) struct Room {
    messages: usize,
    bytes: usize,
}

impl Room {
    /// Takes a message with a payload of this size, or says that the batch is full. The first one is always taken.
    pub(in crate::publish) fn takes(&mut self, bytes: usize) -> bool {
        let sum = self.bytes.saturating_add(bytes);
        let fits = self.messages == 0 || (self.messages < MOST_MESSAGES && sum <= MOST_BYTES);
        if fits {
            *self = Self { messages: self.messages + 1, bytes: sum };
        }
        fits
    }
}

/// What is to be done after a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::publish) enum Next {
    /// All are stored, the last one under this sequence.
    Stored(u64),
    /// Nothing is stored, or nobody knows: the same messages again, as a new batch.
    Repeat,
    /// The messages have to go one by one, under their ids; the broker drops those it has.
    OneByOne,
    /// So do those of every later batch: the stream takes none.
    OneByOneFromNow,
    /// The broker refused a message; nothing is stored, and repeating changes nothing.
    Refuse,
}

/// What the answer to the commit of `count` messages means, after so many tries.
///
/// An id the broker knows rejects the whole batch. It may be that an earlier try was stored and only its answer was
/// lost, or that somebody published one of the messages before; one by one is right for both.
pub(in crate::publish) fn next(answer: &Result<PublishAck, PublishError>, count: usize, tries: u32) -> Next {
    let error = match answer {
        Ok(ack) if ack.batch_size == u64::try_from(count).ok() => return Next::Stored(ack.sequence),
        // A broker that knows no batches has stored the commit alone.
        Ok(_) => return Next::OneByOne,
        Err(error) => error,
    };
    match single::code(error) {
        Some(ErrorCode::ATOMIC_PUBLISH_DISABLED) => Next::OneByOneFromNow,
        Some(ErrorCode::ATOMIC_PUBLISH_INCOMPLETE_BATCH) if tries < TRIES_IF_INCOMPLETE => Next::Repeat,
        Some(
            ErrorCode::ATOMIC_PUBLISH_CONTAINS_DUPLICATE_MESSAGE
            | ErrorCode::ATOMIC_PUBLISH_INCOMPLETE_BATCH
            | ErrorCode::ATOMIC_PUBLISH_MISSING_SEQ
            | ErrorCode::ATOMIC_PUBLISH_UNSUPPORTED_HEADER
            | ErrorCode::ATOMIC_PUBLISH_INVALID_BATCH_ID
            | ErrorCode::ATOMIC_PUBLISH_INVALID_BATCH_COMMIT
            | ErrorCode::ATOMIC_PUBLISH_TOO_LARGE_BATCH
            | ErrorCode::ATOMIC_PUBLISH_TOO_MANY_INFLIGHT,
        ) => Next::OneByOne,
        // The client would not take it, so the window says which message it is.
        None if error.kind() == PublishErrorKind::MaxPayloadExceeded => Next::OneByOne,
        Some(_) | None if single::is_refusal(error) => Next::Refuse,
        Some(_) | None => Next::Repeat,
    }
}

/// The confirmations of a batch: its messages follow each other in the stream.
pub(in crate::publish) fn confirmations(last: u64, count: usize) -> impl Iterator<Item = Published> {
    let first = (last + 1).saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
    (first..=last).map(|sequence| Published { sequence, is_duplicate: false })
}

#[cfg(test)]
mod tests;
