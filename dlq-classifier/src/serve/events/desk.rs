//! Where each event is judged: can it be read, can it be, beside what is known of its run, and is it one too many.

use std::time::Duration;

use schemas::codec::Decoded;
use schemas::{Event, Failure, RunId, Timestamp};
use service_kit::clock;
use service_kit::delivery::Delivery;

use super::letters::Letters;
use super::{STOPPED_LOOK, put_off};
use crate::serve::storm::{Storm, Why};
use crate::serve::world::{Displaced, Judged, Word, World};
use crate::serve::{Measures, semantics};

/// Pause before an event comes again of whose run nothing could be found out.
const RUN_PAUSE: Duration = Duration::from_secs(2);
/// How old an event is before it is held against it what the registry says: in a cluster a node may be behind for a moment.
const FAULT_PATIENCE: Duration = Duration::from_millis(500);
/// Deliveries of an event that waits for its run, at most.
const MAX_LOOKS: u64 = 6;

/// Where messages are judged.
pub(super) struct Desk {
    pub(super) measures: Measures,
    pub(super) storm: Storm,
    /// Why no more is judged, and which message was one too many.
    pub(super) stopped: Option<(Why, u64)>,
    pub(super) world: World,
    /// How old an event of a run nobody knows is before it is held against it: its announcement may be on its way.
    pub(super) unknown_run_after: Duration,
    pub(super) letters: Letters,
}

impl Desk {
    pub(super) async fn classify(&mut self, delivery: Delivery) {
        // What nearly all are, and nothing is wrong with, need not be read.
        if delivery.glance().is_some_and(|seen| self.world.takes_report(seen.run_id, seen.attempt)) {
            return self.pass(delivery, 0).await;
        }
        match delivery.decode() {
            Ok(decoded) if self.world.takes(&decoded.event) => {
                self.pass(delivery, decoded.unknown_fields.len()).await;
            }
            Ok(decoded) => self.judge(delivery, &decoded).await,
            Err(error) => {
                let why = self.storm.seen(delivery.sequence(), true);
                self.bury(delivery, error.to_failure(), why).await;
            }
        }
    }

    async fn pass(&mut self, delivery: Delivery, unknown_fields: usize) {
        self.measures.valid(unknown_fields);
        self.storm.seen(delivery.sequence(), false);
        delivery.ack_unconfirmed().await;
    }

    /// Judges an event beside what is known of its run.
    async fn judge(&mut self, delivery: Delivery, decoded: &Decoded) {
        let event = &decoded.event;
        let run = event.run_id().cloned().unwrap_or_else(|| delivery.derived_run_id());
        match self.world.judge(event, &run, delivery.sequence(), delivery.headers()).await {
            Ok(Judged::Sound) => self.pass(delivery, decoded.unknown_fields.len()).await,
            Ok(Judged::Fault(failure)) => match patience(&delivery, FAULT_PATIENCE) {
                None => self.condemn(delivery, failure).await,
                Some(left) => put_off(delivery, left).await,
            },
            Ok(Judged::Displaces(other)) => match patience(&delivery, FAULT_PATIENCE) {
                None => self.displace(delivery, decoded, &run, &other).await,
                Some(left) => put_off(delivery, left).await,
            },
            Ok(Judged::UnknownRun) => match patience(&delivery, self.unknown_run_after) {
                None => self.doubt(delivery, event, &run).await,
                Some(left) => put_off(delivery, left).await,
            },
            Err(error) => hold(delivery, &run, error).await,
        }
    }

    /// Takes an event beside which another one cannot be that was judged before: the letter is the other's.
    async fn displace(&mut self, delivery: Delivery, decoded: &Decoded, run: &RunId, other: &Displaced) {
        match self.world.displace(run, other).await {
            Ok(true) => {
                let sequence = other.sequence;
                tracing::info!(sequence, %run, "message {sequence} dead-lettered: what came before it was judged late");
                self.measures.given_up(other.failure.class);
                self.pass(delivery, decoded.unknown_fields.len()).await;
                if let Some(why) = self.storm.seen_late(sequence, true) {
                    self.stopped = Some((why, sequence));
                }
            }
            Ok(false) => put_off(delivery, FAULT_PATIENCE).await,
            Err(error) => hold(delivery, run, error).await,
        }
    }

    /// Rejects an event of a run nobody knows, unless the run is announced by what is still on its way to a classifier.
    async fn doubt(&mut self, delivery: Delivery, event: &Event, run: &RunId) {
        let patience = i64::try_from(self.unknown_run_after.as_micros()).unwrap_or(i64::MAX);
        let until = Timestamp::from_micros(delivery.published().micros().saturating_add(patience));
        match self.world.word_of(run, until).await {
            Ok(Word::None) => self.condemn(delivery, semantics::unknown_run(event, run)).await,
            Ok(Word::Later(pause)) => put_off(delivery, pause).await,
            Err(error) => hold(delivery, run, error).await,
        }
    }

    /// Rejects what was judged beside its run, maybe not at once: others have come and were counted meanwhile.
    async fn condemn(&mut self, delivery: Delivery, failure: Failure) {
        let (sequence, is_late) = (delivery.sequence(), delivery.place().deliveries > 1);
        let why =
            if is_late { self.storm.seen_late(sequence, true) } else { self.storm.seen(sequence, true) };
        self.bury(delivery, failure, why).await;
    }

    /// Lets a message become a letter, unless it is one too many.
    async fn bury(&mut self, delivery: Delivery, failure: Failure, too_many: Option<Why>) {
        match too_many {
            None => self.letters.write(delivery, failure).await,
            Some(why) => {
                self.stopped = Some((why, delivery.sequence()));
                put_off(delivery, STOPPED_LOOK).await;
            }
        }
    }
}

/// Leaves an event with the broker that nobody can judge now.
async fn hold(delivery: Delivery, run: &RunId, error: String) {
    tracing::warn!(%run, error, "what is known of a run cannot be read; its event comes again");
    put_off(delivery, RUN_PAUSE).await;
}

/// How much younger than `old_enough` a message is, before anything is held against it that its run is to show. Also over
/// with its sixth delivery, so that two clocks that differ keep nothing here.
fn patience(delivery: &Delivery, old_enough: Duration) -> Option<Duration> {
    let age = clock::now().micros().saturating_sub(delivery.published().micros());
    let age = Duration::from_micros(u64::try_from(age).unwrap_or(0));
    let left = old_enough.saturating_sub(age);
    (left > Duration::ZERO && delivery.place().deliveries < MAX_LOOKS).then_some(left)
}
