//! What others tell a run: that it should end, how many trials may be under way, that another attempt owns it.
//!
//! Cancel requests are taken from the stream by any worker and written into the registry; whoever has a run in hand
//! watches its registry key. A run nobody has in hand is ended at once by the worker that takes the request: it does not
//! wait behind others for its end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use schemas::lifecycle::RunState;
use schemas::subject::STREAM;
use schemas::{Event, Record, RunId};
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::delivery::Delivery;
use service_kit::history::History;
use service_kit::intake::Intake;
use service_kit::registry::{self, Held, Registry, RunRecord, record};
use service_kit::shutdown::Shutdown;
use service_kit::topology::{CANCEL_CONSUMER, WORKER_CONSUMER};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::asked::Asked;
use crate::course::Course;
use crate::owner;
use crate::request::Settlement;
use crate::worker::Worker;

/// How long a run is in hand before its key is watched. Most that is asked of a run comes later than that, nothing is
/// missed by it (a watch begins with the present value), and a run of milliseconds costs no watch at all.
const WATCH_DELAY: Duration = Duration::from_millis(200);
/// Cancel requests that are carried out at once.
const CANCELS_AT_ONCE: usize = 16;
/// Pause before a key is watched again after the watch was lost.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);

/// What one run is told.
#[derive(Debug, Clone)]
pub struct Signals {
    cancel: watch::Receiver<Option<String>>,
    scale: watch::Receiver<Option<u32>>,
}

impl Signals {
    /// Of a run nobody else knows of: they never come.
    pub fn silent() -> Self {
        let (cancel, scale) = (watch::channel(None).1, watch::channel(None).1);
        Self { cancel, scale }
    }

    /// Resolves with each change of how many trials may be under way at once. Cancel safe.
    pub async fn scaled(&mut self) -> u32 {
        loop {
            if self.scale.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if let Some(parallelism) = *self.scale.borrow_and_update() {
                return parallelism;
            }
        }
    }

    /// Resolves with the reason when somebody asked for the end of the run.
    pub async fn cancelled(&mut self) -> Option<String> {
        let reason = self.cancel.wait_for(Option::is_some).await.map(|reason| reason.clone());
        match reason {
            Ok(reason) => reason.filter(|reason| !reason.is_empty()),
            Err(_) => std::future::pending().await,
        }
    }
}

/// A run whose registry key is watched, until this is dropped.
#[derive(Debug)]
pub struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Connects a run that was just claimed: `silenced` is cancelled when another attempt owns it.
pub fn connect(
    registry: &Registry,
    record: &RunRecord,
    silenced: CancellationToken,
) -> (Signals, Connection) {
    let (cancel, cancelled) = watch::channel(None);
    let (scale, scaled) = watch::channel(record.parallelism);
    let watcher = Watcher {
        registry: registry.clone(),
        run: record.run_id.clone(),
        attempt: record.attempt,
        cancel,
        scale,
        silenced,
    };
    (Signals { cancel: cancelled, scale: scaled }, Connection(tokio::spawn(watcher.watch())))
}

struct Watcher {
    registry: Registry,
    run: RunId,
    attempt: u32,
    cancel: watch::Sender<Option<String>>,
    scale: watch::Sender<Option<u32>>,
    silenced: CancellationToken,
}

impl Watcher {
    async fn watch(self) {
        tokio::time::sleep(WATCH_DELAY).await;
        loop {
            if let Err(error) = self.watch_once().await {
                tracing::warn!(run = %self.run, error, "the registry key of the run cannot be watched, trying again");
            }
            tokio::time::sleep(REOPEN_PAUSE).await;
        }
    }

    async fn watch_once(&self) -> Result<(), String> {
        let mut entries = self.registry.watch(&self.run).await.map_err(|error| error.to_string())?;
        while let Some(entry) = entries.next().await {
            let entry = entry.map_err(|error| error.to_string())?;
            if let Some(held) = registry::read(&entry) {
                self.pass_on(&held.record);
            }
        }
        Ok(())
    }

    fn pass_on(&self, record: &RunRecord) {
        if record.attempt > self.attempt {
            tracing::warn!(run = %record.run_id, attempt = self.attempt, "another attempt owns the run");
            self.silenced.cancel();
            return;
        }
        self.scale.send_if_modified(|known| {
            let is_new = *known != record.parallelism;
            *known = record.parallelism;
            is_new
        });
        if let Some(reason) = &record.cancel_requested {
            self.cancel.send_if_modified(|known| {
                let is_new = known.is_none();
                *known = Some(reason.clone());
                is_new
            });
        }
    }
}

