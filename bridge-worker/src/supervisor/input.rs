//! What comes to a run: from outside, and from its own trials.

use schemas::Failure;
use search::Evaluation;

/// What comes to a run from outside, whoever searches.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// Somebody asked for the end.
    Cancel {
        /// Why.
        reason: Option<String>,
    },
    /// The worker takes no more work; what is under way may finish.
    Drain,
    /// The worker ends now.
    Interrupt,
    /// The time of the run is up.
    OutOfTime,
    /// Somebody changed how many trials may be under way at once. The search has a limit of its own.
    Scale {
        /// How many; at least 1.
        parallelism: u32,
    },
    /// Another attempt owns the run.
    Stale,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A trial ended and its event is durable.
    Ended {
        /// Its number.
        number: u64,
        /// What the search learns.
        evaluation: Evaluation,
        /// Why it failed.
        failure: Option<Failure>,
    },
    /// A trial was stopped by an interruption; it is not over.
    Dropped {
        /// Its number.
        number: u64,
    },
    /// Something came from outside.
    Outside(News),
    /// A trial ended because the run cannot go on, for a reason that lies outside the search.
    Abort(Failure),
    /// A trial could not be begun, for a reason that lies in this worker: another may go on.
    HandBack {
        /// Why.
        reason: String,
    },
}
