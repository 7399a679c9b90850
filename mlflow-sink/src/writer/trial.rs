//! The nested run of a trial: found or created, its values, its end.

use std::collections::{BTreeMap, BTreeSet};

use schemas::event::{MetricReported, TrialReported};
use schemas::{Event, RunId, TrialId};
use service_kit::births::trial_key;

use super::birth::Run;
use super::{Fate, MAX_TRIES, Trouble, Writer, again, settled};
use crate::client::FoundRun;
use crate::client::pages::Page;
use crate::ledger::record::{Child, Parent, ReportMark};
use crate::projection::trial::Before;
use crate::projection::writes::nonfinite_tag;
use crate::projection::{Birth, Closing, Seen, Writes, parent, trial};

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

    /// A trial that had ended and is trained again by a later attempt goes on. Its values are written anew, beside the old
    /// ones, which MLflow keeps. What comes with its report is written before anything is taken back: MLflow may refuse it.
    /// After each of these calls the server's tags tell how far it came: how it had ended is noted before it is taken
    /// back, and the attempt comes last.
    async fn begin_again(&self, child: &mut Child, attempt: u32, events: &[&Seen]) -> Result<(), Trouble> {
        if !child.begins_again_in(attempt) {
            return Ok(());
        }
        child.has_old_tags = events.iter().any(|seen| matches!(seen.event, Event::TrialReported(_)));
        if !child.has_old_tags {
            self.client.reopen(&child.mlflow_id).await?;
            if let Some(before) = Before::of(&self.client.standing(&child.mlflow_id).await?.tags) {
                self.client.write(&child.mlflow_id, before.tell()).await?;
            }
            let kept = BTreeSet::from([trial::BEFORE_TAG.to_owned()]);
            self.client.remove_tags(&child.mlflow_id, &trial::ENDING_TAGS, &kept).await?;
            self.client.write(&child.mlflow_id, trial::again(attempt)).await?;
            child.has_old_tags = true;
        }
        child.begin_again(attempt);
        Ok(())
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

    /// A trial whose report MLflow refuses is over nevertheless, and says why its values are missing.
    async fn end_all_the_same(
        &self,
        child: &mut Child,
        report: &TrialReported,
        seen: &Seen,
        words: &str,
    ) -> Result<(), Trouble> {
        if child.is_past_report(report.attempt) {
            return Ok(());
        }
        let trial::Report { writes, closing, .. } = trial::reported(report, seen);
        let writes = writes.traced(seen.sequence);
        let mut kept = tags_of(child, &writes);
        kept.insert(parent::REFUSED_TAG.to_owned());
        self.write_without_values(&child.mlflow_id, &mut child.originals, writes, words).await?;
        let closed = async {
            if child.has_old_tags {
                self.client.remove_tags(&child.mlflow_id, &trial::ENDING_TAGS, &kept).await?;
            }
            self.client.close(&child.mlflow_id, &closing).await
        };
        match closed.await.map_err(Trouble::from) {
            Err(Trouble::Refused(words)) => {
                tracing::warn!(trial = %report.trial_id, words, "MLflow refused the end of a trial too");
                return Ok(());
            }
            closed => closed?,
        }
        // Should MLflow take it once it is told again, it says so no longer.
        child.has_old_tags = true;
        child.report = Some(ReportMark { fingerprint: String::new(), attempt: report.attempt });
        child.ended_at = Some(closing.end_time);
        Ok(())
    }

    /// The nested run of a trial the ledger does not know: found by its tags, else created.
    async fn child(
        &self,
        run: &RunId,
        known: &Parent,
        trial: &TrialId,
        events: &[&Seen],
    ) -> Result<Child, Trouble> {
        let key = trial_key(&self.server().await?, run, trial);
        let mut birth = trial::birth(run, trial, &known.mlflow_id, events);
        let identity = birth.tags.clone();
        birth.tags.extend(trial::tags_at_birth(events, kin(known)).unwrap_or_default());
        let born = match self.born_child(run, &key, known, trial, &birth).await {
            // Not for what the report says: that is refused where the rest of the trial is not lost with it.
            Err(Trouble::Refused(words)) if birth.tags.len() > identity.len() => {
                tracing::info!(%trial, words, "MLflow refused a trial with its tags; it is created without them");
                birth.tags = identity;
                self.born_child(run, &key, known, trial, &birth).await?
            }
            born => born?,
        };
        Ok(match &born.found {
            Some(found) => Child::found(found),
            None => Child { born_with: birth.all_tags(), ..Child::created(born.id) },
        })
    }

    async fn born_child(
        &self,
        run: &RunId,
        key: &str,
        known: &Parent,
        trial: &TrialId,
        birth: &Birth,
    ) -> Result<Run, Trouble> {
        // Below a run from birth there is none that the broker does not know.
        let older = (!known.is_from_birth).then_some(|| self.older_child(run, known, trial));
        self.born(run, key, &known.experiment_id, birth, older).await
    }

    /// The nested run of a trial, by its tags.
    async fn older_child(
        &self,
        run: &RunId,
        known: &Parent,
        trial: &TrialId,
    ) -> Result<Option<FoundRun>, Trouble> {
        let tags = [
            (trial::PARENT_TAG, known.mlflow_id.as_str()),
            (parent::RUN_TAG, run.as_str()),
            (trial::TRIAL_TAG, trial.as_str()),
        ];
        let (found, _) =
            self.client.search(std::slice::from_ref(&known.experiment_id), &tags, Page::first()).await?;
        Ok(found.into_iter().next())
    }

    /// Writes events of a trial together. After a failure nothing is known about its metrics any more.
    async fn write_events(&self, known: &Parent, child: &mut Child, events: &[&Seen]) -> Result<(), Trouble> {
        let mut tries_left = MAX_TRIES;
        loop {
            tries_left -= 1;
            match again(self.try_events(known, child, events).await, tries_left) {
                Some(Ok(written)) => {
                    *child = written;
                    return Ok(());
                }
                Some(Err(trouble)) => {
                    child.steps.forget();
                    return Err(trouble);
                }
                None => child.steps.forget(),
            }
        }
    }

    /// Intermediate values go first, whatever order the broker handed them over in: the final ones stand behind them.
    async fn try_events(&self, known: &Parent, child: &Child, events: &[&Seen]) -> Result<Child, Trouble> {
        let mut next = child.clone();
        let mut writes = Writes::default();
        for seen in events {
            if let Event::MetricReported(metric) = &seen.event {
                self.add_value(&mut next, &mut writes, metric, seen.sequence).await?;
            }
        }
        let mut closing: Option<Closing> = None;
        for seen in events {
            if let Event::TrialReported(report) = &seen.event {
                closing = self.add_report(&mut next, &mut writes, report, seen).await?.or(closing);
                if closing.is_some() {
                    writes.extend(kin(known));
                }
            }
        }
        let keys: BTreeSet<String> = writes.points.iter().map(|point| point.key.clone()).collect();
        writes.points.extend(keys.iter().filter_map(|key| next.steps.overtaken(key)));
        let tags = tags_of(&next, &writes);
        let born_with = std::mem::take(&mut next.born_with);
        writes.tags.retain(|name, value| born_with.get(name) != Some(value));
        self.put(&next.mlflow_id, &mut next.originals, writes).await?;
        if let Some(closing) = closing {
            if std::mem::take(&mut next.has_old_tags) {
                self.client.remove_tags(&next.mlflow_id, &trial::ENDING_TAGS, &tags).await?;
            }
            self.client.close(&next.mlflow_id, &closing.after_birth_with(&born_with)).await?;
        }
        Ok(next)
    }

    /// Adds an intermediate value, unless MLflow has one of this metric at this step.
    async fn add_value(
        &self,
        child: &mut Child,
        writes: &mut Writes,
        metric: &MetricReported,
        sequence: u64,
    ) -> Result<(), Trouble> {
        if child.is_past_value(metric.attempt) {
            return Ok(());
        }
        match trial::metric(metric) {
            trial::Value::Point(tags, point) => {
                self.know(&child.mlflow_id, &mut child.steps, &point.key, child.ended_at).await?;
                if child.steps.insert(&point) {
                    writes.points.push(point);
                    writes.extend(tags.traced(sequence));
                }
            }
            // What an older attempt than that of the report met is history.
            trial::Value::Strange(_) if child.is_past_report(metric.attempt) => {}
            trial::Value::Strange(strange) => strange.note(&mut child.strange, writes),
        }
        Ok(())
    }

    /// Adds the report of a trial, unless it was written, or speaks for an older attempt than the one that was.
    async fn add_report(
        &self,
        child: &mut Child,
        writes: &mut Writes,
        report: &TrialReported,
        seen: &Seen,
    ) -> Result<Option<Closing>, Trouble> {
        let mark = ReportMark::of(&seen.event);
        if child.is_past_report(mark.attempt) {
            tracing::info!(trial = %report.trial_id, attempt = report.attempt, "report of an older attempt is ignored");
            return Ok(None);
        }
        if child.has(&mark) {
            return Ok(None);
        }
        let projected = trial::reported(report, seen);
        writes.extend(projected.writes.traced(seen.sequence));
        for strange in projected.strange {
            strange.note(&mut child.strange, writes);
        }
        let at = projected.closing.end_time;
        let points = self.finals(&child.mlflow_id, &mut child.steps, projected.finals, at).await?;
        writes.points.extend(points);
        child.report = Some(mark);
        child.ended_at = Some(at);
        Ok(Some(projected.closing))
    }
}

fn kin(known: &Parent) -> Writes {
    trial::kin(known.objective.as_deref(), known.direction, known.experiment.as_deref())
}

/// The tags a trial has besides those of an earlier end: what is written now, and what its values said since.
fn tags_of(child: &Child, writes: &Writes) -> BTreeSet<String> {
    let strange = child.strange.keys().map(|key| nonfinite_tag(key));
    writes.tags.keys().cloned().chain(strange).collect()
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
