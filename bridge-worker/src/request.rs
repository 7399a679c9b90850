//! One request: claimed, checked, executed, settled.
//!
//! The order is the contract: claim (which gives the fence), announce, execute, announce the end, write it into the
//! registry, ack. A worker that dies between two of these leaves a request the broker hands over again, and the next
//! attempt finds on the stream how far it got.

use std::sync::Arc;
use std::time::Duration;

use schemas::cloudevents::{Context, header};
use schemas::event::{RunCancelled, RunFailed, RunRequested};
use schemas::lifecycle::RunState;
use schemas::{Event, Failure, FailureClass, RunId, Stage};
use service_kit::clock;
use service_kit::delivery::{Delivery, SettleError};
use service_kit::publish::Voice;
use service_kit::registry::record::{Claim, Claimant, MAX_WORKER_LOSSES, claim};
use service_kit::registry::{Held, RunRecord};
use service_kit::shutdown::Shutdown;
use tokio_util::sync::CancellationToken;

use crate::announce::{Announcer, Unsaid};
use crate::control;
use crate::plan::plan;
use crate::resume::Checkpoint;
use crate::run::{Attempt, LeaseKeeper, Outcome};
use crate::worker::Worker;

/// Pause before a request is handed over again while the broker is not well.
const OUTAGE_PAUSE: Duration = Duration::from_secs(2);

