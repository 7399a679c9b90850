//! What would be published for an entry, valid; or why nothing is.

use schemas::FailureClass;
use schemas::dead_letter::Verdict;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::history::Kept;

use super::upcast::upcast;
use super::{Outcome, ReplayResult, check, draft};
use crate::edit::{Draft, EditError};
use crate::entry::{Entry, State};
use crate::task::Plan;

/// A message ready to be published.
pub(super) struct Prepared {
    pub(super) draft: Draft,
    pub(super) is_edited: bool,
    /// The version it had, where it is written in today's schema instead.
    pub(super) upcast_from: Option<u32>,
    /// Class of the fault it died of; of a replay loop, that of the fault underneath.
    pub(super) class: FailureClass,
}

/// Prepares the message of an entry; the error ends the whole action.
pub(super) fn prepare(
    plan: &Plan,
    entry: &Entry,
    letter: &Kept,
) -> Result<Result<Prepared, ReplayResult>, CliError> {
    let is_bulk = plan.wanted.is_bulk();
    if let Some(reason) = refusal(entry.state, is_bulk) {
        return Ok(Err(ReplayResult::new(entry, Outcome::Skipped, Some(reason))));
    }
    let invalid = |reason: String| Ok(Err(ReplayResult::new(entry, Outcome::Invalid, Some(&reason))));
    let original = draft(entry, letter, plan.to.as_deref());
    let edited = match &plan.edit {
        Some(edit) => edit.apply(original.clone(), &entry.subject),
        None => Ok(original.clone()),
    };
    let edited = match edited {
        Ok(edited) => edited,
        Err(EditError::Jq(error)) if is_bulk && error.is_of_the_expression() => {
            return Err(CliError::new("edit-unbounded", Exit::InvalidInput, error)
                .because(format!("it was running on {}", entry.id)));
        }
        Err(error) => return invalid(error.to_string()),
    };
    if let Err(refusal) = check(&edited) {
        return invalid(refusal.to_string());
    }
    let is_edited = edited.payload != original.payload;
    let class = Verdict::read(&letter.headers).and_then(|verdict| verdict.cause).unwrap_or(entry.class);
    // Whoever edits says what the payload is; it is JSON of today by then.
    let upcast = if plan.edit.is_none() { upcast(&edited) } else { None };
    let (draft, upcast_from) = upcast.map_or((edited, None), |(draft, version)| (draft, Some(version)));
    Ok(Ok(Prepared { draft, is_edited, upcast_from, class }))
}

/// Why an entry is left alone. Whoever names an entry has looked at it; a bulk action has not.
fn refusal(state: State, is_bulk: bool) -> Option<&'static str> {
    match (state, is_bulk) {
        (State::Open, _) | (State::Discarded | State::Quarantined, false) => None,
        (State::Replayed, _) => Some("already replayed"),
        (State::Discarded, true) => Some("discarded"),
        (State::Quarantined, true) => {
            Some("quarantined: it died again after three replays; replay it by its id")
        }
    }
}
