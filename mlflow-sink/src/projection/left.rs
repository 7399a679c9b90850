//! A trial that nobody reported, once its run is over.
//!
//! Its worker vanished, or was stopped before it could say how the trial ended. Either way it does not train any more,
//! and MLflow must not show it as if it did.

use schemas::{Failure, FailureClass, Stage};

use super::parent::failed;
use super::trial::{ATTEMPT_TAG, REASON_TAG, STATUS_TAG};
use super::{Closing, RunStatus, Writes};

/// Value of the tag `cerebros.status` of a trial that vanished with its worker.
pub const LOST: &str = "lost";
/// Tag of a trial that was closed with its run, without a report of its own.
pub const UNREPORTED_TAG: &str = "cerebros.unreported";

/// How a run ended, as far as it concerns the trials it left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Over {
    /// Attempt that ended.
    pub attempt: Option<u32>,
    /// Status of the run.
    pub status: RunStatus,
    /// When, in milliseconds since 1970.
    pub end_time: i64,
    /// Why, where somebody said it.
    pub reason: Option<String>,
}

/// What becomes of a trial that is left behind: the same for the same end, whoever closes it.
pub fn left(over: &Over) -> (Writes, Closing) {
    let mut writes = Writes::default();
    writes.tag(UNREPORTED_TAG, "true");
    writes.tag_some(ATTEMPT_TAG, over.attempt);
    let is_cancelled = over.status == RunStatus::Killed;
    if is_cancelled {
        writes.tag(STATUS_TAG, "cancelled");
        let reason = over.reason.as_deref();
        writes.tag(
            REASON_TAG,
            reason.map_or_else(
                || "the run was cancelled".to_owned(),
                |reason| format!("the run was cancelled: {reason}"),
            ),
        );
    } else {
        writes.tag(STATUS_TAG, LOST);
        let message = "the run ended and nobody reported this trial";
        failed(&mut writes, &Failure::new(FailureClass::WorkerLost, Stage::Execute, message));
    }
    let status = if is_cancelled { RunStatus::Killed } else { RunStatus::Failed };
    (writes, Closing { status, end_time: over.end_time, name: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(status: RunStatus, reason: Option<&str>) -> (Writes, Closing) {
        left(&Over { attempt: Some(2), status, end_time: 7, reason: reason.map(str::to_owned) })
    }

    #[test]
    fn what_a_cancelled_run_leaves_is_killed_and_says_why() {
        let (writes, closing) = over(RunStatus::Killed, Some("enough"));
        assert_eq!((closing.status, closing.end_time), (RunStatus::Killed, 7));
        assert_eq!(writes.tags["cerebros.reason"], "the run was cancelled: enough");
        assert_eq!(
            (writes.tags["cerebros.status"].as_str(), writes.tags["cerebros.attempt"].as_str()),
            ("cancelled", "2")
        );
    }

    #[test]
    fn what_any_other_run_leaves_is_lost() {
        for status in [RunStatus::Finished, RunStatus::Failed] {
            let (writes, closing) = over(status, None);
            assert_eq!(closing.status, RunStatus::Failed);
            assert_eq!(writes.tags["cerebros.status"], LOST);
            assert_eq!(writes.tags["cerebros.failure.class"], "worker_lost");
        }
    }
}
