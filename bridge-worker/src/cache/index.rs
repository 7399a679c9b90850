//! Which results are there, which are too old, which have to go.
//!
//! Pure: the time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use schemas::Timestamp;

use super::contract::Key;

/// Bytes of all results together, their files included.
pub const MAX_BYTES: u64 = 512 << 20;

/// What may be kept.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// How long; without one until others need the room.
    pub ttl: Option<Duration>,
    /// How many.
    pub max_entries: usize,
    /// How much.
    pub max_bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    at: Timestamp,
    bytes: u64,
    /// Order of arrival; two may have the same time.
    turn: u64,
}

/// What is kept.
#[derive(Debug)]
pub struct Index {
    capacity: Capacity,
    kept: BTreeMap<Key, Kept>,
    by_turn: BTreeMap<u64, Key>,
    turns: u64,
    bytes: u64,
}

impl Index {
    /// Nothing yet.
    pub fn new(capacity: Capacity) -> Self {
        Self { capacity, kept: BTreeMap::new(), by_turn: BTreeMap::new(), turns: 0, bytes: 0 }
    }

    /// True when there is a result that is young enough. One from the future is not: some clock was wrong.
    pub fn is_fresh(&self, key: &Key, now: Timestamp) -> bool {
        self.kept.get(key).is_some_and(|kept| {
            let age = now.micros().checked_sub(kept.at.micros()).and_then(|age| u64::try_from(age).ok());
            let limit = self.capacity.ttl.map_or(Duration::MAX, |ttl| ttl);
            age.is_some_and(|age| Duration::from_micros(age) < limit)
        })
    }

    /// Takes a result in. Returns those that have to go for it, oldest first; the result itself when it is too large.
    pub fn insert(&mut self, key: Key, at: Timestamp, bytes: u64) -> Vec<Key> {
        self.remove(&key);
        self.turns += 1;
        self.bytes += bytes;
        self.kept.insert(key, Kept { at, bytes, turn: self.turns });
        self.by_turn.insert(self.turns, key);
        let mut gone = Vec::new();
        while self.kept.len() > self.capacity.max_entries || self.bytes > self.capacity.max_bytes {
            let Some((_, oldest)) = self.by_turn.first_key_value() else { break };
            let oldest = *oldest;
            self.remove(&oldest);
            gone.push(oldest);
        }
        gone
    }

    /// Forgets a result. True when there was one.
    pub fn remove(&mut self, key: &Key) -> bool {
        let Some(kept) = self.kept.remove(key) else { return false };
        self.by_turn.remove(&kept.turn);
        self.bytes -= kept.bytes;
        true
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(ttl: Option<u64>, max_entries: usize, max_bytes: u64) -> Index {
        Index::new(Capacity { ttl: ttl.map(Duration::from_millis), max_entries, max_bytes })
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(millis * 1000)
    }

    const ONE: Key = [1; 32];
    const TWO: Key = [2; 32];
    const THREE: Key = [3; 32];

    #[test]
    fn a_result_is_fresh_until_its_time_is_up() {
        let mut index = index(Some(30), 9, 99);
        index.insert(ONE, at(100), 1);
        assert!(index.is_fresh(&ONE, at(100)) && index.is_fresh(&ONE, at(129)));
        assert!(!index.is_fresh(&ONE, at(130)) && !index.is_fresh(&TWO, at(100)));
        assert!(!index.is_fresh(&ONE, at(99)), "a result of the future");
    }

    #[test]
    fn without_a_time_a_result_stays_fresh() {
        let mut index = index(None, 9, 99);
        index.insert(ONE, at(0), 1);
        assert!(index.is_fresh(&ONE, at(i64::from(u32::MAX))));
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many_and_one_that_comes_again_is_young() {
        let mut index = index(None, 2, 99);
        assert!(index.insert(ONE, at(0), 1).is_empty());
        assert!(index.insert(TWO, at(0), 1).is_empty());
        assert!(index.insert(ONE, at(1), 1).is_empty());
        assert_eq!(index.insert(THREE, at(1), 1), [TWO]);
        assert_eq!(index.len(), 2);
    }

    #[test]
    fn results_that_are_too_large_go_and_one_larger_than_all_room_goes_itself() {
        let mut index = index(None, 9, 10);
        index.insert(ONE, at(0), 4);
        index.insert(TWO, at(0), 4);
        assert_eq!(index.insert(THREE, at(0), 5), [ONE]);
        assert_eq!(index.insert(ONE, at(0), 11), [TWO, THREE, ONE]);
        assert!(index.is_empty());
    }
}
