//! What is in hand: taken from the broker, kept under its lease, settled when its batch has ended, or given back.

use std::time::{Duration, Instant};

use schemas::RunId;
use schemas::codec::DecodeError;
use service_kit::delivery::Delivery;

use super::Loop;
use super::batch::{Batch, End};
use super::intake::{self, Held, Taken};
use crate::gate::luck;
use crate::lanes::{Load as _, RETURNS_AFTER};

/// Letters of events that cannot be read on their way at once; an event may have half a megabyte.
const UNREAD_AT_ONCE: usize = 4;
/// Pause before one beyond them comes again.
const UNREAD_PAUSE: Duration = Duration::from_secs(2);
impl Loop {
    pub(super) async fn take(&mut self, delivery: Option<Delivery>) {
        let Some(delivery) = delivery else { return };
        self.taken = self.taken.max(delivery.sequence());
        match intake::sort(delivery) {
            Taken::Event(run, held) => self.hold(&run, *held).await,
            Taken::NotOurs(delivery) => {
                self.sink.numbers.events.inc("ignored");
                delivery.ack_unconfirmed().await;
            }
            Taken::Unread(delivery, error) => self.leave_unread(*delivery, error).await,
        }
    }

    /// Puts a message nobody can read into the dead-letter queue, beside everything else: a queue that is full or away
    /// keeps no event from MLflow.
    pub(super) async fn leave_unread(&mut self, delivery: Delivery, error: DecodeError) {
        self.sink.numbers.events.inc("ignored");
        while self.unread.try_join_next().is_some() {}
        if self.unread.len() >= UNREAD_AT_ONCE {
            return hand_back(delivery, UNREAD_PAUSE).await;
        }
        let (broker, sequence) = (self.sink.broker.clone(), delivery.sequence());
        self.unread.spawn(async move {
            if let Err(unsettled) = delivery.leave_unread(&broker, &error).await {
                tracing::warn!(sequence, %error, %unsettled, "an event that cannot be read comes again");
            }
        });
    }

    pub(super) async fn hold(&mut self, run: &RunId, held: Held) {
        let (sequence, lease) = (held.sequence(), held.delivery.lease());
        if self.leases.contains_key(&sequence) {
            return held.delivery.leave();
        }
        match self.lanes.push(run, held, Instant::now()) {
            Ok(()) => {
                if self.leases.is_empty() {
                    self.extended_at = Instant::now();
                    self.period = lease.period();
                }
                self.leases.insert(sequence, lease);
            }
            Err(held) => hand_back(held.delivery, RETURNS_AFTER).await,
        }
        self.tell_numbers();
    }

    pub(super) async fn settle(&mut self, done: Result<Batch, tokio::task::JoinError>) {
        let batch = match done {
            Ok(batch) => batch,
            Err(error) => {
                tracing::error!(%error, "a batch was lost; everything in hand is taken anew");
                return self.intake.lose_order();
            }
        };
        match batch.end {
            End::Settled(sequences) => {
                for sequence in &sequences {
                    self.leases.remove(sequence);
                }
                self.reasons.remove(&batch.run);
                if self.lanes.settle(&batch.run) {
                    // It can be written again: what it gave back comes at once, and in order.
                    self.intake.lose_order();
                }
            }
            End::Stopped(held, reason) => {
                self.put_back(&batch.run, held).await;
                self.reasons.insert(batch.run, reason);
            }
            End::Lost(held) => {
                held.into_iter().for_each(|held| held.delivery.leave());
                self.intake.lose_order();
            }
            End::Fault(held) => self.put_back(&batch.run, held).await,
        }
        self.tell_numbers();
    }

    pub(super) async fn put_back(&mut self, run: &RunId, held: Vec<Held>) {
        let given_back = self.lanes.put_back(run, held, Instant::now(), luck());
        for held in &given_back {
            self.leases.remove(&held.sequence());
        }
        for held in given_back {
            hand_back(held.delivery, RETURNS_AFTER).await;
        }
    }

    pub(super) fn tell_numbers(&self) {
        self.sink.numbers.held.set(i64::try_from(self.lanes.held()).unwrap_or(i64::MAX));
        self.sink.numbers.held_bytes.set(i64::try_from(self.lanes.held_bytes()).unwrap_or(i64::MAX));
    }

    pub(super) async fn extend_leases(&mut self) {
        for lease in self.leases.values() {
            lease.extend().await;
        }
        self.extended_at = Instant::now();
    }

    pub(super) fn forget(&mut self) {
        for held in self.lanes.empty() {
            held.delivery.leave();
        }
        self.leases.clear();
        self.reasons.clear();
        self.taken = 0;
        self.tell_numbers();
    }
}

/// Gives a delivery back to the broker. If that does not arrive, the broker takes it back by itself: nobody waits for its
/// word, which the loop has no time for.
async fn hand_back(delivery: Delivery, delay: Duration) {
    delivery.retry_unconfirmed(delay).await;
}
