//! How a run ends: what its failed trials and the end of its search make of it.

use schemas::{Failure, FailureClass, Stage};

use super::{Command, Phase, Stop, Supervisor};

/// How a run ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// With a best trial.
    Completed {
        /// `succeeded`, or the budget that ended it early.
        status: &'static str,
    },
    /// Without.
    Failed {
        /// Why.
        failure: Box<Failure>,
        /// The budget that ended it, if one did.
        budget: Option<&'static str>,
    },
    /// On request.
    Cancelled {
        /// Why.
        reason: Option<String>,
    },
    /// With its machine; a later attempt goes on.
    Interrupted,
    /// Nothing can be trained here; a later attempt goes on, elsewhere or when that has passed.
    HandedBack {
        /// Why.
        reason: String,
    },
    /// Somebody else owns it; nothing is announced.
    Stale,
}

impl Supervisor {
    pub(super) fn check_failures(&mut self, commands: &mut Vec<Command>) {
        let is_over = |limit: Option<u32>, count: u32| limit.is_some_and(|limit| count >= limit);
        let (budget, what) = if is_over(self.limits.max_failed_trials, self.failed) {
            ("max_failed_trials", format!("{} trials failed", self.failed))
        } else if is_over(self.limits.max_consecutive_failures, self.failed_in_a_row) {
            ("max_consecutive_failures", format!("{} trials failed in a row", self.failed_in_a_row))
        } else {
            return;
        };
        if !matches!(self.phase, Phase::Searching | Phase::Draining) {
            return;
        }
        let mut failure = self.last_failure.clone().unwrap_or_else(|| unexplained(self.failed));
        failure.message = format!("{what} (budget.{budget}); the last: {}", failure.message);
        let ending = Ending::Failed { failure: Box::new(failure), budget: Some(budget) };
        self.stop(ending, Stop::Cancelled, commands);
    }

    pub(super) fn natural_ending(&self) -> Ending {
        if self.search.best().is_some() {
            return Ending::Completed { status: "succeeded" };
        }
        let mut failure = self.last_failure.clone().unwrap_or_else(|| unexplained(self.failed));
        failure.message =
            format!("none of {} trials succeeded; the last: {}", self.completed, failure.message);
        Ending::Failed { failure: Box::new(failure), budget: None }
    }
}

fn unexplained(failed: u32) -> Failure {
    Failure::new(FailureClass::Unknown, Stage::Execute, format!("{failed} trials failed"))
}
