//! The events themselves: what can be used is acked, what cannot becomes a dead letter. Letters are written beside
//! everything else, one by one, so that the queue has them in the order of the stream.
//!
//! A letter that cannot be published leaves its message with the broker, and the [`Outlet`] says when it is tried again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use schemas::Failure;
use service_kit::broker::Broker;
use service_kit::delivery::{Delivery, SettleError};
use service_kit::health::ComponentHandle;
use service_kit::intake::Intake;
use service_kit::publish::PublishFailure;
use service_kit::shutdown::Shutdown;
use service_kit::topology::{self, CLASSIFIER_CONSUMER};
use tokio::task::{JoinError, JoinSet};

use super::Measures;
use super::outlet::{Outlet, Way};

/// Messages on their way to us at once. From 500 up, fetching costs nothing next to decoding; more would only be handed
/// out again after a crash.
const BATCH: usize = 500;
/// Messages that wait for their letters; each may have half a megabyte.
const MAX_WAITING: usize = 32;
/// How long a letter is repeated while the broker does not confirm it: well within the lease of its message.
const LETTER_PATIENCE: Duration = Duration::from_secs(3);
/// How often it is looked whether letters can be published.
const LOOK: Duration = Duration::from_secs(1);

pub(super) async fn run(broker: Broker, measures: Measures, health: ComponentHandle, shutdown: Shutdown) {
    let mut intake = Intake::new(&broker, CLASSIFIER_CONSUMER, BATCH);
    let mut desk = Desk {
        broker,
        measures,
        health,
        outlet: Outlet::default(),
        waiting: VecDeque::new(),
        letters: JoinSet::new(),
        is_writing: false,
    };
    let mut look = tokio::time::interval(LOOK);
    desk.health.ready();
    loop {
        tokio::select! {
            biased;
            () = shutdown.drain() => break,
            Some(letter) = desk.letters.join_next() => desk.settle(letter).await,
            _ = look.tick() => desk.tell(),
            delivery = intake.next(), if desk.waiting.len() < MAX_WAITING => desk.classify(delivery).await,
        }
    }
    while let Some(letter) = desk.letters.join_next().await {
        desk.settle(letter).await;
    }
}

/// Where messages are judged.
struct Desk {
    broker: Broker,
    measures: Measures,
    health: ComponentHandle,
    outlet: Outlet,
    /// What is to become a letter, in order.
    waiting: VecDeque<(Delivery, Failure)>,
    /// The letter that is being written, and the ends of the deliveries of those that are kept.
    letters: JoinSet<Letter>,
    is_writing: bool,
}

/// What became of a letter.
enum Letter {
    /// It is kept.
    Kept(Box<Delivery>, Failure),
    /// Its message is settled, or comes again and finds its letter there.
    Ended(Result<(), SettleError>),
    /// It is not, and its message is still in hand.
    Failed(Box<Delivery>, PublishFailure),
}

impl Desk {
    async fn classify(&mut self, delivery: Delivery) {
        match delivery.decode() {
            Ok(decoded) => {
                self.measures.valid(decoded.unknown_fields.len());
                delivery.ack_unconfirmed().await;
            }
            Err(error) => self.reject(delivery, error.to_failure()).await,
        }
    }

    async fn reject(&mut self, delivery: Delivery, failure: Failure) {
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
            self.letters.spawn(bury(self.broker.clone(), delivery, failure));
        }
    }

    async fn settle(&mut self, letter: Result<Letter, JoinError>) {
        match letter {
            Ok(Letter::Kept(delivery, failure)) => {
                self.is_writing = false;
                self.outlet.succeeded();
                self.measures.died(failure.class);
                self.letters.spawn(async move { Letter::Ended(delivery.terminate(&failure).await) });
            }
            Ok(Letter::Ended(Ok(()))) => return,
            Ok(Letter::Ended(Err(error))) => {
                tracing::warn!(%error, "should the message come again, its dead letter is found kept");
            }
            Ok(Letter::Failed(delivery, error)) => {
                let pause = self.outlet.failed(error.to_string(), Instant::now());
                let sequence = delivery.sequence();
                tracing::error!(sequence, %error, ?pause, "message {sequence} not dead-lettered yet");
                self.is_writing = false;
                put_off(*delivery, pause).await;
                for (delivery, _) in std::mem::take(&mut self.waiting) {
                    put_off(delivery, pause).await;
                }
            }
            Err(error) => {
                self.is_writing = false;
                tracing::error!(%error, "a letter was lost on its way; its message comes again");
            }
        }
        self.write_next();
        self.tell();
    }

    fn tell(&mut self) {
        match self.outlet.trouble(Instant::now()) {
            None => self.health.ready(),
            Some(reason) => {
                let words = "dead letters cannot be published, malformed messages wait on the stream:";
                self.health.not_ready(format_args!("{words} {reason}"));
            }
        }
    }
}

async fn bury(broker: Broker, delivery: Delivery, failure: Failure) -> Letter {
    let (sequence, subject) = (delivery.sequence(), delivery.subject().to_owned());
    match delivery.bury(&broker, &failure, LETTER_PATIENCE).await {
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

/// Leaves a message with the broker for a while. One that cannot even be put off comes again when its lease runs out.
async fn put_off(delivery: Delivery, pause: Duration) {
    if let Err(error) = delivery.retry(pause).await {
        tracing::debug!(%error, "message not put off");
    }
}
