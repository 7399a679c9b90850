//! The loop: takes deliveries, sorts them into lanes, writes batches, settles ([`hand`]), and looks around ([`around`]).
//!
//! Invariants:
//! - of several sinks only the one that holds the lease takes events and writes; the others stand by;
//! - the events of a run are written in the order of the stream. Whenever some may have been lost on their way (at the
//!   start, with a connection, in a process that stood still), all in hand are forgotten and come again, in order;
//! - a delivery is acked after MLflow has its event, rejected after its dead letter is confirmed;
//! - an outage stops the pulling, keeps what is in hand under its lease, and dead-letters nothing;
//! - what cannot be decoded becomes a dead letter, in the classifier's name, so that it is one for both;
//! - draining finishes what is in hand within [`GRACE`], and leaves the rest to the next sink.

mod around;
mod batch;
mod hand;
mod intake;
pub(crate) mod lag;
pub(crate) mod leader;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use schemas::RunId;
use service_kit::broker::Broker;
use service_kit::delivery::Lease;
use service_kit::error::CliError;
use service_kit::health::ComponentHandle;
use service_kit::intake::ordered::{OrderedIntake, Room};
use service_kit::shutdown::Shutdown;
use service_kit::topology::{MAX_MESSAGE_BYTES, SINK_CONSUMER};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::gate::Gate;
use crate::lanes::Lanes;
use crate::numbers::Numbers;
use crate::unsettled::{self, Unsettled};
use crate::writer::Writer;
use around::Quiet;
use batch::Batch;
use intake::Held;
use leader::Leader;

/// Runs written at once; the connections to MLflow are shared by all of them.
const MAX_BATCHES: usize = 4;
/// Messages on the way from the broker at once.
const INTAKE: usize = 1000;
/// Least room in bytes to ask for messages: one of the largest size must fit.
const LEAST_ROOM: usize = 2 * MAX_MESSAGE_BYTES as usize;
/// Pause after the consumer could not be set back.
const REWIND_PAUSE: Duration = Duration::from_millis(500);
/// Time to finish what is in hand when the service is told to stop; below the 30 s a container is usually given.
const GRACE: Duration = Duration::from_secs(20);

/// Everything the loop stands on.
pub(crate) struct Sink {
    pub(crate) broker: Broker,
    pub(crate) writer: Arc<Writer>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) numbers: Numbers,
    pub(crate) broker_health: ComponentHandle,
    /// Says whether it is this sink's to write, and MLflow can be used.
    pub(crate) writes: watch::Sender<bool>,
}

/// Projects events into MLflow until told to stop.
pub(crate) async fn run(
    sink: Sink,
    leader: Leader,
    lag: lag::Page,
    shutdown: Shutdown,
) -> Result<(), CliError> {
    sink.gate.begin();
    let mut beside = JoinSet::new();
    beside.spawn(lag::tell(sink.broker.clone(), sink.numbers.clone(), lag));
    let (unsettled, told) = watch::channel(None);
    beside.spawn(unsettled::tell(sink.broker.clone(), told));
    let mut loop_ = Loop {
        intake: OrderedIntake::new(&sink.broker, SINK_CONSUMER),
        lanes: Lanes::default(),
        leases: HashMap::new(),
        term: None,
        taken: 0,
        reasons: HashMap::new(),
        unsettled,
        quiet: Quiet::default(),
        extended_at: Instant::now(),
        period: Lease::PERIOD,
        running: JoinSet::new(),
        unread: JoinSet::new(),
        sweeping: JoinSet::new(),
        sink: Arc::new(sink),
        leader,
    };
    loop_.serve(&shutdown).await;
    loop_.finish(&shutdown).await;
    loop_.sink.gate.stop();
    loop_.leader.release().await;
    Ok(())
}

struct Loop {
    sink: Arc<Sink>,
    leader: Leader,
    intake: OrderedIntake,
    lanes: Lanes<Held>,
    /// Of everything in hand, by sequence.
    leases: HashMap<u64, Lease>,
    /// The term of the lease in which everything in hand was taken.
    term: Option<u64>,
    /// Everything up to this sequence was taken, since the consumer was set back.
    taken: u64,
    /// Why the runs that wait could not be written.
    reasons: HashMap<RunId, String>,
    unsettled: watch::Sender<Option<Unsettled>>,
    quiet: Quiet,
    /// When the leases were extended last, and how often they are.
    extended_at: Instant,
    period: Duration,
    running: JoinSet<Batch>,
    /// Letters of what cannot be read, on their way.
    unread: JoinSet<()>,
    /// The look for runs of creates that came late.
    sweeping: JoinSet<()>,
}