/// Takes cancel requests, writes them into the registry and ends the runs nobody has in hand, for ever.
pub async fn take_cancel_requests(worker: Arc<Worker>, shutdown: Shutdown) {
    let mut intake = Intake::new(&worker.broker, CANCEL_CONSUMER, CANCELS_AT_ONCE);
    let mut under_way: JoinSet<()> = JoinSet::new();
    loop {
        // Side by side: one whose run's owner has to be looked for does not keep the others waiting.
        tokio::select! {
            Some(_) = under_way.join_next() => {}
            delivery = intake.next(), if under_way.len() < CANCELS_AT_ONCE => {
                let (worker, shutdown) = (worker.clone(), shutdown.clone());
                under_way.spawn(async move {
                    if let Err(error) = take_one(&worker, delivery, &shutdown).await {
                        tracing::warn!(error, "cancel request not settled; it comes again");
                    }
                });
            }
        }
    }
}

async fn take_one(worker: &Arc<Worker>, delivery: Delivery, shutdown: &Shutdown) -> Result<(), String> {
    let request = match delivery.decode().map(|decoded| decoded.event) {
        Ok(Event::RunCancelRequested(request)) => request,
        Ok(_) => return delivery.ack().await.map_err(|error| error.to_string()),
        Err(error) => {
            let left = delivery.leave_unread(&worker.broker, &error).await;
            return left.map_err(|error| error.to_string());
        }
    };
    let run = &request.run_id;
    let (reason, now) = (request.reason.clone().unwrap_or_default(), clock::now());
    let change = |known: Option<&RunRecord>| (record::request_cancel(known, run, &reason, now), ());
    let ended = async {
        let (held, ()) = worker.registry.change(run, change).await.map_err(|error| error.to_string())?;
        tracing::info!(%run, "cancel requested");
        end_unless_in_hand(worker, held, &reason, shutdown).await
    };
    match ended.await {
        Ok(()) => delivery.ack().await.map_err(|error| error.to_string()),
        Err(error) => {
            tracing::warn!(%run, error, "cancel request not carried out, trying again");
            delivery.retry(Duration::from_secs(1)).await.map_err(|error| error.to_string())
        }
    }
}

/// Ends a run that waits in the queue or for its next attempt. One that somebody has in hand hears of it there.
async fn end_unless_in_hand(
    worker: &Arc<Worker>,
    held: Option<Held>,
    reason: &str,
    shutdown: &Shutdown,
) -> Result<(), String> {
    let Some(held) = held else { return Ok(()) };
    let record = &held.record;
    let asked = match record.state {
        RunState::Interrupted => Asked::remembered(record),
        RunState::Running if owner::is_lost(&worker.broker, &worker.registry, &held).await? => {
            Asked::remembered(record).map(|asked| Asked { is_owner_gone: true, ..asked })
        }
        RunState::Running => None,
        // What is over may have been asked for again, and wait.
        RunState::Requested | RunState::Completed | RunState::Failed | RunState::Cancelled => {
            find_request(&worker.broker, &record.run_id, record.request_sequence).await?
        }
    };
    let asked = asked.map(|asked| Asked { cancelled: Some(reason.to_owned()), ..asked });
    // A request nobody has published yet is cancelled when it comes.
    let Some(asked) = asked else { return Ok(()) };
    match Course::new(worker.clone(), asked, Arc::default()).run(shutdown).await {
        Settlement::Ack | Settlement::Leave | Settlement::Reject(_) => Ok(()),
        Settlement::Again(_) => Err("its end could not be written".to_owned()),
    }
}

/// The request for a run behind sequence `behind` among those that are not settled yet.
async fn find_request(broker: &Broker, run: &RunId, behind: u64) -> Result<Option<Asked>, String> {
    let stream = broker.jetstream.get_stream_no_info(STREAM).await.map_err(|error| error.to_string())?;
    let consumer = stream.consumer_info(WORKER_CONSUMER).await.map_err(|error| error.to_string())?;
    let from = consumer.ack_floor.stream_sequence.max(behind) + 1;
    let subjects = [Record::RunRequested.subject()];
    let mut history =
        History::to_the_present(broker, STREAM, &subjects, from).await.map_err(|error| error.what)?;
    while let Some(kept) = history.next().await.map_err(|error| error.what)? {
        if let Some(asked) = Asked::found(&kept, STREAM, run) {
            return Ok(Some(asked));
        }
    }
    Ok(None)
}
