//! What would be published for an entry, valid; or why nothing is.

use schemas::dead_letter::Verdict;
use schemas::{FailureClass, RunId};
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::history::Kept;

use super::same_run::{Unnameable, name_its_run};
use super::upcast::upcast;
use super::{Outcome, ReplayResult, check, draft};
use crate::edit::{Draft, EditError, jq::JqError};
use crate::entry::{Entry, State};
use crate::task::Plan;

/// Why the entry of a message that was gone cannot be replayed. An edit would make a message up, not put one right.
pub(super) const PAYLOAD_GONE: &str = "its message was gone from the stream before its bytes could be kept: nothing is left to publish or to edit; \
     `dlq-classifier discard` marks it as dealt with";

/// A message ready to be published.
pub(super) struct Prepared {
    pub(super) draft: Draft,
    pub(super) is_edited: bool,
    /// The version it had, where it is written in today's schema instead.
    pub(super) upcast_from: Option<u32>,
    /// The run it was made to name, where it named none.
    pub(super) named_run: Option<RunId>,
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
    let verdict = Verdict::read(&letter.headers);
    if verdict.as_ref().is_some_and(|verdict| verdict.is_payload_gone) {
        return invalid(PAYLOAD_GONE.to_owned());
    }
    let original = draft(entry, letter, plan.to.as_deref());
    let edited = match &plan.edit {
        Some(edit) => edit.apply(original.clone(), &entry.subject),
        None => Ok(original.clone()),
    };
    let edited = match edited {
        Ok(edited) => edited,
        Err(EditError::Jq(JqError::TooSlow)) if is_bulk => {
            return Err(CliError::new("edit-too-slow", Exit::InvalidInput, JqError::TooSlow)
                .because(format!("it was running on {}", entry.id)));
        }
        Err(error) => return invalid(error.to_string()),
    };
    if let Err(refusal) = check(&edited) {
        return invalid(refusal.to_string());
    }
    let is_edited = edited.payload != original.payload;
    let class = verdict.and_then(|verdict| verdict.cause).unwrap_or(entry.class);
    Ok(match finish(edited, plan, letter) {
        Ok((draft, upcast_from, named_run)) => {
            Ok(Prepared { draft, is_edited, upcast_from, named_run, class })
        }
        Err(unnameable) => return invalid(unnameable.to_string()),
    })
}

/// What is done to a message without being asked: the version it had and the run it was made to name are told.
pub(super) fn finish(
    edited: Draft,
    plan: &Plan,
    letter: &Kept,
) -> Result<(Draft, Option<u32>, Option<RunId>), Unnameable> {
    // Whoever edits says what the payload is; it is JSON of today by then.
    let upcast = if plan.edit.is_none() { upcast(&edited) } else { None };
    let (draft, upcast_from) = upcast.map_or((edited, None), |(draft, version)| (draft, Some(version)));
    let named = name_its_run(&draft, letter)?;
    let (draft, named_run) = named.map_or((draft, None), |(draft, run)| (draft, Some(run)));
    Ok((draft, upcast_from, named_run))
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
