//! What MLflow should have, folded from the events alone.
//!
//! The events of a run in, in the order of the stream, one by one; what its MLflow runs look like out. What an event
//! becomes and whether it still counts is decided where the writer decides it (the modules beside this one, and the
//! records of the [`crate::ledger`]); here it is only put together.
//!
//! Invariants:
//! - an event that comes twice, in order, changes nothing;
//! - of an event MLflow refused (a dead letter of stage sink) nothing is expected but the end it tells; the MLflow run it
//!   speaks of is torn, and only its status is compared;
//! - about 50 bytes a metric and 16 a tag or parameter are kept of a run that is over, and a few hundred more of one that
//!   is not: the steps its metrics have.
//!
//! Deliberately not here: what does not follow from the events (ids, times of creation, notes, files), and where values
//! that came after the final one of their trial stand: that depends on how they came.

mod image;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemas::event::{MetricReported, MlRunStarted, TrialReported};
use schemas::{Event, RunId, TrialId};

pub use image::{Facts, Image, Name, Names, Tally};

use super::curve::{Best, Finished, drawn};
use super::left::{Over, left};
use super::note::NOTE_TAG;
use super::parent::{self, BEST_PREFIX};
use super::steps::Steps;
use super::{Closing, Point, RunStatus, Seen, Writes, trial};
use crate::ledger::record::{Child, Parent, ReportMark};

/// What MLflow should have of every run that was seen.
#[derive(Debug, Default)]
pub struct Expected {
    /// The names they use.
    pub names: Names,
    /// By run.
    pub runs: BTreeMap<RunId, Run>,
}

/// A run.
#[derive(Debug)]
pub struct Run {
    /// The parent run.
    pub image: Image,
    /// The nested ones.
    pub trials: BTreeMap<TrialId, Trial>,
    /// Sequence of the first event.
    pub first: u64,
    /// Sequence of the last event.
    pub last: u64,
    /// The first event is the start of the run.
    pub begins: bool,
    known: Parent,
    over: Option<Over>,
    /// The curves depend on how the events came.
    is_curve_loose: bool,
}

/// A trial.
#[derive(Debug)]
pub struct Trial {
    /// The nested run.
    pub image: Image,
    /// Every event of it was refused: there may be none at all.
    pub is_refused: bool,
    known: Child,
    /// The steps of its metrics are not remembered any more.
    is_frozen: bool,
}

impl Expected {
    /// Takes the next event. `is_refused`: it is a dead letter, because MLflow did not take it.
    pub fn see(&mut self, seen: &Seen, is_refused: bool) {
        let Some(run) = seen.run() else { return };
        let names = &mut self.names;
        if !self.runs.contains_key(run) {
            self.runs.insert(run.clone(), Run::new(names, run, seen));
        }
        let Some(known) = self.runs.get_mut(run) else { return };
        known.last = seen.sequence;
        match &seen.event {
            Event::MlRunStarted(started) => known.start(names, started, seen, is_refused),
            Event::TrialReported(report) => {
                known.report(names, run, report, seen, is_refused);
                known.draw(names, report, seen, is_refused);
            }
            Event::MetricReported(metric) => known.value(names, run, metric, seen, is_refused),
            Event::RunCompleted(_)
            | Event::RunFailed(_)
            | Event::RunCancelled(_)
            | Event::MlRunFinalized(_)
            | Event::RunRequested(_)
            | Event::RunCancelRequested(_)
            | Event::RunStarted(_)
            | Event::RunInterrupted(_)
            | Event::RunException(_) => known.end(names, seen, is_refused),
        }
    }

    /// The registry says that a run is over that never said so itself.
    pub fn end_by_registry(&mut self, run: &RunId, writes: &Writes, over: Over) {
        let Some(known) = self.runs.get_mut(run) else { return };
        if known.image.status != RunStatus::Running {
            return;
        }
        known.image.write(&mut self.names, writes);
        known.image.close(&Closing { status: over.status, end_time: over.end_time, name: None });
        known.over = Some(over);
    }

    /// Nothing more comes: what a run that is over has left behind is closed with it.
    pub fn finish(&mut self) {
        for run in self.runs.values_mut() {
            if run.image.status != RunStatus::Running {
                run.close_leftovers(&mut self.names);
            }
        }
    }
}

impl Run {
    fn new(names: &mut Names, run: &RunId, seen: &Seen) -> Self {
        let mut birth = parent::birth(run, seen, None);
        // People write their own notes.
        birth.tags.remove(NOTE_TAG);
        let mut image = Image::new();
        image.write(names, &Writes { tags: birth.tags, ..Writes::default() });
        Self {
            image,
            trials: BTreeMap::new(),
            first: seen.sequence,
            last: seen.sequence,
            begins: matches!(seen.event, Event::MlRunStarted(_)),
            known: Parent::created(String::new(), String::new()),
            over: None,
            is_curve_loose: false,
        }
    }

