//! The best so far, drawn on the parent run.

use schemas::Event;
use schemas::event::{Direction, TrialReported, TrialStatus};

use super::{Fate, Trouble, Writer};
use crate::client::FoundRun;
use crate::client::pages::Page;
use crate::ledger::record::Parent;
use crate::projection::curve::{Best, Curve, Finished, Outcome, drawn};
use crate::projection::left::LOST;
use crate::projection::names::legal;
use crate::projection::parent::{BEST_PREFIX, FAILED_METRIC, FINISHED_METRIC, PRUNED_METRIC};
use crate::projection::trial::Before;
use crate::projection::{Seen, Writes, trial};

impl Writer {
    /// Feeds the trials of a batch into the curve and writes the points that follow.
    pub(super) async fn draw_curve<'a>(
        &self,
        known: &mut Parent,
        events: impl Iterator<Item = (&'a Seen, &'a Fate)>,
    ) -> Result<(), Trouble> {
        let reports: Vec<(&TrialReported, &Seen, &Fate)> = events
            .filter_map(|(seen, fate)| {
                if let Event::TrialReported(report) = &seen.event { Some((report, seen, fate)) } else { None }
            })
            .collect();
        if reports.is_empty() {
            return Ok(());
        }
        let Some((objective, direction)) = known.aim() else {
            // They are in MLflow and are found there once the start of the run says what is searched.
            known.is_curve_whole = false;
            return Ok(());
        };
        let mut points = self.catch_up(known, &objective, direction).await?;
        for (report, seen, fate) in reports {
            let Some(number) = report.number else { continue };
            let finished = Finished::of(report, seen, &objective, *fate == Fate::Written);
            points.extend(known.curve.feed(number, finished, direction));
        }
        self.write_points(known, &objective, points).await
    }

    /// Draws what was not drawn, before the reports of a batch are written: afterwards MLflow does not tell any more how a
    /// trial had ended that was trained again.
    pub(super) async fn draw_missed(&self, known: &mut Parent, events: &[Seen]) -> Result<(), Trouble> {
        let has_reports = events.iter().any(|seen| matches!(seen.event, Event::TrialReported(_)));
        let Some((objective, direction)) = known.aim().filter(|_| has_reports) else { return Ok(()) };
        let points = self.catch_up(known, &objective, direction).await?;
        self.write_points(known, &objective, points).await
    }

    /// The run is over: draws what still waits for trials that never came.
    pub(super) async fn finish_curve(&self, known: &mut Parent) -> Result<(), Trouble> {
        let Some((objective, direction)) = known.aim() else { return Ok(()) };
        let mut points = self.catch_up(known, &objective, direction).await?;
        points.extend(known.curve.finish(direction));
        self.write_points(known, &objective, points).await
    }

    /// Draws the curve again from the trials MLflow has, when the ledger does not know them all.
    async fn catch_up(
        &self,
        known: &mut Parent,
        objective: &str,
        direction: Option<Direction>,
    ) -> Result<Vec<Best>, Trouble> {
        if known.is_curve_whole {
            return Ok(Vec::new());
        }
        let mut curve = Curve::default();
        let mut points = Vec::new();
        let mut page = Page::first();
        loop {
            let tags = [(trial::PARENT_TAG, known.mlflow_id.as_str())];
            let (runs, next) =
                self.client.search(std::slice::from_ref(&known.experiment_id), &tags, page).await?;
            for (number, finished) in runs.iter().filter_map(|run| finished_at_server(run, objective)) {
                points.extend(curve.feed(number, finished, direction));
            }
            match next {
                Some(next) => page = next,
                None => break,
            }
        }
        known.curve = curve;
        known.is_curve_whole = true;
        Ok(points)
    }

    async fn write_points(
        &self,
        known: &mut Parent,
        objective: &str,
        points: Vec<Best>,
    ) -> Result<(), Trouble> {
        if points.is_empty() {
            return Ok(());
        }
        let mut writes = Writes::default();
        let best = writes.name(&format!("{BEST_PREFIX}{objective}"));
        let mut steps = known.steps.clone();
        for key in [best.as_str(), FINISHED_METRIC, FAILED_METRIC, PRUNED_METRIC] {
            self.know(&known.mlflow_id, &mut steps, key, None).await?;
        }
        writes.points.extend(drawn(&best, &points, &mut steps));
        self.write_parent(known, writes).await?;
        known.steps = steps;
        Ok(())
    }
}

/// A finished trial as MLflow has it; `None` for one that still runs or has no number. One that is trained again counts
/// as it had ended.
fn finished_at_server(run: &FoundRun, objective: &str) -> Option<(u32, Finished)> {
    // Its tags come before its end: one that has the tags alone was being written, and is reported again.
    run.end_time?;
    let (status, attempt) = match Before::told(&run.tags) {
        Some(Before { status, attempt }) => (status, attempt),
        None => {
            let attempt = run.tags.get(trial::ATTEMPT_TAG).and_then(|attempt| attempt.parse().ok());
            (run.tags.get(trial::STATUS_TAG)?.clone(), attempt.unwrap_or(0))
        }
    };
    let number = run.tags.get(trial::NUMBER_TAG)?.parse().ok()?;
    let value = run.metrics.get(legal(objective).as_ref()).copied().filter(|value| value.is_finite());
    let objective = value.filter(|_| status == TrialStatus::Succeeded.as_str());
    let outcome = match status.as_str() {
        "succeeded" => Outcome::Finished,
        "failed" | LOST => Outcome::Failed,
        "pruned" => Outcome::Pruned,
        _ => Outcome::Other,
    };
    Some((number, Finished { objective, outcome, attempt, at: run.end_time.unwrap_or(0) }))
}
