//! One request: taken through the steps of an attempt, then settled.

use std::sync::Arc;
use std::time::Duration;

use schemas::{Failure, FailureClass};
use service_kit::delivery::{Delivery, SettleError};
use service_kit::shutdown::Shutdown;
use tokio::time::Instant;

use crate::asked::Asked;
use crate::course::Course;
use crate::fault::Fault;
use crate::lease::LeaseKeeper;
use crate::steps::Step;
use crate::vitals::Vitals;
use crate::worker::Worker;

/// What becomes of a request.
#[derive(Debug)]
pub enum Settlement {
    /// It is done with.
    Ack,
    /// It comes again after a pause; the run is ours no longer.
    Again(Duration),
    /// It can never be executed: it becomes a dead letter.
    Reject(Box<Failure>),
    /// Somebody else has it.
    Leave,
}

impl Worker {
    /// Takes a request to its end.
    pub async fn take(self: Arc<Self>, delivery: Delivery, shutdown: Shutdown) {
        let vitals = Arc::new(Vitals::default());
        let lease = delivery.lease();
        let reply = lease.reply().map(str::to_owned);
        let keeper = LeaseKeeper::start(lease, vitals.clone());
        let (sequence, began, ack_wait) = (delivery.sequence(), Instant::now(), delivery.lease().ack_wait());
        let asked = match Asked::of(&delivery) {
            Ok(Some(asked)) => asked,
            // The consumer takes nothing but requests.
            Ok(None) => return report(sequence, delivery.ack().await),
            Err(error) => {
                tracing::warn!(sequence, %error, "a request that cannot be read becomes a dead letter");
                return report(sequence, delivery.leave_unread(&self.broker, &error).await);
            }
        };
        if asked.is_reserved() {
            tracing::info!(run = %asked.run_id, "the request is reserved for a process of its own");
            return report(sequence, delivery.ack().await);
        }
        let note = reply.and_then(|reply| self.in_hand.note(&asked.run_id, &reply));
        let mut settlement = Course::new(self.clone(), asked, vitals).run(&shutdown).await;
        if matches!(settlement, Settlement::Again(_))
            && !self.broker.is_connected()
            && began.elapsed() > ack_wait
        {
            // The lease may have run out unheard, and a word about it would be taken for one about the next hand-over.
            settlement = Settlement::Leave;
        }
        report(sequence, self.settle(delivery, settlement).await);
        drop((note, keeper));
    }

    async fn settle(&self, delivery: Delivery, settlement: Settlement) -> Result<(), SettleError> {
        if matches!(self.faults.at(Step::Settle), Some(Fault::DieBefore)) {
            delivery.leave();
            return Ok(());
        }
        match settlement {
            Settlement::Ack => delivery.ack().await,
            Settlement::Again(pause) => delivery.retry(pause).await,
            Settlement::Reject(failure) => {
                self.gauges.rejected.inc();
                delivery.reject(&self.broker, &failure).await
            }
            Settlement::Leave => {
                delivery.leave();
                Ok(())
            }
        }
    }
}

/// A settlement the broker did not confirm is unknown, not done: should the request come again, the registry says what
/// had become of it.
fn report(sequence: u64, settled: Result<(), SettleError>) {
    if let Err(error) = settled {
        tracing::warn!(sequence, %error, "should the request come again, the registry knows its run");
    }
}

/// A settlement for a request that can never be executed, or, when its run failed otherwise, that is done with.
pub(crate) fn of_failure(failure: &Failure, is_refusal: bool) -> Settlement {
    if is_refusal && failure.class != FailureClass::Dependency {
        Settlement::Reject(Box::new(failure.clone()))
    } else {
        Settlement::Ack
    }
}