    /// The latest attempt that announced its end.
    pub fn ended_attempt(&self) -> Option<u32> {
        self.known.ended_attempt
    }

    fn start(&mut self, names: &mut Names, started: &MlRunStarted, seen: &Seen, is_refused: bool) {
        if !self.known.takes_start(started) {
            return;
        }
        let told = parent::started(started, seen.schema.as_deref()).traced(seen.sequence);
        self.image.is_torn |= is_refused;
        self.image
            .write(names, &if is_refused { Writes { tags: told.tags, ..Writes::default() } } else { told });
        if self.known.is_reopened_by(started) {
            self.image.remove_tags(names, &parent::ENDING_TAGS);
            self.image.write(names, &parent::reopened());
            self.image.reopen();
            self.known.take_end_back();
            self.over = None;
        }
        self.known.open(started);
        if !is_refused {
            self.known.mark(&seen.event);
        }
    }

    fn end(&mut self, names: &mut Names, seen: &Seen, is_refused: bool) {
        let Some(mut ending) = parent::ending(seen) else { return };
        if self.known.is_past_end(&ending) || self.known.has(&seen.event) {
            return;
        }
        if is_refused {
            self.image.is_torn = true;
            return;
        }
        if let Some((objective, direction)) = self.known.aim() {
            let points = self.known.curve.finish(direction);
            self.write_points(names, &objective, &points);
        }
        let (finals, strange) = trial::finals(&mut ending.writes, &ending.metrics);
        for strange in strange {
            strange.note(&mut BTreeMap::new(), &mut ending.writes);
        }
        ending.writes.points = last_values(&mut self.known.steps, finals, ending.closing.end_time);
        let reason = ending.writes.tags.get(parent::REASON_TAG).cloned();
        let writes = std::mem::take(&mut ending.writes).traced(seen.sequence);
        self.image.write(names, &writes);
        if self.known.is_decided_by(&ending) {
            self.image.close(&ending.closing);
            let Closing { status, end_time, .. } = ending.closing;
            self.over = Some(Over { attempt: ending.attempt, status, end_time, reason });
        }
        if self.known.end(ending.attempt, ending.closing.end_time) {
            self.close_leftovers(names);
            self.trials.values_mut().for_each(Trial::freeze);
        }
        self.known.mark(&seen.event);
    }

    fn close_leftovers(&mut self, names: &mut Names) {
        let Some(over) = &self.over else { return };
        let (writes, closing) = left(over);
        for trial in self.trials.values_mut().filter(|trial| trial.image.status == RunStatus::Running) {
            trial.image.write(names, &writes);
            trial.image.close(&closing);
            trial.known.leave(over.attempt, closing.end_time);
        }
    }

    fn trial(&mut self, names: &mut Names, run: &RunId, id: &TrialId, seen: &Seen) -> &mut Trial {
        self.trials.entry(id.clone()).or_insert_with(|| {
            let mut birth = trial::birth(run, id, "", &[seen]);
            // The id of the parent follows from no event.
            birth.tags.remove(trial::PARENT_TAG);
            let mut image = Image::new();
            image.write(names, &Writes { tags: birth.tags, ..Writes::default() });
            let known = Child::created(String::new());
            Trial { image, is_refused: true, known, is_frozen: false }
        })
    }

    fn value(
        &mut self,
        names: &mut Names,
        run: &RunId,
        metric: &MetricReported,
        seen: &Seen,
        is_refused: bool,
    ) {
        let trial = self.trial(names, run, &metric.trial_id, seen);
        if is_refused {
            trial.image.is_torn = true;
            return;
        }
        trial.is_refused = false;
        trial.begin_again(names, metric.attempt.unwrap_or(0));
        if !trial.known.is_past_value(metric.attempt) {
            trial.value(names, metric);
        }
    }

    fn report(
        &mut self,
        names: &mut Names,
        run: &RunId,
        report: &TrialReported,
        seen: &Seen,
        is_refused: bool,
    ) {
        let known = &self.known;
        let kin = trial::kin(known.objective.as_deref(), known.direction, known.experiment.as_deref());
        let trial = self.trial(names, run, &report.trial_id, seen);
        trial.image.is_torn |= is_refused;
        trial.is_refused &= is_refused;
        trial.begin_again(names, report.attempt.unwrap_or(0));
        let mark = ReportMark::of(&seen.event);
        if !trial.known.is_past_report(mark.attempt) && !trial.known.has(&mark) {
            trial.report(names, report, seen, &kin, is_refused);
        }
    }

