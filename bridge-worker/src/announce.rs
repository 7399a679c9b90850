//! What an attempt says, in the order a run allows, confirmed.
//!
//! A broker that does not answer makes the attempt wait, for as long as it lasts; only somebody else's claim on the
//! run silences it, or the end of the worker. Every event is said from behind the fence, so that the broker refuses it once another attempt has
//! taken over, and is stored once: repeated within the broker's duplicate window it is dropped there, and after a longer
//! silence it is looked up before it is repeated.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use schemas::Event;
use schemas::cloudevents::{self, header};
use schemas::lifecycle::{Lifecycle, OrderError};
use schemas::subject::STREAM;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::fence::{Fence, FenceError, is_refusal_by_fence};
use service_kit::history::History;
use service_kit::publish::{PublishFailure, Publisher, Voice};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Time after which an event that was never confirmed is looked up before it is repeated: well within the broker's
/// duplicate window, which is two minutes.
const TRUST_IN_DUPLICATES: Duration = Duration::from_secs(45);
/// Pause before the broker is asked again.
const OUTAGE_PAUSE: Duration = Duration::from_secs(1);

/// Why an attempt could not say something.
#[derive(Debug, thiserror::Error)]
pub enum Unsaid {
    /// Another attempt owns the run.
    #[error("this attempt no longer owns the run")]
    Silenced,
    /// The broker does not answer, and the worker has no more time to wait for it.
    #[error("the broker does not answer, and the worker ends")]
    Unheard,
    /// The order of events forbids it: a defect of ours.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// The broker refused it, or it cannot be written.
    #[error(transparent)]
    Refused(PublishFailure),
}

/// The voice of one attempt.
#[derive(Debug)]
pub struct Announcer {
    outlet: Outlet,
    voice: Voice,
    lifecycle: Mutex<Lifecycle>,
    last_sequence: AtomicU64,
    silenced: CancellationToken,
    last_word: CancellationToken,
    refused: Counter,
}

/// Where events go.
#[derive(Debug)]
enum Outlet {
    /// To the stream, from behind the fence.
    Stream(Box<Line>),
    /// To whoever runs a search without a broker; full means that the trials wait.
    Here(mpsc::Sender<Event>),
}

/// The way to the stream.
#[derive(Debug)]
struct Line {
    broker: Broker,
    publisher: Publisher,
    fence: Fence,
}

impl Announcer {
    /// The only attempt at a run that no broker knows of.
    pub fn without_broker(voice: Voice, listener: mpsc::Sender<Event>) -> Self {
        Self {
            outlet: Outlet::Here(listener),
            voice,
            lifecycle: Mutex::default(),
            last_sequence: AtomicU64::default(),
            silenced: CancellationToken::new(),
            last_word: CancellationToken::new(),
            refused: Counter::default(),
        }
    }

    /// An attempt that has said nothing yet, and says nothing before sequence `behind`. `silenced` is cancelled when
    /// another attempt owns the run, by us too when the broker says so; `last_word` when nothing more can be waited for.
    /// `refused` counts the events the broker stopped.
    pub fn new(
        broker: &Broker,
        publisher: Publisher,
        voice: Voice,
        behind: u64,
        (silenced, last_word): (CancellationToken, CancellationToken),
        refused: Counter,
    ) -> Self {
        let fence = Fence::new(broker, &voice.run, voice.attempt);
        Self {
            outlet: Outlet::Stream(Box::new(Line { broker: broker.clone(), publisher, fence })),
            voice,
            lifecycle: Mutex::default(),
            last_sequence: AtomicU64::new(behind),
            silenced,
            last_word,
            refused,
        }
    }

    /// Shuts older attempts out. What the stream has of the run afterwards is all they ever said.
    ///
    /// # Errors
    /// A later attempt has done so already, or the broker does not answer.
    pub async fn raise_fence(&self) -> Result<(), FenceError> {
        match &self.outlet {
            Outlet::Stream(line) => self.raise(line).await,
            Outlet::Here(_) => Ok(()),
        }
    }

    async fn raise(&self, line: &Line) -> Result<(), FenceError> {
        line.fence.raise().await.inspect_err(|error| {
            if matches!(error, FenceError::Stale(_)) {
                self.silenced.cancel();
            }
        })
    }

    /// Goes on from where earlier attempts have left the run.
    pub fn go_on_from(&self, lifecycle: Lifecycle) {
        *self.lifecycle() = lifecycle;
    }

    /// Publishes events in order and returns when the broker has confirmed every one. Around an outage, events of one
    /// call may be stored in another order; those of the next call are stored later in any case.
    pub async fn say(&self, events: &[Event]) -> Result<(), Unsaid> {
        self.check_order(events)?;
        match &self.outlet {
            Outlet::Stream(line) => self.deliver(line, events.iter().collect()).await,
            Outlet::Here(listener) => {
                for event in events {
                    // Nobody listens any more: then the search is over.
                    listener.send(event.clone()).await.map_err(|_| Unsaid::Silenced)?;
                }
                Ok(())
            }
        }
    }

