//! A batch of events of one run: marked in the ledger, written part by part in its order, remembered.
//!
//! What the run itself says (its start, its end) is written where it stands among the events, so that the end of one
//! attempt comes before the start of the next. What the trials say between two of these is written together, several
//! trials at once, and then the curve of the best so far.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use schemas::{Event, RunId, TrialId};

use super::{Fate, MAX_TRIES, Trouble, Writer, again, settled};
use crate::client::MAX_CONNECTIONS;
use crate::ledger::record::{Child, Parent};
use crate::projection::Seen;

/// Trials that are written at once: some of them talk to the broker, and as many calls to MLflow as there may be are under
/// way all the same.
const TRIALS_AT_ONCE: usize = MAX_CONNECTIONS + MAX_CONNECTIONS / 2;

impl Writer {
    /// Writes a batch, whole or not at all.
    pub(super) async fn write_batch(&self, run: &RunId, events: &[Seen]) -> Result<Vec<Fate>, Trouble> {
        let Some(first) = events.first() else { return Ok(Vec::new()) };
        self.server().await?;
        let mut parent = self.parent(run, first, events).await?;
        self.open(run, &parent).await?;
        let mut fates = Vec::with_capacity(events.len());
        for part in in_order(events) {
            match part {
                Part::Trials(events) => fates.extend(self.write_part(run, &mut parent, events).await?),
                Part::Run(seen) => fates.push(self.write_word(run, &mut parent, seen).await?),
            }
        }
        self.sweep_at_the_end(run, events).await?;
        parent.is_open = false;
        self.link(run, &mut parent).await;
        self.ledger.put_parent(run, &parent)?;
        self.ledger.flush().await?;
        Ok(fates)
    }

    /// Writes what the run itself says. Whoever races with others is refused after the last try.
    async fn write_word(&self, run: &RunId, parent: &mut Parent, seen: &Seen) -> Result<Fate, Trouble> {
        let mut tries_left = MAX_TRIES;
        loop {
            tries_left -= 1;
            let written = match &seen.event {
                Event::MlRunStarted(started) => self.write_start(parent, started, seen).await,
                Event::RunCompleted(_)
                | Event::RunFailed(_)
                | Event::RunCancelled(_)
                | Event::MlRunFinalized(_)
                | Event::RunRequested(_)
                | Event::RunCancelRequested(_)
                | Event::RunStarted(_)
                | Event::RunInterrupted(_)
                | Event::TrialReported(_)
                | Event::MetricReported(_)
                | Event::RunException(_) => self.write_end(run, parent, seen).await,
            };
            match again(written, tries_left) {
                Some(written) => return settled(written),
                None => parent.steps.forget(),
            }
        }
    }

    /// Writes what trials say, and what it does to the curve.
    async fn write_part(
        &self,
        run: &RunId,
        parent: &mut Parent,
        events: &[Seen],
    ) -> Result<Vec<Fate>, Trouble> {
        let missed = settled(self.draw_missed(parent, events).await)?;
        let mut fates = vec![Fate::Written; events.len()];
        for (index, fate) in self.write_trials(run, parent, events).await? {
            fates[index] = fate;
        }
        let drawn = match missed {
            Fate::Written => self.draw(parent, events, &fates).await?,
            refused @ Fate::Refused(_) => refused,
        };
        if let Fate::Refused(words) = drawn {
            // The trials themselves are written: none of them is to blame.
            tracing::warn!(%run, words, "MLflow refused the curve of the best so far");
        }
        Ok(fates)
    }

    /// Draws the curve. Whoever races with others is refused after the last try.
    async fn draw(&self, parent: &mut Parent, events: &[Seen], fates: &[Fate]) -> Result<Fate, Trouble> {
        let mut tries_left = MAX_TRIES;
        loop {
            tries_left -= 1;
            let drawn = self.draw_curve(parent, events.iter().zip(fates)).await;
            match again(drawn, tries_left) {
                Some(drawn) => return settled(drawn),
                None => parent.steps.forget(),
            }
        }
    }