impl Loop {
    async fn serve(&mut self, shutdown: &Shutdown) {
        let (mut gate, mut lease) = (self.sink.gate.watch(), self.leader.terms().0);
        let mut look = interval(Duration::from_secs(1));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.keep_order(shutdown).await;
            let may_write = self.may_write();
            self.sink.writes.send_if_modified(|said| std::mem::replace(said, may_write) != may_write);
            self.start_batches();
            self.ask();
            let deadline = self.lanes.next_deadline();
            let is_asking = self.intake.is_asking();
            tokio::select! {
                () = shutdown.drain() => return,
                Some(done) = self.running.join_next() => self.settle(done).await,
                delivery = self.intake.next(), if is_asking => self.take(delivery).await,
                _ = gate.changed() => {}
                Ok(()) = lease.changed() => {}
                () = until(deadline), if deadline.is_some_and(|due| due > Instant::now()) => {}
                () = until(Some(self.extended_at + self.period)) => self.extend_leases().await,
                Some(_) = self.sweeping.join_next() => {}
                _ = look.tick() => self.look_around(),
            }
        }
    }

    /// Lets go of everything when another sink has the lease, and begins anew where the order was lost.
    async fn keep_order(&mut self, shutdown: &Shutdown) {
        // Nobody extended the leases for too long: others may have what is in hand.
        if !self.leases.is_empty() && self.extended_at.elapsed() >= self.period * 2 {
            self.intake.lose_order();
        }
        // What is being written under a lease that is gone has ended by itself; the rest is what it waits for.
        let term = self.leader.term();
        if term.is_none() || term != self.term {
            self.intake.lose_order();
            self.running.shutdown().await;
            self.term = term;
        }
        if self.intake.is_in_order() {
            return;
        }
        // What is being written ends first; what waits comes again.
        if self.running.is_empty() {
            self.forget();
            if self.leader.holds() && self.sink.gate.is_open() {
                self.begin_anew(shutdown).await;
            }
        }
    }

    async fn begin_anew(&mut self, shutdown: &Shutdown) {
        let try_once = async {
            if let Err(reason) = self.intake.rewind().await {
                tracing::warn!(reason, "the consumer cannot be set back yet");
                tokio::time::sleep(REWIND_PAUSE).await;
            }
        };
        tokio::select! {
            () = try_once => {}
            () = shutdown.drain() => {}
        }
    }

    /// Starts as many batches as may run, when MLflow can be used.
    fn start_batches(&mut self) {
        let Some(fence) = self.leader.fence() else { return };
        while self.running.len() < self.sink.gate.width(MAX_BATCHES) && self.may_write() {
            let now = Instant::now();
            let is_trial = self.sink.gate.is_half_open();
            let next = if is_trial { self.lanes.take_most_promising(now) } else { self.lanes.take(now) };
            let Some((run, held)) = next else { return };
            let is_stuck = self.lanes.is_stuck(&run);
            self.running.spawn(batch::write(Arc::clone(&self.sink), fence.clone(), run, held, is_stuck));
        }
    }

    fn may_write(&self) -> bool {
        self.sink.gate.is_open() && self.intake.is_in_order() && self.leader.holds()
    }

    /// Asks for as much as there is room for; everything it brings is taken, whatever happens meanwhile.
    fn ask(&mut self) {
        let (messages, bytes) = self.lanes.room();
        if !self.intake.is_asking() && bytes >= LEAST_ROOM && self.may_write() {
            self.intake.ask(Room { messages: messages.min(INTAKE), bytes });
        }
    }

    /// Writes what is in hand while MLflow can be used, within the grace period. The rest stays unsettled: whoever goes
    /// on takes it from the broker in order.
    async fn finish(&mut self, shutdown: &Shutdown) {
        let hold = shutdown.hold(format!("{} events in hand", self.lanes.held()));
        let end = tokio::time::Instant::now() + GRACE;
        while self.may_write() || !self.running.is_empty() {
            self.start_batches();
            if self.running.is_empty() {
                break;
            }
            tokio::select! {
                Some(done) = self.running.join_next() => self.settle(done).await,
                () = until(Some(self.extended_at + self.period)) => self.extend_leases().await,
                () = shutdown.now() => break,
                () = sleep_until(end) => break,
            }
            hold.says(format!("{} events in hand", self.lanes.held()));
        }
        self.running.shutdown().await;
        self.intake.lose_order();
        let left = self.lanes.held();
        if left > 0 {
            tracing::info!(events = left, "left unwritten; they come again");
        }
        self.forget();
    }
}

async fn until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        sleep_until(deadline.into()).await;
    }
}
