//! The order in which the events of one run may follow each other.
//!
//! ```text
//! requested -> started(n) -> trials, metrics, exceptions -> completed | failed | cancelled
//!                   ^                                          (exactly one, and nothing after it)
//!                   '--- interrupted(n), or a lost worker: started(n+1)
//! ```
//! A run that never started may still fail (rejected) or be cancelled (while queued). A run that is over
//! may be restarted by a later request, under a later attempt; one that completed only for its failed trials.

use serde::{Deserialize, Serialize};

use crate::{Event, Record};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum RunState {
    Requested,
    Running,
    Completed,
    Failed,
    Cancelled,
    Interrupted,
}

impl RunState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Requested, Self::Running, Self::Completed, Self::Failed, Self::Cancelled, Self::Interrupted];

    /// True when nothing more happens to the run.
    pub fn is_final(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled => true,
            Self::Requested | Self::Running | Self::Interrupted => false,
        }
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }
}

impl std::fmt::Display for RunState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An event that may not follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The run is over.
    #[error("{event:?} came after the run had ended as {state}")]
    AfterEnd {
        /// How it had ended.
        state: RunState,
        /// What came.
        event: Record,
    },
    /// An older attempt spoke.
    #[error("attempt {found} is stale; the run is in attempt {current}")]
    Stale {
        /// Who spoke.
        found: u32,
        /// Who may.
        current: u32,
    },
    /// Something that needs a running attempt came without one.
    #[error("{event:?} needs a started attempt; the run is {state}")]
    NotStarted {
        /// Where the run stands.
        state: RunState,
        /// What came.
        event: Record,
    },
}

/// The history of one run, as far as order is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifecycle {
    state: RunState,
    attempt: u32,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { state: RunState::Requested, attempt: 0 }
    }
}

impl Lifecycle {
    /// Where the run stands.
    pub fn state(&self) -> RunState {
        self.state
    }

    /// The current attempt, 0 before the first.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Takes the next event, or says why it may not follow and changes nothing.
    pub fn apply(&mut self, event: &Event) -> Result<(), OrderError> {
        let record = event.record();
        let is_restart =
            record == Record::RunStarted && event.attempt().is_some_and(|attempt| attempt > self.attempt);
        if self.state.is_final() && !is_restart {
            // The machine-learning record closes beside the run; a cancel request may always come late.
            return match record {
                Record::MlRunFinalized | Record::RunCancelRequested | Record::RunRequested => Ok(()),
                Record::RunStarted
                | Record::RunCompleted
                | Record::RunFailed
                | Record::RunCancelled
                | Record::RunInterrupted
                | Record::MlRunStarted
                | Record::TrialReported
                | Record::MetricReported
                | Record::RunException => Err(OrderError::AfterEnd { state: self.state, event: record }),
            };
        }
        if let Some(found) = event.attempt().filter(|found| *found < self.attempt) {
            return Err(OrderError::Stale { found, current: self.attempt });
        }
        match record {
            Record::RunRequested | Record::RunCancelRequested => {}
            Record::RunStarted => {
                let attempt = event.attempt().unwrap_or(self.attempt);
                if self.state == RunState::Running && attempt == self.attempt {
                    return Err(OrderError::Stale { found: attempt, current: self.attempt + 1 });
                }
                self.attempt = attempt;
                self.state = RunState::Running;
            }
            Record::RunCompleted => self.end(record, RunState::Completed, true)?,
            Record::RunInterrupted => self.end(record, RunState::Interrupted, true)?,
            Record::RunFailed => self.end(record, RunState::Failed, false)?,
            Record::RunCancelled => self.end(record, RunState::Cancelled, false)?,
            // A run may end between two attempts; its record is closed then.
            Record::MlRunFinalized if self.state == RunState::Interrupted => {}
            Record::MlRunFinalized
            | Record::MlRunStarted
            | Record::TrialReported
            | Record::MetricReported
            | Record::RunException => self.needs_start(record)?,
        }
        Ok(())
    }

    fn end(&mut self, event: Record, state: RunState, needs_start: bool) -> Result<(), OrderError> {
        if needs_start {
            self.needs_start(event)?;
        }
        self.state = state;
        Ok(())
    }

    fn needs_start(&self, event: Record) -> Result<(), OrderError> {
        if self.state == RunState::Running {
            return Ok(());
        }
        Err(OrderError::NotStarted { state: self.state, event })
    }
}

#[cfg(test)]
mod tests;
