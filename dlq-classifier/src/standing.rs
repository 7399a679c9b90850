//! What became of the entries, as the records of operations tell it, without the entries.
//!
//! Pure. Records are few and letters may be many: with the records read first, letters can be told one at a time and
//! none has to be kept. An entry is one message at one consumer, so the last record of it holds for every letter of it,
//! wherever they stand: that is the rule of [`crate::book`] and of replays as well. A second letter of the same entry (its first confirmation was lost, and the broker had forgotten
//! its message id) is not told again.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};

use crate::entry::{Entry, State};
use crate::operation::{Kind, Operation};

/// The state of each entry that somebody has dealt with.
#[derive(Debug, Default)]
pub struct Standing {
    /// By the digest of its id.
    dealt_with: HashMap<u64, State, BuildHasherDefault<AsItIs>>,
    hasher: RandomState,
}

/// Entries that were told already, by their digests.
#[derive(Debug, Default)]
pub struct Told(HashSet<u64, BuildHasherDefault<AsItIs>>);

/// Takes a number for its own hash, because it is one.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl Standing {
    /// Takes the next record of an operation.
    pub fn apply(&mut self, operation: &Operation) {
        let state = match operation.operation {
            Kind::Replayed => State::Replayed,
            Kind::Discarded => State::Discarded,
            // They speak of no entries that are kept.
            Kind::Resumed | Kind::Expired | Kind::Purged | Kind::Acknowledged => return,
        };
        for id in &operation.ids {
            self.dealt_with.insert(self.digest(id), state);
        }
    }

    /// A hash of the id of an entry nobody can aim at.
    pub fn digest(&self, id: &str) -> u64 {
        self.hasher.hash_one(id)
    }

    /// An entry as it stands, by its digest.
    pub fn tell(&self, entry: Entry, digest: u64) -> Entry {
        let state = self.dealt_with.get(&digest).copied();
        Entry { state: state.unwrap_or(entry.state), ..entry }
    }
}

impl Told {
    /// True the first time. Letters have to come in the order of the stream: the earliest of an entry is told.
    pub fn is_first(&mut self, digest: u64) -> bool {
        self.0.insert(digest)
    }
}

#[cfg(test)]
mod tests {
    use schemas::cloudevents::Headers;
    use schemas::dead_letter::{Place, Verdict};
    use schemas::{Failure, FailureClass, Stage, Timestamp};
    use service_kit::history::Kept;

    use super::*;
    use crate::operation::Act;

    fn letter(sequence: u64, kept_at: u64) -> Entry {
        let place = Place {
            stream: "CEREBROS".into(),
            sequence,
            consumer: "dlq-classifier".into(),
            subject: "ml.run.trial".into(),
            deliveries: 1,
            first_seen: Timestamp::default(),
        };
        let failure = Failure::new(FailureClass::Decode, Stage::Decode, "not JSON");
        let verdict = Verdict::new(&place, &failure, Timestamp::default(), &Headers::default());
        let headers = verdict.headers(&Headers::default(), &place.message_id());
        let kept = Kept {
            sequence: kept_at,
            subject: verdict.kept_on(),
            time: Timestamp::default(),
            headers,
            payload: b"{".to_vec().into(),
            schema: None,
        };
        Entry::read(&kept).unwrap()
    }

    #[test]
    fn an_entry_is_told_once_and_as_the_last_record_of_it_says() {
        let mut standing = Standing::default();
        let act = Act { actor: "ann@host".into(), reason: None, filter: None };
        let entries = [letter(7, 1), letter(8, 2)].map(|entry| (entry.id, entry.consumer));
        let discard = Operation::discarded(&act, Timestamp::default(), entries.to_vec());
        standing.apply(&discard);
        let mut told = Told::default();
        let mut tell = |letter: Entry| {
            let digest = standing.digest(&letter.id);
            told.is_first(digest).then(|| standing.tell(letter, digest).state)
        };
        assert_eq!(tell(letter(7, 1)), Some(State::Discarded));
        assert_eq!(
            tell(letter(8, 3)),
            Some(State::Discarded),
            "a second letter of a message that was dealt with is no news"
        );
        assert_eq!(tell(letter(7, 9)), None);
    }
}
