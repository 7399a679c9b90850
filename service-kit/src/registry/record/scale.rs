//! How many trials of a run may be under way at once, when somebody wants another number. Pure.

use schemas::event::Budget;
use schemas::lifecycle::RunState;
use schemas::{RunId, Timestamp};

use super::{RunRecord, blank};

/// A request that no worker has taken up yet.
#[derive(Debug, Clone, Copy)]
pub struct Unclaimed<'a> {
    /// Its stream sequence.
    pub sequence: u64,
    /// When it came in.
    pub requested_at: Timestamp,
    /// What it allows.
    pub budget: &'a Budget,
}

/// What became of the wish to change how many trials of a run may be under way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// It is so from now on.
    Set {
        /// How many there could be until now.
        before: u32,
    },
    /// The search of the run looks back so many trials and no further.
    OutOfRange {
        /// Most that may be under way at once.
        limit: u32,
    },
    /// The run is over.
    Over,
    /// Nobody has asked for the run.
    NotAsked,
}

/// Decides how many trials of a run may be under way at once, from 1 to what its request allows: candidates depend on
/// that number, so that only fewer at a time leave the search what it is.
pub fn scale(
    record: Option<&RunRecord>,
    run_id: &RunId,
    unclaimed: Option<Unclaimed<'_>>,
    parallelism: u32,
) -> (Option<RunRecord>, Scale) {
    let is_waiting = |known: &RunRecord| known.state.is_final() || known.state == RunState::Requested;
    let waiting = unclaimed.filter(|request| {
        record.is_none_or(|known| is_waiting(known) && request.sequence > known.request_sequence)
    });
    let budget = match (record, waiting) {
        (_, Some(request)) => request.budget,
        (Some(known), None) if known.state.is_final() => return (None, Scale::Over),
        (Some(known), None) if known.request_sequence > 0 => &known.budget,
        (Some(_) | None, None) => return (None, Scale::NotAsked),
    };
    let limit = budget.max_parallelism();
    if !(1..=limit).contains(&parallelism) {
        return (None, Scale::OutOfRange { limit });
    }
    let mut next = match (record, waiting) {
        (Some(known), _) => known.clone(),
        (None, waiting) => blank(run_id, waiting.map(|request| request.requested_at).unwrap_or_default()),
    };
    let before = next.parallelism.map_or(limit, |number| number.min(limit));
    let has_changed = next.parallelism.replace(parallelism) != Some(parallelism);
    (has_changed.then_some(next), Scale::Set { before })
}
