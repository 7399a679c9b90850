//! How many entries nobody has dealt with, how old the oldest is, how fast they come: counted along the dead-letter
//! stream, without holding the entries.
//!
//! Pure. About 60 bytes an open entry and 16 for one that was dealt with. Letters and the records of what was done with
//! them may come in any order among each other.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use schemas::Timestamp;

/// Seconds the rate speaks of.
const MINUTE: i64 = 60;

/// What is counted.
#[derive(Debug, Default)]
pub struct Tally {
    /// Entries nobody has dealt with, by their place in the stream: which, and when the stream took them in.
    open: BTreeMap<u64, (u64, Timestamp)>,
    /// Their places.
    places: HashMap<u64, u64>,
    /// Entries somebody has dealt with, and the place of the record that says so.
    done: HashMap<u64, u64>,
    /// Letters of the last minute, by second.
    recent: VecDeque<(i64, u32)>,
}

impl Tally {
    /// A dead letter at a place of the stream.
    pub fn letter(&mut self, place: u64, id: &str, kept: Timestamp) {
        let id = digest(id);
        if self.places.contains_key(&id) {
            return;
        }
        self.note(kept);
        if self.done.contains_key(&id) {
            return;
        }
        self.places.insert(id, place);
        self.open.insert(place, (id, kept));
    }

    /// Somebody has dealt with an entry; the record of it is at a place of the stream.
    pub fn handled(&mut self, id: &str, place: u64) {
        let id = digest(id);
        self.done.insert(id, place);
        if let Some(place) = self.places.remove(&id) {
            self.open.remove(&place);
        }
    }

    /// The stream has dropped what was before a place.
    pub fn forget_before(&mut self, first: u64) {
        while let Some(entry) = self.open.first_entry().filter(|entry| *entry.key() < first) {
            let (id, _) = entry.remove();
            self.places.remove(&id);
        }
        self.done.retain(|_, place| *place >= first);
    }

    /// Entries nobody has dealt with.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// How long the oldest of them has been there.
    pub fn oldest(&self, now: Timestamp) -> Duration {
        self.open.first_key_value().map_or(Duration::ZERO, |(_, (_, kept))| since(*kept, now))
    }

    /// Letters of the last minute.
    pub fn rate(&mut self, now: Timestamp) -> u32 {
        let from = now.micros() / 1_000_000 - MINUTE;
        while self.recent.front().is_some_and(|(second, _)| *second <= from) {
            self.recent.pop_front();
        }
        self.recent.iter().map(|(_, count)| count).sum()
    }

    /// Entries nobody has dealt with that leave the stream within `notice`, where it keeps them for `age`.
    pub fn expiring(&self, now: Timestamp, age: Duration, notice: Duration) -> usize {
        if age.is_zero() {
            return 0;
        }
        let is_near = |kept: Timestamp| since(kept, now) + notice >= age;
        self.open.values().take_while(|(_, kept)| is_near(*kept)).count()
    }

    fn note(&mut self, kept: Timestamp) {
        let second = kept.micros() / 1_000_000;
        match self.recent.back_mut() {
            Some((last, count)) if *last >= second => *count += 1,
            Some(_) | None => self.recent.push_back((second, 1)),
        }
        while self.recent.front().is_some_and(|(first, _)| *first <= second - MINUTE) {
            self.recent.pop_front();
        }
    }
}

fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(now.micros() - then.micros()).unwrap_or(0))
}

fn digest(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
