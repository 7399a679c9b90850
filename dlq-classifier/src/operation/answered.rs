//! What somebody answers for: messages that are gone, by their sequences, and losses, by the time they were found. Pure.

use schemas::Timestamp;
use serde::{Deserialize, Serialize};

/// Ranges in one record of an acknowledgement, of at most 44 bytes each.
pub const MAX_RANGES: usize = 10_000;
/// Losses in one, of at most 400 bytes each: with as many ranges as there may be the record stays below 1 MiB.
pub const MAX_LOSSES: usize = 1000;

/// Messages a consumer gave up, of which nobody can tell which they were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The consumer.
    pub consumer: String,
    /// They are among these.
    pub from: u64,
    /// Last of them.
    pub to: u64,
    /// So many are missing.
    pub count: u64,
    /// When a classifier had found that, which tells one loss of a consumer from another.
    pub found: Timestamp,
}

/// What somebody answers for: for one consumer, or for all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answered {
    /// At most [`MAX_RANGES`].
    pub ranges: Vec<(u64, u64)>,
    /// At most [`MAX_LOSSES`].
    pub losses: Vec<Missing>,
    /// The consumer, unless it is for all.
    pub consumer: Option<String>,
}

impl Answered {
    /// True if it speaks of nothing.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.losses.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{Act, Operation};

    #[test]
    fn an_acknowledgement_counts_what_it_names_and_is_bounded() {
        let act = Act { actor: "ann@host".into(), reason: Some("x".repeat(5000)), filter: None };
        let at = Timestamp::from_micros(1_700_000_000_000_000);
        let loss = |number| Missing {
            consumer: "c".repeat(255),
            from: u64::MAX - number,
            to: u64::MAX,
            count: 2,
            found: at,
        };
        let top = u64::MAX - 3 * MAX_RANGES as u64;
        let answered = Answered {
            ranges: (0..MAX_RANGES as u64).map(|number| (top + 3 * number, top + 3 * number + 1)).collect(),
            losses: (0..MAX_LOSSES as u64).map(loss).collect(),
            consumer: Some("c".repeat(255)),
        };
        let record = Operation::acknowledged(&act, at, answered.clone());
        let bytes = serde_json::to_vec(&record).unwrap();
        assert!(bytes.len() < 900 * 1024, "{}", bytes.len());
        assert_eq!(Operation::read(&record.subject(), &bytes), Some(record.clone()));
        assert_eq!(record.count(), 2 * (MAX_RANGES + MAX_LOSSES) as u64);
        assert_eq!(record.messages().count(), 0, "it has no letters");
        let ranges = answered.ranges[1..].to_vec();
        let other = Operation::acknowledged(&act, at, Answered { ranges, ..answered });
        assert_ne!(record.message_id(), other.message_id(), "two at one moment are two");
    }
}
