//! Writing dead letters beside everything else, one by one, so that the queue has them in the order of the stream.
//!
//! A letter that cannot be published leaves its message with the broker, and the [`Outlet`] says when it is tried again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use schemas::Failure;
use service_kit::broker::Broker;
use service_kit::delivery::{Delivery, SettleError};
use service_kit::publish::PublishFailure;
use service_kit::topology;
use tokio::task::{JoinError, JoinSet};

use super::put_off;
use crate::serve::Measures;
use crate::serve::outlet::{Outlet, Way};

/// Messages that wait for their letters; each may have half a megabyte.
const MAX_WAITING: usize = 32;
/// How long a letter is repeated while the broker does not confirm it: well within the lease of its message.
const PATIENCE: Duration = Duration::from_secs(3);

/// Letters on their way.
pub(super) struct Letters {
    broker: Broker,
    measures: Measures,
    outlet: Outlet,
    /// What is to become a letter, in order.
    waiting: VecDeque<(Delivery, Failure)>,
    /// The letter that is being written, and the ends of the deliveries of those that are kept.
    under_way: JoinSet<Letter>,
    is_writing: bool,
}

/// What became of a letter.
pub(super) enum Letter {
    /// It is kept.
    Kept(Box<Delivery>, Failure),
    /// Its message is settled, or comes again and finds its letter there.
    Ended(Result<(), SettleError>),
    /// It is not, and its message is still in hand.
    Failed(Box<Delivery>, PublishFailure),
}

impl Letters {
    pub(super) fn new(broker: Broker, measures: Measures) -> Self {
        Self {
            broker,
            measures,
            outlet: Outlet::default(),
            waiting: VecDeque::new(),
            under_way: JoinSet::new(),
            is_writing: false,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < MAX_WAITING
    }

    /// Why no letters can be published.
    pub(super) fn trouble(&mut self) -> Option<&str> {
        self.outlet.trouble(Instant::now())
    }

    /// Lets a message become a letter, in its turn; or leaves it with the broker while no letters can be published.
    pub(super) async fn write(&mut self, delivery: Delivery, failure: Failure) {
        match self.outlet.way(Instant::now()) {
            Way::Open => self.waiting.push_back((delivery, failure)),
            Way::Shut(pause) => put_off(delivery, pause).await,
        }
        self.write_next();
    }

    fn write_next(&mut self) {
        if !self.is_writing
            && let Some((delivery, failure)) = self.waiting.pop_front()
        {
            self.is_writing = true;
            self.under_way.spawn(bury(self.broker.clone(), delivery, failure));
        }
    }

    /// The next that is through; `None` when nothing is under way. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Result<Letter, JoinError>> {
        self.under_way.join_next().await
    }

    /// Goes on with what is through.
    pub(super) async fn settle(&mut self, letter: Result<Letter, JoinError>) {
        match letter {
            Ok(Letter::Ended(Ok(()))) => return,
            Ok(Letter::Ended(Err(error))) => {
                tracing::warn!(%error, "should the message come again, its dead letter is found kept");
                return;
            }
            Ok(Letter::Kept(delivery, failure)) => {
                self.outlet.succeeded();
                self.measures.died(failure.class);
                self.under_way.spawn(async move { Letter::Ended(delivery.terminate(&failure).await) });
            }
            Ok(Letter::Failed(delivery, error)) => {
                let pause = self.outlet.failed(error.to_string(), Instant::now());
                let sequence = delivery.sequence();
                tracing::error!(sequence, %error, ?pause, "message {sequence} not dead-lettered yet");
                put_off(*delivery, pause).await;
                for (delivery, _) in std::mem::take(&mut self.waiting) {
                    put_off(delivery, pause).await;
                }
            }
            Err(error) => tracing::error!(%error, "a letter was lost on its way; its message comes again"),
        }
        self.is_writing = false;
        self.write_next();
    }

    /// Ends what is under way.
    pub(super) async fn finish(&mut self) {
        while let Some(letter) = self.next().await {
            self.settle(letter).await;
        }
    }
}

async fn bury(broker: Broker, delivery: Delivery, failure: Failure) -> Letter {
    let (sequence, subject) = (delivery.sequence(), delivery.subject().to_owned());
    match delivery.bury(&broker, &failure, PATIENCE).await {
        Ok(_) => {
            let class = failure.class.as_str();
            tracing::info!(sequence, subject, class, "message {sequence} dead-lettered");
            Letter::Kept(Box::new(delivery), failure)
        }
        Err(error) => {
            // A stream that somebody has deleted is made anew, as it is at a start.
            if error.is_outage()
                && let Err(error) = topology::ensure(&broker).await
            {
                tracing::debug!(error = %error.what, "topology cannot be checked yet");
            }
            Letter::Failed(Box::new(delivery), error)
        }
    }
}
