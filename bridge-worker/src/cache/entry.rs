//! What is kept of a trial, and its bytes.
//!
//! Pure. A head in JSON (its length first), then the contents of the files one after another.

use std::collections::BTreeMap;

use schemas::{Real, Timestamp};
use serde::{Deserialize, Serialize};

/// Bytes of one result at most, its files included: a larger one costs more to keep than it saves.
pub const MAX_ENTRY_BYTES: usize = 16 << 20;
/// Reports of one result at most.
pub const MAX_REPORTS: usize = 10_000;
const LENGTH_BYTES: usize = 4;

/// What a trial that succeeded came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When it was kept.
    pub at: Timestamp,
    /// Id of the trial that was trained.
    pub trial_id: String,
    /// Its metrics.
    pub metrics: BTreeMap<String, Real>,
    /// Its warnings.
    pub warnings: Vec<String>,
    /// Whether the norm was constrained.
    pub spectral_norm: bool,
    /// The norm.
    pub spectral_norm_value: Option<Real>,
    /// What it reported on the way, in order.
    pub reports: Vec<Report>,
    /// The files it left.
    pub files: Vec<KeptFile>,
}

/// One report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Its step.
    pub step: i64,
    /// Its values.
    pub metrics: BTreeMap<String, Real>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptFile {
    /// Its name.
    pub name: String,
    /// Hex SHA-256 of its content.
    pub sha256: String,
    /// Its media type.
    pub media_type: String,
    /// Length of its content.
    pub bytes: usize,
    /// Its content; not in the head.
    #[serde(skip)]
    pub content: Vec<u8>,
}

impl Entry {
    /// About how many bytes it takes, without writing it.
    pub fn weight(&self) -> usize {
        let of_metrics = |metrics: &BTreeMap<String, Real>| -> usize {
            metrics.keys().map(|name| name.len() + size_of::<Real>()).sum()
        };
        let reports: usize = self.reports.iter().map(|report| of_metrics(&report.metrics)).sum();
        let files: usize = self.files.iter().map(|file| file.content.len() + file.name.len()).sum();
        let warnings: usize = self.warnings.iter().map(String::len).sum();
        of_metrics(&self.metrics) + reports + files + warnings
    }

    /// Its bytes; `None` when there are too many.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let head = serde_json::to_vec(self).ok()?;
        let mut bytes = u32::try_from(head.len()).ok()?.to_be_bytes().to_vec();
        bytes.extend(head);
        for file in &self.files {
            bytes.extend_from_slice(&file.content);
        }
        (bytes.len() <= MAX_ENTRY_BYTES).then_some(bytes)
    }

    /// The head alone, without the contents of the files.
    pub fn head(bytes: &[u8]) -> Option<Self> {
        Self::split(bytes).map(|(entry, _)| entry)
    }

    /// Reads what [`Entry::encode`] wrote; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (mut entry, mut rest) = Self::split(bytes)?;
        for file in &mut entry.files {
            let (content, after) = rest.split_at_checked(file.bytes)?;
            file.content = content.to_vec();
            rest = after;
        }
        rest.is_empty().then_some(entry)
    }

    fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (length, rest) = bytes.split_at_checked(LENGTH_BYTES)?;
        let length = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
        let (head, rest) = rest.split_at_checked(length)?;
        Some((serde_json::from_slice(head).ok()?, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let file = |name: &str, content: &[u8]| KeptFile {
            name: name.to_owned(),
            sha256: "00".to_owned(),
            media_type: "text/plain".to_owned(),
            bytes: content.len(),
            content: content.to_vec(),
        };
        Entry {
            at: Timestamp::from_micros(7),
            trial_id: "r-0".to_owned(),
            metrics: [("accuracy".to_owned(), Real(0.5)), ("odd".to_owned(), Real(f64::INFINITY))].into(),
            warnings: vec!["w".to_owned()],
            spectral_norm: true,
            spectral_norm_value: Some(Real(2.0)),
            reports: vec![Report { step: 0, metrics: [("loss".to_owned(), Real(1.0))].into() }],
            files: vec![file("a", b"one"), file("b", b""), file("c", b"\xff\x00")],
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let bytes = entry().encode().unwrap();
        assert_eq!(Entry::decode(&bytes), Some(entry()));
        for length in 0..bytes.len() {
            assert_eq!(Entry::decode(&bytes[..length]), None, "cut at {length}");
        }
        assert_eq!(Entry::decode(&[bytes.as_slice(), b"x"].concat()), None);
        assert_eq!(Entry::decode(&u32::MAX.to_be_bytes()), None);
    }

    #[test]
    fn a_result_that_is_too_large_is_not_written() {
        let mut entry = entry();
        let before = entry.weight();
        assert!(before > 0);
        entry.files[0].content = vec![0; MAX_ENTRY_BYTES];
        assert_eq!(entry.encode(), None);
        assert_eq!(entry.weight(), before - 3 + MAX_ENTRY_BYTES);
    }
}
