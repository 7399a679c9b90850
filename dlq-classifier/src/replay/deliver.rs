//! One message on its way: published and confirmed, and not taken for another message with its id.
//!
//! A message id is made from the one a stranger chose, so the broker's word "I have that already" can be about somebody
//! else's message. Then it is looked at: only a message that names our entry is our replay. Otherwise ours goes out under
//! an id made from the entry's, which nobody else has.

use async_nats::jetstream::context::GetStreamByNameErrorKind;
use schemas::cloudevents::header;
use schemas::dead_letter::REPLAY_OF;
use schemas::subject::STREAM;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::fence::is_refusal_by_fence;
use service_kit::history::{self, Kept};
use service_kit::publish::{Outgoing, PublishFailure, Published, to_header_map};

use super::desk::Lease;
use super::draft;
use crate::edit::Draft;
use crate::entry::Entry;
use crate::queue::{Queue, unpublished};

/// The fence is raised so often in a row for one message; each time but the first means that somebody had no right to.
const MAX_RAISES: usize = 8;

/// What became of a message.
pub(super) enum Delivered {
    /// It is on the stream.
    Published {
        /// Its sequence.
        sequence: u64,
        /// The id it has there.
        message_id: String,
        /// True if an earlier try had brought it there.
        was_there: bool,
    },
    /// Something else was published for the entry before, by a replay that could not record it.
    Otherwise {
        /// What the stream has, and where.
        kept: Box<Kept>,
        /// The id it has there.
        message_id: String,
    },
    /// The broker takes no such message.
    Refused(String),
}

/// Publishes the message of an entry, once; `None` when somebody else is at work on the replays.
pub(super) async fn deliver(
    queue: &Queue,
    lease: &mut Lease,
    entry: &Entry,
    draft: &Draft,
) -> Result<Option<Delivered>, CliError> {
    let first = draft::message_id(&draft.headers);
    for message_id in [first, draft::own_message_id(entry)] {
        let Some(sent) = send(queue, lease, draft, &message_id).await? else {
            return Ok(None);
        };
        let published = match sent {
            Ok(published) => published,
            Err(error @ (PublishFailure::Refused { .. } | PublishFailure::Encode(_))) => {
                return Ok(Some(Delivered::Refused(error.to_string())));
            }
            Err(error @ (PublishFailure::Full { .. } | PublishFailure::Unconfirmed { .. })) => {
                return Err(unpublished(&error, format!("{} was not replayed", entry.id)));
            }
        };
        let sequence = published.sequence;
        if !published.is_duplicate {
            return Ok(Some(Delivered::Published { sequence, message_id, was_there: false }));
        }
        // Taken off its stream meanwhile, as readers of a work queue do: it was there.
        let Some(kept) = holder(queue, &draft.subject, sequence).await? else {
            return Ok(Some(Delivered::Published { sequence, message_id, was_there: true }));
        };
        if kept.headers.get(REPLAY_OF) == Some(&entry.id) {
            let is_same = kept.payload == draft.payload && kept.subject == draft.subject;
            return Ok(Some(if is_same {
                Delivered::Published { sequence, message_id, was_there: true }
            } else {
                Delivered::Otherwise { kept: Box::new(kept), message_id }
            }));
        }
        tracing::info!(entry = entry.id, message_id, sequence, "a stranger's message has the id of a replay");
    }
    Ok(Some(Delivered::Refused("messages of somebody else have both of the ids it could have".to_owned())))
}

/// Publishes it, into the event stream behind the fence; `None` when somebody else is at work on the replays.
async fn send(
    queue: &Queue,
    lease: &mut Lease,
    draft: &Draft,
    message_id: &str,
) -> Result<Option<Result<Published, PublishFailure>>, CliError> {
    let mut headers = draft.headers.clone();
    headers.0.retain(|(name, _)| !name.eq_ignore_ascii_case(header::MESSAGE_ID));
    headers.push(header::MESSAGE_ID, message_id);
    let mut message = Outgoing {
        subject: draft.subject.clone(),
        headers: to_header_map(&headers),
        payload: draft.payload.clone().into(),
    };
    let is_fenced = !draft::is_foreign(&draft.subject);
    for _ in 0..MAX_RAISES {
        if is_fenced {
            lease.condition(&mut message.headers);
        }
        match queue.publish(&message).await {
            Err(failure) if is_fenced && is_refusal_by_fence(&failure) => {
                // Raised by one who had no right to any more, or aged out of the stream; else the lease is not ours.
                if !lease.raise().await? {
                    return Ok(None);
                }
            }
            sent => return Ok(Some(sent)),
        }
    }
    let what = format!("the broker does not take the replay of a message on {}", draft.subject);
    Err(CliError::new("fence-refused", Exit::Unreachable, what)
        .because("it says that its fence has moved, however often that is raised")
        .help("replays need nats-server 2.12 or later"))
}

/// The message a broker has already, where it can be found.
async fn holder(queue: &Queue, subject: &str, sequence: u64) -> Result<Option<Kept>, CliError> {
    match stream_of(queue, subject).await? {
        Some(stream) => history::at(&queue.broker, &stream, sequence).await,
        None => Ok(None),
    }
}

/// Refuses a subject no stream takes in: nobody would confirm what is published there.
pub(super) async fn check_taken_in(queue: &Queue, to: Option<&str>) -> Result<(), CliError> {
    let Some(to) = to.filter(|to| draft::is_foreign(to)) else { return Ok(()) };
    match queue.broker.jetstream.stream_by_subject(to).await {
        Err(error) if error.kind() == GetStreamByNameErrorKind::NotFound => {
            let what = format!("no stream takes in what is published on \"{to}\"");
            Err(CliError::new("subject-without-stream", Exit::NotFound, what)
                .because("a replay counts when the broker has confirmed it, which takes a stream"))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The stream that takes in what is published on a subject; `None` when there is none.
///
/// # Errors
/// The broker does not say: then it is not known what was published there.
pub(super) async fn stream_of(queue: &Queue, subject: &str) -> Result<Option<String>, CliError> {
    if !draft::is_foreign(subject) {
        return Ok(Some(STREAM.to_owned()));
    }
    match queue.broker.jetstream.stream_by_subject(subject).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if error.kind() == GetStreamByNameErrorKind::NotFound => Ok(None),
        Err(error) => {
            let what = format!("the broker does not say which stream takes in \"{subject}\"");
            Err(CliError::new("broker-silent", Exit::Unreachable, what)
                .because(error)
                .help("the same command again goes on where this one stopped"))
        }
    }
}
