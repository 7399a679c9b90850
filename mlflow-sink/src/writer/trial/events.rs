//! Events of a trial as one write: its values, its report, its end.

use std::collections::BTreeSet;

use schemas::Event;
use schemas::event::{MetricReported, TrialReported};

use super::super::{MAX_TRIES, Trouble, Writer, again};
use crate::ledger::record::{Child, Parent, ReportMark};
use crate::projection::writes::nonfinite_tag;
use crate::projection::{Closing, Seen, Writes, trial};

impl Writer {
    /// Writes events of a trial together. After a failure nothing is known about its metrics any more.
    pub(super) async fn write_events(
        &self,
        known: &Parent,
        child: &mut Child,
        events: &[&Seen],
    ) -> Result<(), Trouble> {
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

pub(super) fn kin(known: &Parent) -> Writes {
    trial::kin(known.objective.as_deref(), known.direction, known.experiment.as_deref())
}

/// The tags a trial has besides those of an earlier end: what is written now, and what its values said since.
pub(super) fn tags_of(child: &Child, writes: &Writes) -> BTreeSet<String> {
    let strange = child.strange.keys().map(|key| nonfinite_tag(key));
    writes.tags.keys().cloned().chain(strange).collect()
}
