//! The ends of a delivery: ack, retry, reject, and what a reader does with a message it cannot read.
//!
//! Invariant: publish, confirm, then settle. What cannot be settled comes again.

use std::time::Duration;

use async_nats::jetstream::AckKind;
use bytes::Bytes;
use schemas::Failure;
use schemas::codec::DecodeError;
use schemas::dead_letter::{Place, one_line};

use super::Delivery;
use crate::broker::Broker;
use crate::dead_letter;
use crate::publish::{PublishFailure, Published};
use crate::topology::CLASSIFIER_CONSUMER;

/// Bytes of a reason that go into the broker's advisory; the dead letter has all of it.
const MAX_TERM_REASON_BYTES: usize = 256;
/// How long a reader tries to publish the letter of a message it cannot read, before it hands the message back.
const UNREADABLE_PATIENCE: Duration = Duration::from_secs(2);
/// Pause before a message nobody can read comes again while the classifiers have stopped.
const STOPPED_PAUSE: Duration = Duration::from_secs(15);
/// Longest pause before a message whose letter could not be published comes again.
const LONGEST_RETURN: Duration = Duration::from_secs(60);

/// Why a delivery could not be settled. Whether the broker has it is unknown; a redelivery settles it again.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The confirmation did not come.
    #[error("the broker did not confirm the {kind} of message {sequence}: {reason}")]
    Unconfirmed {
        /// What was tried.
        kind: &'static str,
        /// Sequence of the message.
        sequence: u64,
        /// The client's words.
        reason: String,
    },
    /// The dead letter could not be published, so the message was not given up.
    #[error("the dead letter was not published: {0}")]
    DeadLetter(#[from] PublishFailure),
    /// The classifiers have stopped at their storm limit, and nobody fills the queue in their name.
    #[error("message {0} is left where it is: the classifiers have stopped at their storm limit")]
    Stopped(u64),
}

impl Delivery {
    /// Done: waits until the broker confirmed the ack.
    pub async fn ack(mut self) -> Result<(), SettleError> {
        self.settle("ack", AckKind::Ack.into()).await
    }

    /// Done, without waiting for the broker: for consumers whose work is idempotent and cheap to repeat.
    pub async fn ack_unconfirmed(mut self) {
        self.is_settled = true;
        if let Err(error) = self.message.ack().await {
            tracing::debug!(sequence = self.place.sequence, %error, "ack not sent; the message comes again");
        }
    }

    /// Not now: the broker hands it over again after `delay`.
    pub async fn retry(mut self, delay: Duration) -> Result<(), SettleError> {
        self.settle("retry", AckKind::Nak(Some(delay)).into()).await
    }

    /// The same without waiting for the broker: when the word is lost, the message comes again when its lease runs out.
    pub async fn retry_unconfirmed(mut self, delay: Duration) {
        self.is_settled = true;
        if let Err(error) = self.message.ack_with(AckKind::Nak(Some(delay))).await {
            tracing::debug!(sequence = self.place.sequence, %error, "not handed back; its lease runs out instead");
        }
    }

    /// Never: publishes the dead letter, waits for its confirmation, and only then terminates the delivery with the
    /// reason, which the broker repeats in its advisory.
    pub async fn reject(self, broker: &Broker, failure: &Failure) -> Result<(), SettleError> {
        self.bury(broker, failure, dead_letter::PATIENCE).await?;
        self.terminate(failure).await
    }

    /// The first half of [`Delivery::reject`], for whoever has something else to do when it fails: publishes the dead
    /// letter and waits for its confirmation.
    pub async fn bury(
        &self,
        broker: &Broker,
        failure: &Failure,
        patience: Duration,
    ) -> Result<Published, PublishFailure> {
        let payload = self.message.payload.clone();
        dead_letter::publish_within(broker, &self.place, failure, &self.headers, payload, patience).await
    }

    /// The second half: terminates the delivery of a message whose dead letter is confirmed.
    pub async fn terminate(mut self, failure: &Failure) -> Result<(), SettleError> {
        let reason = one_line(&failure.message, MAX_TERM_REASON_BYTES);
        self.settle("reject", format!("+TERM {}: {reason}", failure.class).into()).await
    }

    /// Nobody can read it, as far as this reader can tell: publishes the letter the classifier would, in its name, and
    /// acks when that is confirmed. The two make one entry, whoever is first; a message that only one of them can read
    /// (a schema was late, their builds differ) is in the queue all the same, not between them.
    ///
    /// # Errors
    /// The letter could not be published, and the message comes again, after a pause that grows with its deliveries.
    pub async fn leave_unread(mut self, broker: &Broker, error: &DecodeError) -> Result<(), SettleError> {
        if dead_letter::are_stopped(broker).await {
            let sequence = self.place.sequence;
            self.settle("retry", AckKind::Nak(Some(STOPPED_PAUSE)).into()).await?;
            return Err(SettleError::Stopped(sequence));
        }
        let place = Place { consumer: CLASSIFIER_CONSUMER.to_owned(), deliveries: 1, ..self.place.clone() };
        let (headers, payload) = (&self.headers, self.message.payload.clone());
        let failure = error.to_failure();
        let kept =
            dead_letter::publish_within(broker, &place, &failure, headers, payload, UNREADABLE_PATIENCE)
                .await;
        match kept {
            Ok(_) => self.settle("ack", AckKind::Ack.into()).await,
            Err(error) => {
                let doubled = u32::try_from(self.place.deliveries.min(6)).unwrap_or(6);
                let pause = (Duration::from_secs(1) * 2_u32.pow(doubled)).min(LONGEST_RETURN);
                self.settle("retry", AckKind::Nak(Some(pause)).into()).await?;
                Err(error.into())
            }
        }
    }

    /// Somebody else has it by now: nothing is said about it.
    pub fn leave(mut self) {
        self.is_settled = true;
    }

    /// Says a word about the delivery and waits until the broker has it.
    async fn settle(&mut self, kind: &'static str, word: Bytes) -> Result<(), SettleError> {
        self.is_settled = true;
        let unconfirmed =
            |reason: String| SettleError::Unconfirmed { kind, sequence: self.place.sequence, reason };
        let reply =
            self.message.reply.clone().ok_or_else(|| unconfirmed("it has no reply subject".to_owned()))?;
        let answer = self.message.context.client().request(reply, word).await;
        answer.map(drop).map_err(|error| unconfirmed(error.to_string()))
    }
}

/// Gives a delivery back for somebody who can no longer do it: the broker hands the message over again at once. The
/// broker takes it for a word about the latest hand-over, whichever `reply` belongs to: make sure it is that one.
///
/// # Errors
/// When the client is closed.
pub async fn give_back(broker: &Broker, reply: &str) -> Result<(), async_nats::PublishError> {
    broker.client.publish(reply.to_owned(), AckKind::Nak(None).into()).await
}
