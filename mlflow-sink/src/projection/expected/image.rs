//! One MLflow run as it should be, small: names are numbers, texts are hashes, the points of a metric one sum.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use super::super::{Closing, Point, RunStatus, Writes};

/// A name that is written once, however many runs have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(u32);

/// The names of parameters, tags and metrics.
#[derive(Debug, Clone, Default)]
pub struct Names {
    numbers: HashMap<Arc<str>, Name>,
    texts: Vec<Arc<str>>,
}

impl Names {
    /// The number of a name, a new one if it has none.
    fn intern(&mut self, text: &str) -> Name {
        if let Some(name) = self.numbers.get(text) {
            return *name;
        }
        // Four thousand million names do not fit into the memory there is.
        let name = Name(u32::try_from(self.texts.len()).unwrap_or(u32::MAX));
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, name);
        name
    }

    /// The number of a name that was seen.
    pub fn find(&self, text: &str) -> Option<Name> {
        self.numbers.get(text).copied()
    }

    /// The name.
    pub fn text(&self, name: Name) -> &str {
        &self.texts[name.0 as usize]
    }
}

/// Values by their names, the values as hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts(Vec<(Name, u64)>);

impl Facts {
    /// The hash of a value.
    pub fn hash(value: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        hasher.finish()
    }

    /// The hash of the value of a name.
    pub fn get(&self, name: Name) -> Option<u64> {
        self.0.binary_search_by_key(&name, |(name, _)| *name).ok().map(|place| self.0[place].1)
    }

    /// Every name with the hash of its value.
    pub fn iter(&self) -> impl Iterator<Item = (Name, u64)> {
        self.0.iter().copied()
    }

    fn put(&mut self, name: Name, value: &str) {
        match self.0.binary_search_by_key(&name, |(name, _)| *name) {
            Ok(place) => self.0[place].1 = Self::hash(value),
            Err(place) => self.0.insert(place, (name, Self::hash(value))),
        }
    }
}

/// The points of one metric: how many, which, and the one MLflow shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tally {
    /// Different points.
    pub count: u32,
    /// Sum of their hashes, the same in any order.
    pub sum: u64,
    /// The one of the highest step; among these the latest.
    pub latest: (i64, i64, f64),
    /// Hash of the point that was added last: it may come twice.
    last: u64,
    /// How many there are depends on how the events came: values came after the final one.
    pub is_loose: bool,
}

impl Tally {
    /// Nothing yet.
    pub fn none() -> Self {
        Self { count: 0, sum: 0, latest: (i64::MIN, i64::MIN, 0.0), last: 0, is_loose: false }
    }

    /// Adds a point; the same one right after itself is one point.
    pub fn add(&mut self, step: i64, timestamp: i64, value: f64) {
        // Minus zero is zero to a database.
        let value = value + 0.0;
        let mut hasher = DefaultHasher::new();
        (step, timestamp, value.to_bits()).hash(&mut hasher);
        let hash = hasher.finish();
        if self.count > 0 && self.last == hash {
            return;
        }
        self.last = hash;
        self.count += 1;
        self.sum = self.sum.wrapping_add(hash);
        let (latest_step, latest_time, latest_value) = self.latest;
        let is_later =
            (step, timestamp).cmp(&(latest_step, latest_time)).then(value.total_cmp(&latest_value)).is_gt();
        if is_later {
            self.latest = (step, timestamp, value);
        }
    }
}

/// One MLflow run as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// How it stands.
    pub status: RunStatus,
    /// When it ended, unless it runs.
    pub end_time: Option<i64>,
    /// Its parameters.
    pub params: Facts,
    /// Its tags.
    pub tags: Facts,
    /// Its metrics, in the order of their names' numbers.
    pub metrics: Vec<(Name, Tally)>,
    /// MLflow refused a part of it: what it took of that is not known.
    pub is_torn: bool,
    /// The same of these values, until MLflow takes them, by the hashes of what they are values of. One a dead letter.
    pub lacks_values: BTreeSet<u64>,
    /// The same of its start or its report, until MLflow takes it.
    pub lacks_word: bool,
    /// The same of its end.
    pub lacks_end: bool,
}

impl Image {
    /// One that was just created with these tags.
    pub(super) fn new() -> Self {
        Self {
            status: RunStatus::Running,
            end_time: None,
            params: Facts::default(),
            tags: Facts::default(),
            metrics: Vec::new(),
            is_torn: false,
            lacks_values: BTreeSet::new(),
            lacks_word: false,
            lacks_end: false,
        }
    }

    /// True when it is not known what it should have: MLflow refused a part of it.
    pub fn is_partial(&self) -> bool {
        self.is_torn || !self.lacks_values.is_empty() || self.lacks_word || self.lacks_end
    }

    /// What is written to it.
    pub(super) fn write(&mut self, names: &mut Names, writes: &Writes) {
        for (name, value) in &writes.params {
            let name = names.intern(name);
            // MLflow keeps the first value.
            match self.params.get(name) {
                None => self.params.put(name, value),
                Some(known) => self.is_torn |= known != Facts::hash(value),
            }
        }
        for (name, value) in &writes.tags {
            self.tags.put(names.intern(name), value);
        }
        for point in &writes.points {
            self.point(names, point);
        }
    }

    pub(super) fn point(&mut self, names: &mut Names, point: &Point) {
        self.tally(names, &point.key).add(point.step, point.timestamp, point.value);
    }

    pub(super) fn tally(&mut self, names: &mut Names, key: &str) -> &mut Tally {
        let name = names.intern(key);
        let place = match self.metrics.binary_search_by_key(&name, |(name, _)| *name) {
            Ok(place) => place,
            Err(place) => {
                self.metrics.insert(place, (name, Tally::none()));
                place
            }
        };
        &mut self.metrics[place].1
    }

    /// A metric.
    pub fn metric(&self, name: Name) -> Option<&Tally> {
        let place = self.metrics.binary_search_by_key(&name, |(name, _)| *name).ok()?;
        Some(&self.metrics[place].1)
    }

    /// Removes the tags with these names. A name that ends in a dot stands for all behind it.
    pub(super) fn remove_tags(&mut self, names: &Names, removed: &[&str]) {
        self.tags.0.retain(|(name, _)| {
            let tag = names.text(*name);
            !removed.iter().any(|name| tag == *name || (name.ends_with('.') && tag.starts_with(name)))
        });
    }

    pub(super) fn close(&mut self, closing: &Closing) {
        (self.status, self.end_time) = (closing.status, Some(closing.end_time));
    }

    pub(super) fn reopen(&mut self) {
        (self.status, self.end_time) = (RunStatus::Running, None);
    }
}
