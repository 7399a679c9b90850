//! The task that looks at the key of the lease, renews it, gives it up for a command that asks for it.

use std::time::{Duration, Instant};

use async_nats::jetstream::kv;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::fence::Term;
use crate::lease::{Candidate, Holder, Move, Sight, Wish};
use crate::ledger::Ledger;

/// The key of the lease.
const KEY: &str = "sinks.leader";
/// The key of a command that asks for the lease.
const WISH_KEY: &str = "sinks.wanted";
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Deadline of one look or write: below the time the lease is valid for, so that it is renewed in the next try.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is tried to give the lease up, where the broker answers in time; it runs out by itself soon after.
const TRIES: u32 = 3;

/// What the key holds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Held {
    sink: Option<String>,
    /// Its process.
    #[serde(default)]
    nonce: String,
    /// Who had it last, when nobody has it.
    #[serde(default)]
    last: Option<String>,
}

/// Whoever sees to the lease, as a task of its own.
pub(super) struct Office {
    bucket: kv::Store,
    candidate: Candidate,
    ledger: Ledger,
    term: watch::Sender<Option<Term>>,
    /// How often the lease was taken so far.
    terms: u64,
    /// True for a command, which asks the others to give way.
    is_demanding: bool,
    /// What another command asks of us.
    wish: Wish,
}

impl Office {
    pub(super) fn new(
        bucket: kv::Store,
        candidate: Candidate,
        ledger: Ledger,
        term: watch::Sender<Option<Term>>,
        is_demanding: bool,
    ) -> Self {
        Self { bucket, candidate, ledger, term, terms: 0, is_demanding, wish: Wish::default() }
    }

    pub(super) async fn keep(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                _ = tick.tick() => {}
            }
            let is_wanted = self.see_to_wishes().await.unwrap_or(false);
            let looked = if is_wanted { self.give_way().await } else { self.look().await };
            if let Err(reason) = looked {
                tracing::debug!(reason, "the lease of the sinks cannot be seen to");
            }
            let until = self.candidate.holds_until().filter(|_| !is_wanted);
            let was_held = self.term.borrow().is_some();
            if was_held != until.is_some() {
                let sink = self.candidate.name();
                if until.is_some() {
                    self.terms += 1;
                    tracing::info!(sink, "this sink takes the events now");
                } else {
                    tracing::warn!(sink, "another sink takes the events; this one stands by");
                }
            }
            let term = until.map(|until| Term { number: self.terms, until });
            self.term.send_if_modified(|known| std::mem::replace(known, term) != term);
        }
        self.give_up().await;
        if self.is_demanding {
            let _ = timeout(PATIENCE, self.bucket.delete(WISH_KEY)).await;
        }
    }

    /// Gives the lease up for good. A broker that does not answer in time may have heard us, or not, and the answer to our
    /// last write may have been lost: the key says what is left to do.
    async fn give_up(&mut self) {
        let mut held = self.candidate.revision();
        for _ in 0..TRIES {
            if let Some(revision) = held {
                match timeout(PATIENCE, self.bucket.update(KEY, value(&self.nobody()), revision)).await {
                    Ok(Ok(revision)) => return self.note(revision),
                    Ok(Err(error)) => tracing::debug!(%error, "the lease was not given up yet"),
                    Err(_) => tracing::debug!("the lease was not given up yet: no answer"),
                }
            }
            let Ok(Ok(entry)) = timeout(PATIENCE, self.bucket.entry(KEY)).await else { continue };
            held = self.candidate.ours(&sight(entry.as_ref()).0);
            if held.is_none() {
                return;
            }
        }
    }

    fn nobody(&self) -> Held {
        Held { last: Some(self.candidate.name().to_owned()), ..Held::default() }
    }

    /// A command repeats its wish; a sink sees whether there is one.
    async fn see_to_wishes(&mut self) -> Result<bool, String> {
        if self.is_demanding {
            let wish = Held { sink: Some(self.candidate.name().to_owned()), ..Held::default() };
            timeout(PATIENCE, self.bucket.put(WISH_KEY, value(&wish))).await.map_err(text)?.map_err(text)?;
            return Ok(false);
        }
        let entry = timeout(PATIENCE, self.bucket.entry(WISH_KEY)).await.map_err(text)?.map_err(text)?;
        let wished = entry.as_ref().filter(|entry| held(entry).sink.is_some()).map(|entry| entry.revision);
        let is_alive = self.wish.is_alive(wished, Instant::now());
        if wished.is_some() && !is_alive {
            // Of a command that was killed: nobody is to wait for it again.
            let _ = timeout(PATIENCE, self.bucket.delete_expect_revision(WISH_KEY, wished)).await;
        }
        Ok(is_alive)
    }

    /// Says first that nothing may be written any more, and gives the lease up with the next look: whoever writes has
    /// stopped by then.
    async fn give_way(&mut self) -> Result<(), String> {
        let is_said = self.term.borrow().is_none();
        let Some(revision) = self.candidate.revision().filter(|_| is_said) else { return Ok(()) };
        self.candidate.refused();
        let given_up = self.bucket.update(KEY, value(&self.nobody()), revision);
        let revision = timeout(PATIENCE, given_up).await.map_err(text)?.map_err(text)?;
        self.note(revision);
        Ok(())
    }

    /// The ledger knows of everything that was written up to this revision of the lease.
    fn note(&self, revision: u64) {
        if let Err(error) = self.ledger.is_valid_up_to(revision) {
            tracing::warn!(%error, "the ledger cannot be used; it is begun anew with the next lease");
        }
    }

    async fn look(&mut self) -> Result<(), String> {
        let entry = timeout(PATIENCE, self.bucket.entry(KEY)).await.map_err(text)?.map_err(text)?;
        let (sight, last) = sight(entry.as_ref());
        let now = Instant::now();
        let Move::Write(revision) = self.candidate.look(&sight, now) else { return Ok(()) };
        self.catch_up_ledger(&sight, last.as_deref())?;
        let Holder { name, nonce } = self.candidate.me().clone();
        let ours = Held { sink: Some(name), nonce, last: None };
        let written = self.bucket.update(KEY, value(&ours), revision);
        match timeout(PATIENCE, written).await.map_err(text)? {
            Ok(revision) => {
                self.note(revision);
                self.candidate.wrote(revision, now);
            }
            Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => self.candidate.refused(),
            Err(error) => return Err(text(error)),
        }
        Ok(())
    }

    /// Before the lease is written over a revision: when that is not the last one this ledger knows of, another sink has
    /// written since, or may have, and what it wrote is in MLflow and not in the ledger. One of this very process was only
    /// written over one the ledger knew of.
    fn catch_up_ledger(&self, sight: &Sight, last: Option<&str>) -> Result<(), String> {
        let is_of_this_process = sight.holder.as_ref() == Some(self.candidate.me());
        let is_of_this_sink = last == Some(self.candidate.name());
        let valid_up_to = self.ledger.valid_up_to().map_err(text)?;
        if is_of_this_process || (is_of_this_sink && valid_up_to == Some(sight.revision)) {
            return Ok(());
        }
        self.ledger.forget_all().map_err(text)
    }
}

/// What the key says: who holds the lease, and who had it last.
fn sight(entry: Option<&kv::Entry>) -> (Sight, Option<String>) {
    let Held { sink, nonce, last } = entry.map(held).unwrap_or_default();
    let last = sink.clone().or(last);
    let holder = sink.map(|name| Holder { name, nonce });
    (Sight { revision: entry.map_or(0, |entry| entry.revision), holder }, last)
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
