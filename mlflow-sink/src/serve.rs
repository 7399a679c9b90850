//! The loop: takes deliveries, sorts them into lanes, writes batches, settles.
//!
//! Invariants:
//! - a delivery is acked after MLflow has its event, rejected after its dead letter is confirmed;
//! - an outage stops the pulling, keeps what is in hand under its lease, and dead-letters nothing;
//! - what cannot be decoded is the classifier's: it is acked here and reported there;
//! - draining finishes what is in hand within [`GRACE`], and hands the rest back.

mod batch;
mod intake;
mod lag;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use schemas::RunId;
use service_kit::broker::Broker;
use service_kit::delivery::{Delivery, Lease};
use service_kit::error::CliError;
use service_kit::health::{ComponentHandle, NumberHandle};
use service_kit::intake::Intake;
use service_kit::shutdown::Shutdown;
use service_kit::topology::SINK_CONSUMER;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::gate::{Gate, luck};
use crate::lanes::{Lanes, MAX_PAUSE};
use crate::numbers::Numbers;
use crate::writer::Writer;
use batch::{Batch, Held};
use intake::Taken;

/// Runs written at once; the connections to MLflow are shared by all of them.
const MAX_BATCHES: usize = 4;
/// Messages on the way from the broker at once.
const INTAKE: usize = 200;
/// Time to finish what is in hand when the service is told to stop; below the 30 s a container is usually given.
const GRACE: Duration = Duration::from_secs(20);

/// Everything the loop stands on.
pub(crate) struct Sink {
    pub(crate) broker: Broker,
    pub(crate) writer: Arc<Writer>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) numbers: Numbers,
    pub(crate) broker_health: ComponentHandle,
    /// Events that wait, for the health page.
    pub(crate) lag: NumberHandle,
}

/// Projects events into MLflow until told to stop.
pub(crate) async fn run(sink: Sink, shutdown: Shutdown) -> Result<(), CliError> {
    sink.gate.begin();
    let mut beside = JoinSet::new();
    beside.spawn(lag::tell(sink.broker.clone(), sink.numbers.lag.clone(), sink.lag.clone()));
    let mut loop_ = Loop {
        intake: Intake::new(&sink.broker, SINK_CONSUMER, INTAKE),
        lanes: Lanes::default(),
        leases: HashMap::new(),
        running: JoinSet::new(),
        sink: Arc::new(sink),
    };
    loop_.serve(&shutdown).await;
    loop_.finish(&shutdown).await;
    loop_.sink.gate.stop();
    Ok(())
}

struct Loop {
    sink: Arc<Sink>,
    intake: Intake,
    lanes: Lanes<Held>,
    /// Of everything in hand, by sequence.
    leases: HashMap<u64, Lease>,
    running: JoinSet<Batch>,
}

impl Loop {
    async fn serve(&mut self, shutdown: &Shutdown) {
        let mut gate = self.sink.gate.watch();
        let mut extend = interval(Lease::PERIOD);
        extend.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = interval(Duration::from_secs(1));
        loop {
            self.start_batches();
            let may_take = self.sink.gate.is_open() && self.lanes.has_room();
            let deadline = self.lanes.next_deadline();
            tokio::select! {
                () = shutdown.drain() => return,
                Some(done) = self.running.join_next() => self.settle(done).await,
                delivery = self.intake.next(), if may_take => self.take(delivery).await,
                _ = gate.changed() => {}
                () = until(deadline), if deadline.is_some_and(|due| due > Instant::now()) => {}
                _ = extend.tick() => self.extend_leases().await,
                _ = look.tick() => self.look_at_the_broker(),
            }
        }
    }

    /// Starts as many batches as may run, when MLflow can be used.
    fn start_batches(&mut self) {
        while self.running.len() < self.sink.gate.width(MAX_BATCHES) {
            let Some((run, held)) = self.lanes.take(Instant::now()) else { return };
            self.running.spawn(batch::write(Arc::clone(&self.sink), run, held));
        }
    }

    async fn take(&mut self, delivery: Delivery) {
        match intake::sort(delivery) {
            Taken::Event(run, held) => self.hold(&run, *held).await,
            Taken::NotOurs(delivery) => {
                self.sink.numbers.events.inc("ignored");
                delivery.ack_unconfirmed().await;
            }
        }
    }

    async fn hold(&mut self, run: &RunId, held: Held) {
        let (sequence, lease) = (held.delivery.sequence(), held.delivery.lease());
        match self.lanes.push(run, held) {
            Ok(()) => drop(self.leases.insert(sequence, lease)),
            // Writing an event late is harmless, only waiting for it would not be.
            Err(held) => hand_back(held.delivery, MAX_PAUSE).await,
        }
        self.sink.numbers.held.set(i64::try_from(self.lanes.held()).unwrap_or(i64::MAX));
    }

    async fn settle(&mut self, done: Result<Batch, tokio::task::JoinError>) {
        let batch = match done {
            Ok(batch) => batch,
            // Its deliveries were dropped with it and come again.
            Err(error) => return tracing::error!(%error, "a batch ended in a fault of ours"),
        };
        for sequence in &batch.settled {
            self.leases.remove(sequence);
        }
        match batch.stopped {
            None => self.lanes.settle(&batch.run),
            Some(_) => {
                for held in self.lanes.put_back(&batch.run, batch.postponed, Instant::now(), luck()) {
                    self.leases.remove(&held.delivery.sequence());
                    hand_back(held.delivery, MAX_PAUSE).await;
                }
            }
        }
        self.sink.numbers.held.set(i64::try_from(self.lanes.held()).unwrap_or(i64::MAX));
    }

    async fn extend_leases(&self) {
        for lease in self.leases.values() {
            lease.extend().await;
        }
    }

    fn look_at_the_broker(&self) {
        if self.sink.broker.is_connected() {
            self.sink.broker_health.ready();
        } else {
            self.sink.broker_health.not_ready("the connection is lost");
        }
    }

    /// Writes what is in hand while MLflow can be used, within the grace period, and hands back what is left.
    async fn finish(&mut self, shutdown: &Shutdown) {
        let hold = shutdown.hold(format!("{} events in hand", self.lanes.held()));
        let end = tokio::time::Instant::now() + GRACE;
        let mut extend = interval(Lease::PERIOD);
        while self.sink.gate.is_open() || !self.running.is_empty() {
            self.start_batches();
            if self.running.is_empty() {
                break;
            }
            tokio::select! {
                Some(done) = self.running.join_next() => self.settle(done).await,
                _ = extend.tick() => self.extend_leases().await,
                () = shutdown.now() => break,
                () = sleep_until(end) => break,
            }
            hold.says(format!("{} events in hand", self.lanes.held()));
        }
        self.running.abort_all();
        let left = self.lanes.empty();
        if !left.is_empty() {
            tracing::info!(events = left.len(), "handed back unwritten; they come again");
        }
        for held in left {
            hand_back(held.delivery, Duration::ZERO).await;
        }
    }
}

async fn until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        sleep_until(deadline.into()).await;
    }
}

/// Gives a delivery back to the broker. If that does not arrive, the broker takes it back by itself.
async fn hand_back(delivery: Delivery, delay: Duration) {
    if let Err(error) = delivery.retry(delay).await {
        tracing::debug!(%error, "delivery not handed back; its lease runs out instead");
    }
}
