//! The claim: a run becomes ours, or it is said why it does not.

use std::sync::Arc;

use schemas::{Failure, Stage};
use service_kit::clock;
use service_kit::registry::record::{Claim, claim};
use service_kit::registry::{Held, RegistryError, RunRecord};
use tokio_util::sync::CancellationToken;

use super::Course;
use crate::announce::Announcer;
use crate::control::{self, Signals};
use crate::halt::{Halt, again};
use crate::owner;

/// What the registry granted.
pub(crate) struct Grant {
    /// The record as we wrote it.
    pub(crate) held: Held,
    /// Speaks for the attempt.
    pub(crate) announcer: Arc<Announcer>,
    /// Cancelled when another attempt owns the run.
    pub(crate) silenced: CancellationToken,
    /// What others tell the run.
    pub(crate) signals: Signals,
    pub(super) is_cancelled: bool,
    _connection: control::Connection,
}

impl Course {
    pub(super) async fn claim(&mut self) -> Result<Grant, Halt> {
        let (mut held, mut claim) = self.try_claim(None).await.map_err(again)?;
        if let Some(known) = &held
            && !self.asked.is_owner_gone
            && self.is_gone(known, claim).await.map_err(again)?
        {
            tracing::warn!(run = %self.asked.run_id, "nobody has the run any more; it is taken over");
            self.asked.is_owner_gone = true;
            let watched = held.take();
            (held, claim) = self.try_claim(watched).await.map_err(again)?;
        }
        let worker = &self.worker;
        let is_cancelled = match claim {
            Claim::Granted { .. } => false,
            Claim::Cancelled { .. } => true,
            Claim::AlreadyOver | Claim::Duplicate => {
                tracing::info!(run = %self.asked.run_id, ?claim, "the request has no effect");
                let refusal = held.as_ref().and_then(|held| self.refusal(&held.record));
                return Err(refusal.map_or(Halt::Over, Halt::Refused));
            }
            Claim::Stale => return Err(Halt::Stale),
        };
        let held = held.ok_or_else(|| again("a claim that was granted left no record"))?;
        worker.gauges.claims.inc();
        tracing::info!(run = %self.asked.run_id, attempt = held.record.attempt, "run claimed");
        let silenced = CancellationToken::new();
        let (signals, connection) = control::connect(&worker.registry, &held.record, silenced.clone());
        let announcer = Arc::new(Announcer::new(
            &worker.broker,
            worker.publisher.clone(),
            self.asked.voice(&held.record, &worker.id),
            held.record.request_sequence,
            (silenced.clone(), worker.last_word.clone()),
            worker.gauges.stale_events.clone(),
        ));
        Ok(Grant { held, announcer, silenced, signals, is_cancelled, _connection: connection })
    }

    async fn is_gone(&self, known: &Held, claim: Claim) -> Result<bool, String> {
        let (broker, registry) = (&self.worker.broker, &self.worker.registry);
        let is_replay = self.asked.is_replay_of(known.record.request_sequence);
        owner::is_gone(broker, registry, known, claim, is_replay).await
    }

    /// Why this request was refused, when a worker did so and was lost before the request became a dead letter.
    pub(super) fn refusal(&self, record: &RunRecord) -> Option<Box<Failure>> {
        let failure = record.failure.as_ref().filter(|failure| failure.stage == Stage::Validate)?;
        (record.request_sequence == self.asked.sequence).then(|| Box::new(failure.clone()))
    }

    /// Claims; `watched` is the record whose owner was found to be gone.
    async fn try_claim(&self, watched: Option<Held>) -> Result<(Option<Held>, Claim), RegistryError> {
        let (mut claimant, now) = (self.asked.claimant(&self.worker.id), clock::now());
        let decide = |known: Option<&RunRecord>| {
            let (record, answer) = claim(known, &claimant, now);
            // Whoever has written since it was looked is there: the second look sees a run in good hands.
            claimant.is_owner_gone = false;
            match (record, answer, &self.asked.cancelled) {
                (Some(record), Claim::Granted { attempt }, Some(reason)) => {
                    let record = RunRecord { cancel_requested: Some(reason.clone()), ..record };
                    (Some(record), Claim::Cancelled { attempt })
                }
                (record, answer, _) => (record, answer),
            }
        };
        let (registry, run) = (&self.worker.registry, &self.asked.run_id);
        // A request that was never handed over before is most likely the first of its run.
        if watched.is_some() || (self.asked.delivery == 1 && !self.asked.is_owner_gone) {
            return registry.change_from(run, watched, decide).await;
        }
        registry.change(run, decide).await
    }
}