    async fn deliver(&self, line: &Line, mut events: Vec<&Event>) -> Result<(), Unsaid> {
        let mut began = Instant::now();
        // Trials say things side by side: what others get confirmed meanwhile may be behind what is looked for.
        let behind = self.last_sequence();
        loop {
            let sent = tokio::select! {
                biased;
                () = self.silenced.cancelled() => return Err(Unsaid::Silenced),
                () = self.last_word.cancelled() => return Err(Unsaid::Unheard),
                sent = line.publisher.publish_all_if(&events, &self.voice, line.fence.condition()) => sent,
            };
            match sent {
                Ok(confirmed) => {
                    // Not the last one's: around an outage an earlier event may have been stored after it.
                    if let Some(last) = confirmed.iter().map(|published| published.sequence).max() {
                        self.last_sequence.fetch_max(last, Ordering::Relaxed);
                    }
                    return Ok(());
                }
                Err(failure) if is_refusal_by_fence(&failure) => self.defend(line).await?,
                // The ids are the same, so what had arrived is dropped as a duplicate, while the broker remembers it.
                Err(failure) if failure.is_outage() => {
                    tracing::warn!(run = %self.voice.run, %failure, "the broker does not confirm, waiting for it");
                    if began.elapsed() > TRUST_IN_DUPLICATES {
                        self.leave_out_what_is_stored(line, &mut events, behind).await?;
                        began = Instant::now();
                    }
                }
                Err(failure) => return Err(Unsaid::Refused(failure)),
            }
        }
    }

    /// The broker refused an event because of the fence: another attempt has taken over, or the fence is gone.
    async fn defend(&self, line: &Line) -> Result<(), Unsaid> {
        loop {
            match self.raise(line).await {
                Ok(()) => return Ok(()),
                Err(FenceError::Stale(attempt)) => {
                    tracing::warn!(run = %self.voice.run, by = attempt, "an event was refused: the run was taken over");
                    self.refused.inc();
                    return Err(Unsaid::Silenced);
                }
                Err(error @ FenceError::Unavailable(_)) => {
                    tracing::warn!(run = %self.voice.run, %error, "waiting for the broker");
                    self.pause().await?;
                }
            }
        }
    }

    async fn leave_out_what_is_stored(
        &self,
        line: &Line,
        events: &mut Vec<&Event>,
        behind: u64,
    ) -> Result<(), Unsaid> {
        loop {
            match self.stored(line, events, behind).await {
                Ok(stored) => {
                    events.retain(|event| !stored.contains(&self.id_of(event)));
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(run = %self.voice.run, error = %error.what, "waiting for the broker");
                    self.pause().await?;
                }
            }
        }
    }

    /// Which of the messages the stream has behind a sequence.
    async fn stored(
        &self,
        line: &Line,
        events: &[&Event],
        behind: u64,
    ) -> Result<BTreeSet<String>, CliError> {
        let ids: BTreeSet<String> = events.iter().map(|event| self.id_of(event)).collect();
        let mut subjects: Vec<&str> = events.iter().map(|event| event.record().subject()).collect();
        subjects.sort_unstable();
        subjects.dedup();
        let mut history = History::to_the_present(&line.broker, STREAM, &subjects, behind + 1).await?;
        let mut stored = BTreeSet::new();
        while let Some(kept) = history.next().await? {
            let Some(id) = kept.headers.get(header::MESSAGE_ID) else { continue };
            if ids.contains(id) {
                stored.insert(id.to_owned());
                self.last_sequence.fetch_max(kept.sequence, Ordering::Relaxed);
            }
        }
        Ok(stored)
    }

    async fn pause(&self) -> Result<(), Unsaid> {
        tokio::select! {
            () = self.silenced.cancelled() => Err(Unsaid::Silenced),
            () = self.last_word.cancelled() => Err(Unsaid::Unheard),
            () = tokio::time::sleep(OUTAGE_PAUSE) => Ok(()),
        }
    }

    /// The highest sequence of an event that was confirmed.
    pub fn last_sequence(&self) -> u64 {
        self.last_sequence.load(Ordering::Relaxed)
    }

    /// The id the broker knows an event by.
    fn id_of(&self, event: &Event) -> String {
        let Voice { run, attempt, epoch, .. } = &self.voice;
        cloudevents::attribute(&event.message_id(run, *attempt, *epoch))
    }

    fn check_order(&self, events: &[Event]) -> Result<(), OrderError> {
        let mut lifecycle = self.lifecycle();
        events.iter().try_for_each(|event| lifecycle.apply(event))
    }

    fn lifecycle(&self) -> std::sync::MutexGuard<'_, Lifecycle> {
        self.lifecycle.lock().expect("nobody panics while holding the lifecycle")
    }
}
