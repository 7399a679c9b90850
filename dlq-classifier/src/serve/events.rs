//! The events themselves: what can be used is acked, what cannot becomes a dead letter. Letters are written beside
//! everything else, one by one, so that the queue has them in the order of the stream.
//!
//! A letter that cannot be published leaves its message with the broker, and the [`Outlet`] says when it is tried again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use schemas::Failure;
use schemas::codec::Decoded;
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::delivery::{Delivery, SettleError};
use service_kit::health::ComponentHandle;
use service_kit::intake::Intake;
use service_kit::publish::PublishFailure;
use service_kit::shutdown::Shutdown;
use service_kit::topology::{self, CLASSIFIER_CONSUMER};
use tokio::task::{JoinError, JoinSet};

use super::outlet::{Outlet, Way};
use super::semantics;
use super::storm::guard::Guard;
use super::storm::{Storm, Why};
use super::world::{Judged, World};
use super::{Measures, Settings};

/// Messages on their way to us at once. From 500 up, fetching costs nothing next to decoding; more would only be handed
/// out again after a crash.
const BATCH: usize = 500;
/// Messages that wait for their letters; each may have half a megabyte.
const MAX_WAITING: usize = 32;
/// How long a letter is repeated while the broker does not confirm it: well within the lease of its message.
const LETTER_PATIENCE: Duration = Duration::from_secs(3);
/// How often it is looked whether letters can be published, and whether another classifier has stopped all.
const LOOK: Duration = Duration::from_secs(1);
/// Pause before it is looked again whether letters may be written.
const STEP: Duration = Duration::from_millis(200);
/// Pause before an event comes again of whose run nothing could be found out.
const RUN_PAUSE: Duration = Duration::from_secs(2);
/// Deliveries of an event of a run nobody knows, at most.
const MAX_LOOKS: u64 = 6;
/// When nothing has come for so long, nothing is on its way to us.
const SILENCE: Duration = Duration::from_millis(100);
/// How often one that has stopped looks whether it may go on.
const STOPPED_LOOK: Duration = Duration::from_secs(2);

pub(super) async fn run(guard: Guard, settings: Settings, health: ComponentHandle, shutdown: Shutdown) {
    health.ready();
    loop {
        let way = tokio::select! {
            way = guard.way() => way,
            () = shutdown.drain() => return,
        };
        let pause = match way {
            Ok(Some(through)) => {
                let storm = Storm::new(settings.storm, through);
                match World::open(&guard.broker).await {
                    Ok(world) => {
                        judge(&guard, storm, (world, settings.unknown_run_after), &health, &shutdown).await
                    }
                    Err(error) => tracing::warn!(error, "what is known of the runs cannot be read yet"),
                }
                STEP
            }
            Ok(None) => STOPPED_LOOK,
            Err(error) => {
                tracing::warn!(error, "whether the classifiers have stopped cannot be found out yet");
                LOOK
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.drain() => return,
        }
    }
}

/// Judges what comes, until the drain or until the classifiers have stopped.
async fn judge(
    guard: &Guard,
    storm: Storm,
    (world, unknown_run_after): (World, Duration),
    health: &ComponentHandle,
    shutdown: &Shutdown,
) {
    let broker = guard.broker.clone();
    let mut intake = Intake::new(&broker, CLASSIFIER_CONSUMER, BATCH);
    let mut desk = Desk {
        broker,
        measures: guard.measures.clone(),
        health: health.clone(),
        storm,
        stopped: None,
        world,
        unknown_run_after,
        outlet: Outlet::default(),
        waiting: VecDeque::new(),
        letters: JoinSet::new(),
        is_writing: false,
    };
    let mut look = tokio::time::interval(LOOK);
    while desk.stopped.is_none() {
        tokio::select! {
            biased;
            () = shutdown.drain() => break,
            Some(letter) = desk.letters.join_next() => desk.settle(letter).await,
            _ = look.tick() => {
                desk.tell();
                if matches!(guard.is_stopped().await, Ok(true)) {
                    break;
                }
            }
            delivery = intake.next(), if desk.waiting.len() < MAX_WAITING => desk.classify(delivery).await,
        }
    }
    while let Some(letter) = desk.letters.join_next().await {
        desk.settle(letter).await;
    }
    if !shutdown.is_draining() {
        // What is here already waits with the broker, not with us until its leases run out; for so long that it does not
        // come back to what we have asked for.
        for _ in 0..2 * BATCH {
            let Ok(delivery) = tokio::time::timeout(SILENCE, intake.next()).await else { break };
            put_off(delivery, STOPPED_LOOK).await;
        }
    }
    if let Some((why, sequence)) = desk.stopped {
        while let Err(error) = guard.stop(&why, sequence).await {
            tracing::warn!(error, "that the classifiers have stopped cannot be written down yet");
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = shutdown.drain() => return,
            }
        }
    }
}

