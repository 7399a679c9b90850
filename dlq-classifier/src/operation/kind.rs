//! What can be done about dead letters. Pure.

use serde::{Deserialize, Serialize};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The messages were published again.
    Replayed,
    /// The entries were declared not needed.
    Discarded,
    /// A classifier that had stopped at its storm limit was told to go on.
    Resumed,
    /// Notice of messages that leave the stream by its limits before they were handled.
    Expired,
    /// Letters that were replayed or discarded were removed.
    Purged,
    /// Somebody knows why messages left the stream in silence, and answers for them.
    Acknowledged,
}

impl Kind {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
            Self::Resumed => "resumed",
            Self::Expired => "expired",
            Self::Purged => "purged",
            Self::Acknowledged => "acknowledged",
        }
    }
}
