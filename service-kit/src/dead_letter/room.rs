//! Room in the dead-letter stream: letters may fill nearly all of it, not all. What people do about letters is put on
//! record in the same stream, and so are the alerts that call them: a queue that is full of letters could not be
//! emptied otherwise, nor say that it is full.
//!
//! While there is plenty of room it is asked for every few seconds, else before each letter. Where the broker does not
//! say, the letter is tried: the broker has the last word.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{Config, DiscardPolicy, State};
use schemas::subject::DLQ_STREAM;

use crate::broker::Broker;
use crate::publish::PublishFailure;

/// Hundredths of the stream that letters may fill.
const FOR_LETTERS: u64 = 95;
/// Below so many hundredths there is plenty of room.
const PLENTY: u64 = 80;
/// How long plenty of room is believed in.
const BELIEVED_FOR: Duration = Duration::from_secs(5);
/// How long the broker is asked.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes the broker adds to a message, and that subject and headers have, at most as a rule.
const ABOUT_A_LETTER: u64 = 2048;

/// What was seen of the room last, shared by all who write letters in this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Option<(Room, Instant)>>>);

/// How full a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    bytes: u64,
    messages: u64,
    /// `None` without a bound, or where the stream drops the oldest to make room.
    most_bytes: Option<u64>,
    most_messages: Option<u64>,
}

impl Room {
    fn of(state: &State, config: &Config) -> Self {
        let refuses = config.discard == DiscardPolicy::New;
        let bound = |most: i64| u64::try_from(most).ok().filter(|most| refuses && *most > 0);
        Self {
            bytes: state.bytes,
            messages: state.messages,
            most_bytes: bound(config.max_bytes),
            most_messages: bound(config.max_messages),
        }
    }

    fn with(self, bytes: u64) -> Self {
        Self { bytes: self.bytes.saturating_add(bytes), messages: self.messages.saturating_add(1), ..self }
    }

    /// True if no more than this part is taken.
    fn is_within(&self, hundredths: u64) -> bool {
        let fits = |taken: u64, most: Option<u64>| {
            most.is_none_or(|most| u128::from(taken) * 100 <= u128::from(most) * u128::from(hundredths))
        };
        fits(self.bytes, self.most_bytes) && fits(self.messages, self.most_messages)
    }
}

/// Makes sure that a letter of so many bytes leaves room for records and alerts.
pub(super) async fn for_letter(broker: &Broker, subject: &str, payload: usize) -> Result<(), PublishFailure> {
    let bytes = u64::try_from(payload).unwrap_or(u64::MAX).saturating_add(ABOUT_A_LETTER);
    if broker.letters_room.has_plenty(bytes) {
        return Ok(());
    }
    let Some(room) = look(broker).await else { return Ok(()) };
    if !room.with(bytes).is_within(FOR_LETTERS) {
        let reason = format!(
            "letters may fill {FOR_LETTERS} % of the stream {DLQ_STREAM}, so that records and alerts still fit; raise its \
             max_bytes or max_msgs, or discard and purge what was dealt with"
        );
        return Err(PublishFailure::Full { subject: subject.to_owned(), reason });
    }
    broker.letters_room.remember(room.with(bytes));
    Ok(())
}

/// Makes sure that a record of so many bytes has room, before anything is done that it is to tell of.
///
/// # Errors
/// There is none.
pub async fn for_record(broker: &Broker, subject: &str, bytes: usize) -> Result<(), PublishFailure> {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(ABOUT_A_LETTER);
    match look(broker).await {
        Some(room) if !room.with(bytes).is_within(100) => {
            let reason = format!(
                "the stream {DLQ_STREAM} is full; raise its max_bytes or max_msgs, or purge what was dealt with"
            );
            Err(PublishFailure::Full { subject: subject.to_owned(), reason })
        }
        Some(_) | None => Ok(()),
    }
}

async fn look(broker: &Broker) -> Option<Room> {
    let stream = tokio::time::timeout(PATIENCE, broker.jetstream.get_stream(DLQ_STREAM)).await.ok()?.ok()?;
    let info = stream.cached_info();
    Some(Room::of(&info.state, &info.config))
}

impl Seen {
    /// True if there was plenty of room a moment ago, and still is with one letter more, which is counted in.
    fn has_plenty(&self, bytes: u64) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((room, at)) = seen.as_mut().filter(|(_, at)| at.elapsed() < BELIEVED_FOR) else {
            return false;
        };
        let (next, since) = (room.with(bytes), *at);
        if !next.is_within(PLENTY) {
            return false;
        }
        *seen = Some((next, since));
        true
    }

    fn remember(&self, room: Room) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((room, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(bytes: u64, discard: DiscardPolicy) -> Room {
        let config = Config { max_bytes: 1000, max_messages: 50, discard, ..Config::default() };
        let unbounded = Room::of(&state(), &config);
        Room { bytes, messages: 10, ..unbounded }
    }

    fn state() -> State {
        let now = "2026-01-01T00:00:00Z";
        serde_json::from_value(serde_json::json!({
            "messages": 0, "bytes": 0, "first_seq": 0, "first_ts": now, "last_seq": 0, "last_ts": now,
            "consumer_count": 0, "num_subjects": 0
        }))
        .unwrap()
    }

    #[test]
    fn letters_may_fill_nearly_all_of_a_stream_by_bytes_and_by_count() {
        let new = room(900, DiscardPolicy::New);
        assert!(new.with(50).is_within(FOR_LETTERS) && !new.with(51).is_within(FOR_LETTERS));
        let many = Room { messages: 47, ..room(0, DiscardPolicy::New) };
        assert!(many.is_within(FOR_LETTERS) && !many.with(1).is_within(FOR_LETTERS));
    }

    #[test]
    fn a_stream_that_drops_the_oldest_or_has_no_bound_is_never_full() {
        assert!(room(999, DiscardPolicy::Old).with(1 << 40).is_within(FOR_LETTERS));
        let unbounded = Room { most_bytes: None, most_messages: None, ..room(0, DiscardPolicy::New) };
        assert!(unbounded.with(u64::MAX).is_within(FOR_LETTERS));
    }

    #[test]
    fn plenty_of_room_is_believed_until_what_we_write_ourselves_has_taken_it() {
        let seen = Seen::default();
        assert!(!seen.has_plenty(1));
        seen.remember(room(700, DiscardPolicy::New));
        assert!(seen.has_plenty(60) && seen.has_plenty(40) && !seen.has_plenty(1));
    }
}