/// Why a request was not carried to its end; it stays with the broker and comes again.
#[derive(Debug, thiserror::Error)]
enum Unfinished {
    #[error(transparent)]
    Registry(#[from] service_kit::registry::RegistryError),
    #[error(transparent)]
    Settle(#[from] SettleError),
    #[error("{}: {}", .0.what, .0.because.as_deref().unwrap_or("no reason given"))]
    History(service_kit::error::CliError),
    #[error(transparent)]
    Unsaid(#[from] Unsaid),
}

impl Worker {
    /// Takes a request to its end.
    pub async fn take(self: Arc<Self>, delivery: Delivery, shutdown: Shutdown) {
        let sequence = delivery.sequence();
        let keeper = LeaseKeeper::start(delivery.lease());
        let outcome = self.serve(delivery, &shutdown).await;
        drop(keeper);
        match outcome {
            Ok(()) => {}
            Err(Unfinished::Unsaid(Unsaid::Silenced)) => {
                tracing::warn!(sequence, "another attempt owns the run; this one stops");
            }
            Err(error) => {
                tracing::error!(sequence, %error, "request not finished; the broker hands it over again")
            }
        }
    }

    async fn serve(self: &Arc<Self>, delivery: Delivery, shutdown: &Shutdown) -> Result<(), Unfinished> {
        let request = match delivery.decode().map(|decoded| decoded.event) {
            Ok(Event::RunRequested(request)) => request,
            // What cannot be read is the classifier's to dead-letter, once.
            Ok(_) | Err(_) => return Ok(delivery.ack().await?),
        };
        let run_id = request.run_id.clone().unwrap_or_else(|| delivery.derived_run_id());
        let (held, claim) = match self.claim(&run_id, &request, &delivery).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(run = %run_id, %error, "run not claimed, trying again");
                return Ok(delivery.retry(OUTAGE_PAUSE).await?);
            }
        };
        let Some(held) = held.filter(|_| !matches!(claim, Claim::AlreadyOver | Claim::Duplicate)) else {
            tracing::info!(run = %run_id, ?claim, "the request has no effect");
            return Ok(delivery.ack().await?);
        };
        self.gauges.claims.inc();
        tracing::info!(run = %run_id, attempt = held.record.attempt, "run claimed");
        let silenced = CancellationToken::new();
        let (signals, _connection) = control::connect(&self.registry, &held.record, silenced.clone());
        let announcer = Arc::new(self.voice(&delivery, &request, &held.record, silenced.clone()));
        let checkpoint = self.checkpoint(&held.record).await.map_err(Unfinished::History)?;
        if let Some(state) = checkpoint.ended {
            tracing::info!(run = %run_id, %state, "the run had ended; its end is written down now");
            self.record_end(&held, state, |record| record).await;
            return Ok(delivery.ack().await?);
        }
        match claim {
            Claim::Cancelled { .. } => {
                return self.cancel_unstarted(delivery, &held, &announcer).await;
            }
            Claim::GiveUp { .. } => {
                let message = format!("{MAX_WORKER_LOSSES} workers were lost over this run; it is given up");
                let failure = Failure::new(FailureClass::WorkerLost, Stage::Execute, message);
                return self.reject(delivery, &held, failure, &announcer).await;
            }
            Claim::Granted { .. } | Claim::AlreadyOver | Claim::Duplicate => {}
        }
        if let Some(gate) = self.gates.closed() {
            let failure = Failure::new(FailureClass::Dependency, Stage::Execute, gate.to_string());
            self.fail(&held, failure, &announcer).await?;
            return Ok(delivery.ack().await?);
        }
        let plan = match plan(&run_id, &request, &self.allowed) {
            Ok(plan) => Arc::new(plan),
            Err(failure) => return self.reject(delivery, &held, failure, &announcer).await,
        };
        let attempt = Attempt { worker: self.clone(), plan, held, announcer, signals, silenced };
        // Boxed: the state of a whole run is large, and would be moved with every future around it.
        match Box::pin(attempt.execute(checkpoint, shutdown)).await? {
            Outcome::Over => delivery.ack().await?,
            Outcome::Again => delivery.retry(Duration::ZERO).await?,
        }
        Ok(())
    }

    async fn claim(
        &self,
        run_id: &RunId,
        request: &RunRequested,
        delivery: &Delivery,
    ) -> Result<(Option<Held>, Claim), service_kit::registry::RegistryError> {
        let claimant = Claimant {
            run_id,
            request,
            sequence: delivery.sequence(),
            requested_at: delivery.published(),
            worker_id: &self.id,
        };
        let now = clock::now();
        let decide = |known: Option<&RunRecord>| claim(known, &claimant, now);
        // A request that was never handed over before is most likely the first of its run.
        if delivery.place().deliveries == 1 {
            return self.registry.change_from(run_id, None, decide).await;
        }
        self.registry.change(run_id, decide).await
    }

    fn voice(
        &self,
        delivery: &Delivery,
        request: &RunRequested,
        record: &RunRecord,
        silenced: CancellationToken,
    ) -> Announcer {
        let header = |name: &str| delivery.headers().get(name).map(str::to_owned);
        let context = Context {
            source: format!("/cerebros/bridge-worker/{}", self.id),
            traceparent: header(header::TRACEPARENT),
            causation_id: header("ce-id").or_else(|| header(header::MESSAGE_ID)),
            correlation_id: request.correlation_id.clone().or_else(|| header(header::CORRELATION_ID)),
        };
        let voice =
            Voice { run: record.run_id.clone(), attempt: record.attempt, epoch: record.epoch, context };
        Announcer::new(self.publisher.clone(), voice, silenced)
    }

    /// A first attempt has nothing behind it; later ones read what the stream has.
    async fn checkpoint(&self, record: &RunRecord) -> Result<Checkpoint, service_kit::error::CliError> {
        if record.attempt == 1 {
            return Ok(Checkpoint::default());
        }
        Checkpoint::read(&self.broker, &record.run_id, record.first_sequence, record.epoch).await
    }

    /// The run failed before it started: the terminal event, then the registry.
    async fn fail(&self, held: &Held, failure: Failure, announcer: &Announcer) -> Result<(), Unfinished> {
        let record = &held.record;
        tracing::warn!(run = %record.run_id, class = %failure.class, reason = failure.message, "run refused");
        let event = RunFailed {
            run_id: record.run_id.clone(),
            attempt: record.attempt,
            failure: failure.clone(),
            completed_trials: 0,
            duration_ms: 0,
        };
        announcer.say(&[event.into()]).await?;
        self.record_end(held, RunState::Failed, |record| RunRecord {
            ended_by: Some(failure.class.to_string()),
            failure: Some(failure.clone()),
            ..record
        })
        .await;
        Ok(())
    }

    /// The request can never be executed: the run fails, and the request becomes a dead letter.
    async fn reject(
        &self,
        delivery: Delivery,
        held: &Held,
        failure: Failure,
        announcer: &Announcer,
    ) -> Result<(), Unfinished> {
        self.fail(held, failure.clone(), announcer).await?;
        self.gauges.rejected.inc();
        Ok(delivery.reject(&self.broker, &failure).await?)
    }

    async fn cancel_unstarted(
        &self,
        delivery: Delivery,
        held: &Held,
        announcer: &Announcer,
    ) -> Result<(), Unfinished> {
        let record = &held.record;
        let event = RunCancelled {
            run_id: record.run_id.clone(),
            attempt: record.attempt,
            reason: record.cancel_requested.clone().filter(|reason| !reason.is_empty()),
            completed_trials: 0,
            duration_ms: 0,
        };
        announcer.say(&[event.into()]).await?;
        let ended_by = Some("cancelled".to_owned());
        self.record_end(held, RunState::Cancelled, |record| RunRecord {
            ended_by: ended_by.clone(),
            ..record
        })
        .await;
        Ok(delivery.ack().await?)
    }
}
