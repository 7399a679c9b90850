//! The nested run of a trial: its events, attempt by attempt, and what became of each.

mod again;
mod birth;
mod events;
mod refused;

use std::collections::BTreeMap;

use schemas::{Event, RunId, TrialId};

use super::{Fate, Trouble, Writer, settled};
use crate::ledger::record::{Child, Parent};
use crate::projection::Seen;

impl Writer {
    /// Writes the events of one trial and says of each, by its place in the batch, what became of it. They go out together; when MLflow refuses
    /// that, one by one, so that only the refused one is given up.
    pub(super) async fn write_trial(
        &self,
        run: &RunId,
        known: &Parent,
        trial: &TrialId,
        remembered: Option<Child>,
        events: Vec<(usize, &Seen)>,
    ) -> Result<Vec<(usize, Fate)>, Trouble> {
        let all: Vec<&Seen> = events.iter().map(|(_, seen)| *seen).collect();
        let child = match remembered {
            Some(child) => Ok(child),
            None => self.child(run, known, trial, &all).await,
        };
        let mut child = match child {
            Ok(child) => child,
            Err(Trouble::Refused(words)) => {
                return Ok(all_refused(events.iter().map(|(place, _)| *place), &words));
            }
            Err(other) => return Err(other),
        };
        let mut fates = Vec::with_capacity(events.len());
        for (attempt, events) in by_attempt(events) {
            let (places, seen): (Vec<usize>, Vec<&Seen>) = events.into_iter().unzip();
            match self.begin_again(&mut child, attempt, &seen).await {
                Ok(()) => {
                    fates.extend(places.into_iter().zip(self.write_attempt(known, &mut child, &seen).await?))
                }
                Err(Trouble::Refused(words)) => fates.extend(all_refused(places.into_iter(), &words)),
                Err(other) => return Err(other),
            }
        }
        child.is_open = false;
        self.ledger.put_child(run, trial, &child)?;
        Ok(fates)
    }

    async fn write_attempt(
        &self,
        known: &Parent,
        child: &mut Child,
        events: &[&Seen],
    ) -> Result<Vec<Fate>, Trouble> {
        match self.write_events(known, child, events).await {
            Ok(()) => Ok(vec![Fate::Written; events.len()]),
            Err(Trouble::Refused(_)) => self.write_one_by_one(known, child, events).await,
            Err(other) => Err(other),
        }
    }

    async fn write_one_by_one(
        &self,
        known: &Parent,
        child: &mut Child,
        events: &[&Seen],
    ) -> Result<Vec<Fate>, Trouble> {
        let mut fates = Vec::with_capacity(events.len());
        for seen in events {
            let fate = settled(self.write_events(known, child, &[seen]).await)?;
            if let (Fate::Refused(words), Event::TrialReported(report)) = (&fate, &seen.event) {
                self.end_all_the_same(child, report, seen, words).await?;
            }
            fates.push(fate);
        }
        Ok(fates)
    }
}

fn all_refused(places: impl Iterator<Item = usize>, words: &str) -> Vec<(usize, Fate)> {
    places.map(|place| (place, Fate::Refused(words.to_owned()))).collect()
}

/// The events of a trial by the attempt they speak for, oldest first; 0 for those that name none.
fn by_attempt(events: Vec<(usize, &Seen)>) -> BTreeMap<u32, Vec<(usize, &Seen)>> {
    let mut attempts: BTreeMap<u32, Vec<(usize, &Seen)>> = BTreeMap::new();
    for (place, seen) in events {
        attempts.entry(seen.event.attempt().unwrap_or(0)).or_default().push((place, seen));
    }
    attempts
}
