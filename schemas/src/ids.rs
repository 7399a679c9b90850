//! Identities, and how they are derived so that a redelivery derives the same.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Longest identity accepted; it becomes part of key names and object names.
pub const MAX_ID_BYTES: usize = 128;

/// Identity of one search.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

/// Identity of one trial, unique in its run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrialId(String);

/// Why a text is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an id is 1 to {MAX_ID_BYTES} characters of A-Z a-z 0-9 . _ - and does not begin or end with a dot, found {0:?}"
)]
pub struct InvalidId(String);

impl RunId {
    /// Checks and takes a run id.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        check(text).map(|()| Self(text.to_owned()))
    }

    /// The id of a run whose request carried none: a UUIDv7 whose time is that of the message and whose
    /// random part is a hash of the message's place in the stream, so that every reader derives the same.
    pub fn derive(stream: &str, sequence: u64, time_millis: u64) -> Self {
        let digest = Sha256::new()
            .chain_update(stream.as_bytes())
            .chain_update(sequence.to_be_bytes())
            .chain_update(time_millis.to_be_bytes())
            .finalize();
        let mut random = [0_u8; 10];
        random.copy_from_slice(&digest[..10]);
        Self(uuid::Builder::from_unix_timestamp_millis(time_millis, &random).into_uuid().to_string())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TrialId {
    /// The id of trial `number` of a run: the same in every attempt.
    pub fn numbered(run: &RunId, number: u64) -> Self {
        Self(format!("{run}-t{number:05}"))
    }

    /// The number of a trial that has its id from [`TrialId::numbered`].
    pub fn number_in(&self, run: &RunId) -> Option<u64> {
        self.0.strip_prefix(run.as_str())?.strip_prefix("-t")?.parse().ok()
    }

    /// Takes any text that came in an event; the events check the characters.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks that a text can serve as a key, an object name and a message id.
pub fn check(text: &str) -> Result<(), InvalidId> {
    if is_id(text.as_bytes()) { Ok(()) } else { Err(InvalidId(text.chars().take(MAX_ID_BYTES).collect())) }
}

/// One pass: every event carries two ids or more.
fn is_id(bytes: &[u8]) -> bool {
    // A dot may stand neither at an end nor beside another.
    let mut may_dot = false;
    for byte in bytes {
        match byte {
            b'.' if may_dot => may_dot = false,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => may_dot = true,
            _ => return false,
        }
    }
    may_dot && bytes.len() <= MAX_ID_BYTES
}

/// Maps by run can be asked with a text.
impl Borrow<str> for RunId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TrialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_run_id_is_the_same_for_every_reader_and_sorts_by_time() {
        let one = RunId::derive("CEREBROS", 7, 1_700_000_000_000);
        assert_eq!(one, RunId::derive("CEREBROS", 7, 1_700_000_000_000));
        assert_ne!(one, RunId::derive("CEREBROS", 8, 1_700_000_000_000));
        assert!(one < RunId::derive("CEREBROS", 1, 1_700_000_000_001));
        assert_eq!(uuid::Uuid::parse_str(one.as_str()).unwrap().get_version_num(), 7);
    }

    #[test]
    fn an_id_cannot_leave_its_place() {
        for bad in ["", ".", "..", "a/b", "a b", "a*", "a>", "a..b", ".a", "a.", "é", &"x".repeat(129)] {
            assert!(RunId::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "nas_1700000000_42", "0190b1c2-7c3d-7abc-8def-000000000001", "a.b-c_d"] {
            assert_eq!(RunId::parse(good).unwrap().as_str(), good);
        }
    }
}