/// Where messages are judged.
struct Desk {
    broker: Broker,
    measures: Measures,
    health: ComponentHandle,
    storm: Storm,
    /// Why no more is judged, and which message was one too many.
    stopped: Option<(Why, u64)>,
    world: World,
    /// How old an event of a run nobody knows is before it is held against it: its announcement may be on its way.
    unknown_run_after: Duration,
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
            Ok(decoded) if self.world.takes(&decoded.event) => self.pass(delivery, &decoded).await,
            Ok(decoded) => self.judge(delivery, &decoded).await,
            Err(error) => self.reject(delivery, error.to_failure()).await,
        }
    }

    async fn pass(&mut self, delivery: Delivery, decoded: &Decoded) {
        self.measures.valid(decoded.unknown_fields.len());
        self.storm.seen(delivery.sequence(), false);
        delivery.ack_unconfirmed().await;
    }

    /// Judges an event beside what is known of its run.
    async fn judge(&mut self, delivery: Delivery, decoded: &Decoded) {
        let event = &decoded.event;
        let run = event.run_id().cloned().unwrap_or_else(|| delivery.derived_run_id());
        let (sequence, headers) = (delivery.sequence(), delivery.headers());
        match self.world.judge(event, &run, sequence, headers).await {
            Ok(Judged::Sound) => self.pass(delivery, decoded).await,
            Ok(Judged::Fault(failure)) => self.reject(delivery, failure).await,
            Ok(Judged::UnknownRun) => match self.patience(&delivery) {
                None => {
                    let why = self.storm.seen_late(delivery.sequence(), true);
                    self.bury(delivery, semantics::unknown_run(event, &run), why).await;
                }
                Some(left) => put_off(delivery, left).await,
            },
            Err(error) => {
                tracing::warn!(%run, error, "what is known of a run cannot be read; its event comes again");
                put_off(delivery, RUN_PAUSE).await;
            }
        }
    }

    /// How long the announcement of the run of a message is waited for yet. Also over with its sixth delivery, so that
    /// two clocks that differ keep nothing here.
    fn patience(&self, delivery: &Delivery) -> Option<Duration> {
        let age = clock::now().micros().saturating_sub(delivery.published().micros());
        let age = Duration::from_micros(u64::try_from(age).unwrap_or(0));
        let left = self.unknown_run_after.saturating_sub(age);
        (left > Duration::ZERO && delivery.place().deliveries < MAX_LOOKS).then_some(left)
    }

    async fn reject(&mut self, delivery: Delivery, failure: Failure) {
        let why = self.storm.seen(delivery.sequence(), true);
        self.bury(delivery, failure, why).await;
    }

    /// Lets a message become a letter, unless it is one too many.
    async fn bury(&mut self, delivery: Delivery, failure: Failure, too_many: Option<Why>) {
        if let Some(why) = too_many {
            self.stopped = Some((why, delivery.sequence()));
            return put_off(delivery, STOPPED_LOOK).await;
        }
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