    /// Marks a run as about to be written, so that a crash in the middle is noticed.
    async fn open(&self, run: &RunId, parent: &Parent) -> Result<(), Trouble> {
        self.ledger.put_parent(run, &Parent { is_open: true, ..parent.clone() })?;
        self.ledger.flush().await?;
        Ok(())
    }

    /// The same for the trials the ledger knows; gives them as they were before, with all that is known of their metrics.
    async fn open_trials<'a>(
        &self,
        run: &RunId,
        trials: impl Iterator<Item = &'a TrialId>,
    ) -> Result<BTreeMap<&'a TrialId, Child>, Trouble> {
        let mut known = BTreeMap::new();
        for trial in trials {
            if let Some(child) = self.ledger.child(run, trial)? {
                self.ledger.put_child(run, trial, &Child { is_open: true, ..child.clone() })?;
                known.insert(trial, child);
            }
        }
        if !known.is_empty() {
            self.ledger.flush().await?;
        }
        Ok(known)
    }

    /// Writes the trials of a batch, several at once.
    async fn write_trials(
        &self,
        run: &RunId,
        parent: &Parent,
        events: &[Seen],
    ) -> Result<Vec<(usize, Fate)>, Trouble> {
        let by_trial = by_trial(events);
        let mut remembered = self.open_trials(run, by_trial.keys().copied()).await?;
        let mut trials = Vec::new();
        for (trial, events) in by_trial {
            trials.push(self.write_trial(run, parent, trial, remembered.remove(trial), events));
        }
        // After an outage nothing more is begun, but what is under way is awaited: a dropped request may still arrive.
        let (mut waiting, mut going, mut outcomes) =
            (trials.into_iter(), FuturesUnordered::new(), Vec::new());
        let mut is_stopped = false;
        loop {
            if !is_stopped {
                going.extend(waiting.by_ref().take(TRIALS_AT_ONCE - going.len()));
            }
            let Some(outcome) = going.next().await else { break };
            is_stopped |= matches!(outcome, Err(Trouble::Stopped(_)));
            outcomes.push(outcome);
        }
        let mut fates = Vec::with_capacity(events.len());
        for outcome in outcomes {
            fates.extend(outcome?);
        }
        Ok(fates)
    }
}

/// Events in the order they are written in.
#[derive(Debug)]
enum Part<'a> {
    /// What trials say, with nothing of the run between them.
    Trials(&'a [Seen]),
    /// What the run itself says.
    Run(&'a Seen),
}

fn in_order(events: &[Seen]) -> impl Iterator<Item = Part<'_>> {
    events.chunk_by(|one, next| [one, next].iter().all(|seen| trial_of(&seen.event).is_some())).map(|part| {
        match part {
            [seen] if trial_of(&seen.event).is_none() => Part::Run(seen),
            trials => Part::Trials(trials),
        }
    })
}

/// The events of each trial with their places in the batch, in order.
fn by_trial(events: &[Seen]) -> BTreeMap<&TrialId, Vec<(usize, &Seen)>> {
    let mut trials: BTreeMap<&TrialId, Vec<(usize, &Seen)>> = BTreeMap::new();
    for (index, seen) in events.iter().enumerate() {
        if let Some(trial) = trial_of(&seen.event) {
            trials.entry(trial).or_default().push((index, seen));
        }
    }
    trials
}

fn trial_of(event: &Event) -> Option<&TrialId> {
    match event {
        Event::TrialReported(event) => Some(&event.trial_id),
        Event::MetricReported(event) => Some(&event.trial_id),
        Event::RunRequested(_)
        | Event::RunCancelRequested(_)
        | Event::RunStarted(_)
        | Event::RunCompleted(_)
        | Event::RunFailed(_)
        | Event::RunCancelled(_)
        | Event::RunInterrupted(_)
        | Event::MlRunStarted(_)
        | Event::MlRunFinalized(_)
        | Event::RunException(_) => None,
    }
}
