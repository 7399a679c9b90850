//! The message a replay publishes: built from the dead letter, checked by the decoder that refused it. Pure.

use schemas::cloudevents::{Headers, header};
use schemas::codec::DecodeError;
use schemas::dead_letter::{REPLAY_OF, REPLAYS, original_headers, original_message_id};
use schemas::subject::{DLQ_PREFIX, FENCE_PREFIX};
use schemas::{Record, expiry, subject};
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::history::Kept;

use crate::edit::Draft;
use crate::entry::Entry;

/// Why a message may not be published.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// It would die again.
    #[error("still invalid: {0}")]
    Invalid(#[from] DecodeError),
    /// It would be taken for a dead letter.
    #[error("{0} belongs to the dead letters themselves")]
    DeadLetters(String),
}

/// The message of an entry as it was, on its way to `to` or back to where it came from.
///
/// Its message id is `<original message id or entry id>/r<n>`, the same for every try to replay this entry. A request no
/// longer says until when it is wanted: whoever replays it wants it now, and it has lain here for longer than it waited.
pub fn draft(entry: &Entry, letter: &Kept, to: Option<&str>) -> Draft {
    let replays = entry.replays + 1;
    let base = original_message_id(&letter.headers)
        .map_or(entry.id.as_str(), |id| without_replay(id, entry.replays));
    let mut headers = original_headers(&letter.headers);
    headers.0.retain(|(name, _)| !name.eq_ignore_ascii_case(REPLAY_OF));
    headers.push(header::MESSAGE_ID, format!("{base}/r{replays}"));
    headers.push(REPLAYS, replays.to_string());
    headers.push(REPLAY_OF, entry.id.clone());
    let subject = to.unwrap_or(&entry.subject);
    let mut payload = letter.payload.to_vec();
    if Record::of_subject(subject).is_some_and(expiry::may_expire) {
        expiry::without(&mut headers, &mut payload);
    }
    Draft { subject: subject.to_owned(), headers, payload, schema: letter.schema.clone() }
}

/// The message id a draft is published under.
pub(super) fn message_id(headers: &Headers) -> String {
    headers.get(header::MESSAGE_ID).unwrap_or_default().to_owned()
}

/// The id of an entry's replay that no stranger's message has.
pub(super) fn own_message_id(entry: &Entry) -> String {
    format!("{}/r{}", entry.id, entry.replays + 1)
}

/// A message id without the mark of the replay it came from. What only looks like one is part of a stranger's id.
fn without_replay(id: &str, replays: u32) -> &str {
    let mark = format!("/r{replays}");
    if replays == 0 { id } else { id.strip_suffix(&mark).unwrap_or(id) }
}

/// Checks a message as every reader will. On a subject that is not ours there is no record to check against.
pub fn check(draft: &Draft) -> Result<(), Refusal> {
    if draft.subject.starts_with(DLQ_PREFIX) {
        return Err(Refusal::DeadLetters(draft.subject.clone()));
    }
    if is_foreign(&draft.subject) {
        return Ok(());
    }
    draft.decode().map(drop).map_err(Refusal::Invalid)
}

/// True for a subject the event stream does not take in.
pub(super) fn is_foreign(target: &str) -> bool {
    let in_stream = subject::EVENT_SUBJECTS.iter().any(|pattern| {
        let prefix = pattern.trim_end_matches('*');
        target.strip_prefix(prefix).is_some_and(|word| !word.contains('.'))
    });
    !in_stream && Record::of_subject(target).is_none()
}

/// Refuses a `--to` that is no subject to publish on.
pub(super) fn check_target(to: Option<&str>) -> Result<(), CliError> {
    let Some(to) = to else { return Ok(()) };
    let is_word =
        |word: &str| !word.is_empty() && !word.contains(['*', '>']) && !word.contains(char::is_whitespace);
    let is_taken = [DLQ_PREFIX, FENCE_PREFIX, "$"].iter().any(|prefix| to.starts_with(prefix));
    if to.split('.').all(is_word) && !is_taken {
        return Ok(());
    }
    Err(CliError::new("subject-invalid", Exit::Usage, format!("cannot replay to \"{to}\""))
        .because("expected words joined by dots, without wildcards, outside of the dead letters, of the fences of runs and of the broker's own subjects"))
}

#[cfg(test)]
mod tests;
