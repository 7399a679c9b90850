//! The dead letter: the original payload, byte for byte, the original headers, and the verdict beside them.
//!
//! Headers with a meaning for the broker (`Nats-*`: message id, expected sequence, TTL, roll-up) are kept under
//! `Cerebros-Original-<name>`, because repeating them would act again; so are those that begin like the letter's own, which
//! would be taken for a verdict.

mod form;
mod headers;
mod names;
mod original;
mod place;

pub use form::{Form, beside, block, block_bytes, block_bytes_said, fits};
pub use headers::one_line;
pub use original::{original_headers, original_message_id};
pub use place::Place;

use crate::headers::Headers;
use crate::{FailureClass, Stage, Timestamp, subject};

/// Prefix of the verdict's headers.
const PREFIX: &str = "Cerebros-Dlq-";
/// Header with the identity of an entry.
pub const ID: &str = "Cerebros-Dlq-Id";
/// Header that counts how often the message has been replayed already.
pub const REPLAYS: &str = "Cerebros-Dlq-Replays";
/// Replays after which a message that dies again is a replay loop. One that died three times more, with a person looking
/// on each time, is not cured by a fourth; bulk replays leave it alone from then on.
pub const MAX_REPLAYS: u32 = 3;
/// Header of a replayed message that names the dead letter it came from.
pub const REPLAY_OF: &str = "Cerebros-Replay-Of";

/// Why a message is dead, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Identity of the entry.
    pub id: String,
    /// Class of the fault.
    pub class: FailureClass,
    /// Where it showed.
    pub stage: Stage,
    /// The failing path and what was expected.
    pub reason: String,
    /// Groups equal faults.
    pub fingerprint: String,
    /// Stream the message was in.
    pub stream: String,
    /// Its sequence there.
    pub sequence: u64,
    /// Consumer that could not handle it.
    pub consumer: String,
    /// Subject it came on.
    pub subject: String,
    /// Deliveries it took.
    pub deliveries: u64,
    /// When the stream took it in.
    pub first_seen: Timestamp,
    /// When it was given up.
    pub seen: Timestamp,
    /// How often it had been replayed before.
    pub replays: u32,
    /// Class of the fault itself, when [`Verdict::class`] says that it is a replay loop.
    pub cause: Option<FailureClass>,
    /// Run the message belongs to, as far as whoever gave it up could tell; letters of earlier builds do not say.
    pub run: Option<String>,
    /// The message was gone from its stream when it was looked for, or was left there: the letter holds no payload and no
    /// headers of it.
    pub is_payload_gone: bool,
}

impl Verdict {
    /// The verdict on a message at a place.
    pub fn new(place: &Place, failure: &crate::Failure, seen: Timestamp, original: &Headers) -> Self {
        // Only a replay of ours names what it came from; whoever else sets the counter is not believed.
        let replays = original.get(REPLAYS).filter(|_| original.get(REPLAY_OF).is_some());
        let replays = replays.and_then(|text| text.parse().ok()).unwrap_or(0);
        let is_loop = replays >= MAX_REPLAYS;
        Self {
            id: place.entry_id(),
            class: if is_loop { FailureClass::ReplayLoop } else { failure.class },
            stage: failure.stage,
            reason: failure.message.clone(),
            fingerprint: failure.fingerprint.clone(),
            stream: place.stream.clone(),
            sequence: place.sequence,
            consumer: place.consumer.clone(),
            subject: place.subject.clone(),
            deliveries: place.deliveries,
            first_seen: place.first_seen,
            seen,
            replays,
            cause: is_loop.then_some(failure.class),
            run: None,
            is_payload_gone: false,
        }
    }

    /// The same, with the run the message belongs to.
    #[must_use]
    pub fn of_run(self, run: Option<String>) -> Self {
        Self { run, ..self }
    }

    /// The same for a message that is gone.
    #[must_use]
    pub fn without_payload(self) -> Self {
        Self { is_payload_gone: true, ..self }
    }

    /// Where the message stood when it was given up.
    pub fn place(&self) -> Place {
        Place {
            stream: self.stream.clone(),
            sequence: self.sequence,
            consumer: self.consumer.clone(),
            subject: self.subject.clone(),
            deliveries: self.deliveries,
            first_seen: self.first_seen,
        }
    }

    /// Subject the dead letter is kept on.
    pub fn kept_on(&self) -> String {
        subject::dead_letter(self.class, &self.subject)
    }
}

#[cfg(test)]
mod tests;
