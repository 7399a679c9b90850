//! The lease, kept in the broker: whether this sink is the one that takes events. What is to be done is decided in
//! [`crate::lease`].

use std::time::{Duration, Instant};

use async_nats::jetstream::kv;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::topology::MLFLOW_BUCKET;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::lease::{Candidate, Move, Sight};
use crate::ledger::Ledger;

/// The key of the lease.
const KEY: &str = "sinks.leader";
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Deadline of one look or write: below the time the lease is valid for, so that it is renewed in the next try.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the key holds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Held {
    sink: Option<String>,
    /// Who had it last, when nobody has it.
    #[serde(default)]
    last: Option<String>,
}

/// This sink's part in who takes events.
pub(crate) struct Leader {
    until: watch::Receiver<Option<Instant>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Leader {
    /// Begins to stand for the lease under a name no other living sink has.
    ///
    /// What the ledger remembers is forgotten whenever another sink has written since.
    pub(crate) async fn stand(broker: &Broker, name: String, ledger: Ledger) -> Result<Self, CliError> {
        let bucket = broker.jetstream.get_key_value(MLFLOW_BUCKET).await.map_err(|error| {
            CliError::new(
                "bucket-missing",
                Exit::Unreachable,
                format!("the bucket {MLFLOW_BUCKET} is not there"),
            )
            .because(error)
            .help("start the sink again: it creates what is missing")
        })?;
        let (until, watched) = watch::channel(None);
        let (stop, stopped) = oneshot::channel();
        let office = Office { bucket, candidate: Candidate::new(name), ledger, last: None, until };
        Ok(Self { until: watched, stop, task: tokio::spawn(office.keep(stopped)) })
    }

    /// True while this sink may take events and write.
    pub(crate) fn holds(&self) -> bool {
        self.until.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Tells of every change and renewal.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<Instant>> {
        self.until.clone()
    }

    /// Gives the lease up, so that another sink goes on at once.
    pub(crate) async fn release(self) {
        let _ = self.stop.send(());
        if timeout(PATIENCE * 3, self.task).await.is_err() {
            tracing::debug!("the lease was not given up; it runs out instead");
        }
    }
}

struct Office {
    bucket: kv::Store,
    candidate: Candidate,
    ledger: Ledger,
    /// Who wrote last, as of the last look.
    last: Option<String>,
    until: watch::Sender<Option<Instant>>,
}

impl Office {
    async fn keep(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                _ = tick.tick() => {}
            }
            if let Err(reason) = self.look().await {
                tracing::debug!(reason, "the lease of the sinks cannot be seen to");
            }
            let (before, until) = (*self.until.borrow(), self.candidate.holds_until());
            if before.is_none() != until.is_none() {
                let sink = self.candidate.name();
                if until.is_some() {
                    self.catch_up_ledger();
                    tracing::info!(sink, "this sink takes the events now");
                } else {
                    tracing::warn!(sink, "another sink takes the events; this one stands by");
                }
            }
            self.until.send_if_modified(|known| std::mem::replace(known, until) != until);
        }
        if let Some(revision) = self.candidate.revision() {
            let nobody = Held { sink: None, last: Some(self.candidate.name().to_owned()) };
            let _ = timeout(PATIENCE, self.bucket.update(KEY, value(&nobody), revision)).await;
        }
    }

    /// Before the first event is taken: what another sink has written is in MLflow, and not in this one's ledger.
    fn catch_up_ledger(&self) {
        if self.last.as_deref() == Some(self.candidate.name()) {
            return;
        }
        if let Err(error) = self.ledger.forget_all() {
            // It is written to before each batch, which fails the same way.
            tracing::error!(%error, "the ledger cannot be emptied");
        }
    }

    async fn look(&mut self) -> Result<(), String> {
        let entry = timeout(PATIENCE, self.bucket.entry(KEY)).await.map_err(text)?.map_err(text)?;
        let held = entry.as_ref().map(held).unwrap_or_default();
        let revision = entry.as_ref().map_or(0, |entry| entry.revision);
        self.last = held.sink.clone().or(held.last);
        let sight = Sight { revision, holder: held.sink };
        let now = Instant::now();
        let Move::Write(revision) = self.candidate.look(&sight, now) else { return Ok(()) };
        let ours = Held { sink: Some(self.candidate.name().to_owned()), last: None };
        let written = self.bucket.update(KEY, value(&ours), revision);
        match timeout(PATIENCE, written).await.map_err(text)? {
            Ok(revision) => self.candidate.wrote(revision, now),
            Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => self.candidate.refused(),
            Err(error) => return Err(text(error)),
        }
        Ok(())
    }
}

/// What an entry says; one that cannot be read, or was deleted by a person, holds nobody.
fn held(entry: &kv::Entry) -> Held {
    let is_put = entry.operation == kv::Operation::Put;
    is_put.then(|| serde_json::from_slice(&entry.value).ok()).flatten().unwrap_or_default()
}

fn value(held: &Held) -> Bytes {
    serde_json::to_vec(held).expect("names are plain data").into()
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
