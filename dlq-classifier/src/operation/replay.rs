//! What became of the entries of a replay: where they went, or why they did not. Pure.

use schemas::RunId;
use schemas::failure::bounded_head;
use serde::{Deserialize, Serialize};

use super::MAX_REASON_BYTES;
use crate::replay::{Outcome, ReplayResult};

/// Where one entry was replayed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The entry.
    pub id: String,
    /// The consumer in whose name the letter was; empty in records of earlier builds.
    #[serde(default)]
    pub consumer: String,
    /// Its place in the dead-letter stream; 0 in records of earlier builds.
    #[serde(default)]
    pub kept_at: u64,
    /// Sequence the new message got.
    pub sequence: u64,
    /// Subject it went to.
    pub subject: String,
    /// Its message id.
    pub message_id: String,
    /// True if the payload was changed by an edit.
    pub edited: bool,
    /// True if it was of an older schema and is written in today's.
    #[serde(default, skip_serializing_if = "is_false")]
    pub upcast: bool,
    /// The run it was made to name: the one readers had derived for it while it named none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named_run: Option<RunId>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// An entry that a replay did not publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The entry.
    pub id: String,
    /// Its place in the dead-letter stream.
    pub kept_at: u64,
    /// Invalid or skipped.
    pub outcome: Outcome,
    /// Why.
    pub reason: String,
}

impl Refused {
    /// What a row says.
    pub(crate) fn of(row: &ReplayResult) -> Self {
        let reason = bounded_head(row.reason.as_deref().unwrap_or_default(), MAX_REASON_BYTES);
        Self { id: row.id.clone(), kept_at: row.kept_at, outcome: row.outcome, reason }
    }
}
