//! Where a task stands, and what may be asked of it. Pure.

use serde::{Deserialize, Serialize};

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Nobody has begun.
    Queued,
    /// Somebody is at work on it, or was when they were killed.
    Running,
    /// It was told to stop for a while.
    Paused,
    /// It was told to stop for good.
    Cancelled,
    /// Every entry was looked at.
    Done,
    /// It cannot be done.
    Failed,
}

impl Stage {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// True when nothing more comes of it.
    pub fn is_over(self) -> bool {
        match self {
            Self::Cancelled | Self::Done | Self::Failed => true,
            Self::Queued | Self::Running | Self::Paused => false,
        }
    }
}

/// What somebody asks of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// To go on.
    Run,
    /// To stop, and to go on when it is told to.
    Pause,
    /// To stop for good; what was published stays.
    Cancel,
}
