//! A run that is asked for again.

use schemas::event::TrialStatus;

/// Which trials are trained again when a run that is over is asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// Those that did not succeed.
    Unsuccessful,
    /// Those that failed or were cancelled. A run that completed is asked for again in no other way.
    Failed,
}

impl Again {
    /// True if a trial that ended so is trained again.
    pub(super) fn concerns(self, status: TrialStatus) -> bool {
        match status {
            TrialStatus::Succeeded => false,
            TrialStatus::Failed | TrialStatus::Cancelled => true,
            TrialStatus::Skipped | TrialStatus::Pruned => self == Self::Unsuccessful,
        }
    }
}
