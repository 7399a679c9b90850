//! What a run wants done.

use search::Proposal;

use super::Ending;

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Train a candidate.
    Train(Proposal),
    /// Stop every trial under way.
    StopTrials(Stop),
    /// Announce the end; nothing follows.
    Finish(Ending),
}

/// Why trials are stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// They end with an event of status cancelled.
    Cancelled,
    /// They end without an event.
    Dropped,
}