    /// Draws the curves as far as they go with this report.
    fn draw(&mut self, names: &mut Names, report: &TrialReported, seen: &Seen, is_refused: bool) {
        let Some((objective, direction)) = self.known.aim() else {
            self.known.is_curve_whole = false;
            self.is_curve_loose = true;
            return;
        };
        let Some(number) = report.number else { return };
        let finished = Finished::of(report, seen, &objective, !is_refused);
        let points = self.known.curve.feed(number, finished, direction);
        self.write_points(names, &objective, &points);
    }

    fn write_points(&mut self, names: &mut Names, objective: &str, points: &[Best]) {
        // What is drawn anew, for another aim or from what the server has, has points of its own.
        self.is_curve_loose |= !self.known.is_curve_whole;
        let mut writes = Writes::default();
        let best = writes.name(&format!("{BEST_PREFIX}{objective}"));
        writes.points = drawn(&best, points, &mut self.known.steps);
        if points.is_empty() {
            return;
        }
        let keys: Vec<String> = writes.points.iter().map(|point| point.key.clone()).collect();
        self.image.write(names, &writes);
        if self.is_curve_loose {
            for key in keys {
                self.image.tally(names, &key).is_loose = true;
            }
        }
    }

    /// True when the curves can be compared.
    pub fn has_firm_curve(&self) -> bool {
        !self.is_curve_loose
    }
}

impl Trial {
    fn begin_again(&mut self, names: &Names, attempt: u32) {
        if !self.known.begins_again_in(attempt) {
            return;
        }
        self.thaw(names);
        self.take_end_back(names);
        self.image.reopen();
        self.known.begin_again(attempt);
        self.is_frozen = false;
    }

    fn take_end_back(&mut self, names: &Names) {
        self.image.remove_tags(names, &trial::ENDING_TAGS);
        self.known.has_old_tags = false;
    }

    fn value(&mut self, names: &mut Names, metric: &MetricReported) {
        match trial::metric(metric) {
            trial::Value::Point(writes, point) => self.point(names, &writes, &point),
            // What an older attempt than that of the report met is history.
            trial::Value::Strange(_) if self.known.is_past_report(metric.attempt) => {}
            trial::Value::Strange(strange) => {
                let mut writes = Writes::default();
                strange.note(&mut self.known.strange, &mut writes);
                self.image.write(names, &writes);
            }
        }
    }

    fn point(&mut self, names: &mut Names, writes: &Writes, point: &Point) {
        if self.is_frozen {
            // Perhaps it is there, perhaps it comes late.
            self.image.tally(names, &point.key).is_loose = true;
            return;
        }
        let is_late = self.known.steps.has_final(&point.key);
        if self.known.steps.insert(point) {
            self.image.write(names, writes);
            self.image.point(names, point);
            let overtaken = self.known.steps.overtaken(&point.key);
            overtaken.into_iter().for_each(|point| self.image.point(names, &point));
            self.image.tally(names, &point.key).is_loose |= is_late;
        }
    }

    fn report(
        &mut self,
        names: &mut Names,
        report: &TrialReported,
        seen: &Seen,
        kin: &Writes,
        is_refused: bool,
    ) {
        self.thaw(names);
        let projected = trial::reported(report, seen);
        let mut writes = projected.writes.traced(seen.sequence);
        if self.known.has_old_tags {
            self.take_end_back(names);
        }
        if is_refused {
            // It is over nevertheless.
            self.image.write(names, &Writes { tags: writes.tags, ..Writes::default() });
            self.image.close(&projected.closing);
            self.known.report = Some(ReportMark { fingerprint: String::new(), attempt: report.attempt });
            self.known.ended_at = Some(projected.closing.end_time);
            return;
        }
        for strange in projected.strange {
            strange.note(&mut self.known.strange, &mut writes);
        }
        let at = projected.closing.end_time;
        writes.points.extend(last_values(&mut self.known.steps, projected.finals, at));
        writes.extend(kin.clone());
        self.image.write(names, &writes);
        self.image.close(&projected.closing);
        self.known.report = Some(ReportMark::of(&seen.event));
        self.known.ended_at = Some(at);
    }

    /// Forgets which steps its metrics have: its run is over.
    fn freeze(&mut self) {
        self.is_frozen = true;
        self.known.steps = Steps::of_a_new_run();
        self.image.metrics.shrink_to_fit();
    }

    /// Remembers as much as is needed to put values behind those there are.
    fn thaw(&mut self, names: &Names) {
        if !self.is_frozen {
            return;
        }
        self.known.steps = Steps::of_a_new_run();
        for (name, tally) in &self.image.metrics {
            let (step, timestamp, value) = tally.latest;
            let point = Point { key: names.text(*name).to_owned(), value, timestamp, step };
            self.known.steps.insert(&point);
        }
    }
}

/// The final values, each behind the last one of its metric.
fn last_values(steps: &mut Steps, finals: BTreeMap<String, f64>, at: i64) -> Vec<Point> {
    finals.into_iter().filter_map(|(key, value)| steps.finish(key, value, at)).collect()
}
