//! What MLflow does not take as it is, whole: names that were changed, and values that were cut.
//!
//! They lie in one file among the artefacts of their run, which grows with it. The same events make the same bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Folder of the file among the artefacts of a run.
pub const FOLDER: &str = "cerebros";
/// Its place there.
pub const PATH: &str = "cerebros/originals.json";
/// Tag of a run with where its originals are.
pub const ORIGINALS_TAG: &str = "cerebros.originals";
/// Largest file: below what a server brings to a store outside of it, and several of them are in memory at once.
pub const MAX_BYTES: usize = 2 << 20;
/// Originals of one run that are remembered; what is beyond is compared with the file again.
const MAX_TOLD: usize = 20_000;

/// Names and values as they were.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Originals {
    /// By the name MLflow has.
    names: BTreeMap<String, String>,
    /// By kind and name: `param.big`, `tag.cerebros.warnings`.
    values: BTreeMap<String, String>,
}

impl Originals {
    /// What a file says; `None` when it is not one of ours.
    pub fn read(file: &[u8]) -> Option<Self> {
        serde_json::from_slice(file).ok()
    }

    /// True when there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.values.is_empty()
    }

    /// Adds a name that was changed.
    pub fn name(&mut self, legal: &str, original: &str) {
        self.names.insert(legal.to_owned(), original.to_owned());
    }

    /// Adds a value that was cut.
    pub fn value(&mut self, kind: &str, key: &str, original: &str) {
        self.values.insert(format!("{kind}.{key}"), original.to_owned());
    }

    /// Adds everything of `other`, which is later.
    pub fn extend(&mut self, other: Self) {
        self.names.extend(other.names);
        self.values.extend(other.values);
    }

    /// The file.
    pub fn file(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("texts are plain data");
        text.push('\n');
        text
    }

    fn marks(&self) -> impl Iterator<Item = (u64, u64)> {
        let of = |kind: &'static str, entries: &BTreeMap<String, String>| {
            let marks = entries.iter().map(move |(key, text)| (hash(&format!("{kind}.{key}")), hash(text)));
            marks.collect::<Vec<_>>()
        };
        of("name", &self.names).into_iter().chain(of("value", &self.values))
    }
}

/// Which originals of a run are in its file, as hashes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Told(BTreeMap<u64, u64>);

impl Told {
    /// True when the file has to be written for these.
    pub fn lacks(&self, originals: &Originals) -> bool {
        !originals.is_empty() && originals.marks().any(|(key, text)| self.0.get(&key) != Some(&text))
    }

    /// Remembers them.
    pub fn note(&mut self, originals: &Originals) {
        if self.0.len() < MAX_TOLD {
            self.0.extend(originals.marks());
        }
    }
}

fn hash(text: &str) -> u64 {
    let digest = Sha256::digest(text);
    u64::from_be_bytes(std::array::from_fn(|index| digest[index]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_sorted_and_read_back_whole() {
        let mut originals = Originals::default();
        originals.name("b-1", "b %");
        originals.value("param", "a", "x\0y");
        originals.name("a-1", "");
        let file = originals.file();
        assert!(file.find("a-1") < file.find("b-1"), "{file}");
        assert_eq!(Originals::read(file.as_bytes()), Some(originals));
        assert_eq!(Originals::read(b"<html>"), None);
    }

    #[test]
    fn what_is_said_again_is_known_and_what_is_said_otherwise_is_not() {
        let (mut told, mut originals) = (Told::default(), Originals::default());
        assert!(!told.lacks(&originals));
        originals.value("tag", "a", "one");
        assert!(told.lacks(&originals));
        told.note(&originals);
        assert!(!told.lacks(&originals));
        let mut other = Originals::default();
        other.value("tag", "a", "two");
        assert!(told.lacks(&other));
        told.note(&other);
        assert!(told.lacks(&originals), "the file has the later one");
        let kept = serde_json::to_string(&told).unwrap();
        assert_eq!(serde_json::from_str::<Told>(&kept).unwrap(), told);
    }

    #[test]
    fn the_later_word_of_two_counts() {
        let (mut first, mut second) = (Originals::default(), Originals::default());
        first.value("tag", "a", "one");
        first.name("n-1", "n %");
        second.value("tag", "a", "two");
        first.extend(second);
        assert_eq!((first.values["tag.a"].as_str(), first.names.len()), ("two", 1));
    }
}
