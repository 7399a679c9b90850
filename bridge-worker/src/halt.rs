//! Why an attempt stops before its end.

use std::time::Duration;

use schemas::{Failure, FailureClass, Stage};

use crate::announce::Unsaid;
use crate::supervisor::Ending;

/// Pause before a request is handed over again while something it needs is not there.
pub(crate) const OUTAGE_PAUSE: Duration = Duration::from_secs(2);

/// Pause before a request is handed over again that nothing could be trained for here: this worker looks for requests
/// only when it has found that it can train again, and another should have it soon.
const HAND_BACK_PAUSE: Duration = Duration::from_secs(5);

/// Why an attempt stops before its end.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The request has no effect, or its run had ended before.
    Over,
    /// Its run was refused before, and the request has yet to become a dead letter.
    Refused(Box<Failure>),
    /// The run failed.
    Failed {
        /// Why.
        failure: Box<Failure>,
        /// The budget that ended it, if one did.
        budget: Option<&'static str>,
        /// The request can never be executed.
        is_refusal: bool,
    },
    /// Somebody asked for its end.
    Cancelled {
        /// Why.
        reason: Option<String>,
    },
    /// A later attempt goes on, after a pause.
    Again {
        /// Why.
        reason: String,
        /// How long nobody tries.
        pause: Duration,
    },
    /// Another attempt owns the run.
    Stale,
    /// As if the worker had been killed.
    Died,
}

/// How a run that came to its end completed, or why it did not.
pub(crate) fn completed(ending: Ending) -> Result<&'static str, Halt> {
    Err(match ending {
        Ending::Completed { status } => return Ok(status),
        Ending::Failed { failure, budget } => Halt::Failed { failure, budget, is_refusal: false },
        Ending::Cancelled { reason } => Halt::Cancelled { reason },
        Ending::Interrupted => shutting_down(),
        Ending::HandedBack { reason } => Halt::Again { reason, pause: HAND_BACK_PAUSE },
        Ending::Stale => Halt::Stale,
    })
}

pub(crate) fn shutting_down() -> Halt {
    Halt::Again { reason: "the worker is shutting down".to_owned(), pause: Duration::ZERO }
}

pub(crate) fn again(reason: impl std::fmt::Display) -> Halt {
    Halt::Again { reason: reason.to_string(), pause: OUTAGE_PAUSE }
}

pub(crate) fn failed(failure: Failure) -> Halt {
    Halt::Failed { failure: Box::new(failure), budget: None, is_refusal: false }
}

pub(crate) fn refused(failure: Failure) -> Halt {
    Halt::Failed { failure: Box::new(failure), budget: None, is_refusal: true }
}

impl From<Unsaid> for Halt {
    fn from(error: Unsaid) -> Self {
        match error {
            Unsaid::Silenced => Halt::Stale,
            Unsaid::Unheard => again(error),
            Unsaid::Order(order) => failed(Failure::new(
                FailureClass::Unknown,
                Stage::Publish,
                format!("an event out of order was withheld: {order}"),
            )),
            Unsaid::Refused(failure) => {
                failed(Failure::new(FailureClass::Unknown, Stage::Publish, failure.to_string()))
            }
        }
    }
}
