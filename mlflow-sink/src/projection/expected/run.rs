//! One run, event by event.

use std::collections::BTreeMap;

use schemas::event::{MetricReported, MlRunStarted, TrialReported};
use schemas::{Event, RunId, TrialId};

use super::super::curve::{Best, Finished, drawn};
use super::super::left::{Over, left};
use super::super::note::NOTE_TAG;
use super::super::parent::{self, BEST_PREFIX};
use super::super::{Closing, RunStatus, Seen, Writes, trial};
use super::{Image, Names, Run, Trial, last_values};
use crate::ledger::record::{Child, Parent, ReportMark};

impl Run {
    pub(super) fn new(names: &mut Names, run: &RunId, seen: &Seen) -> Self {
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
            is_refused: true,
            known: Parent::created(String::new(), String::new()),
            over: None,
            is_curve_loose: false,
        }
    }

    /// The latest attempt that announced its end.
    pub fn ended_attempt(&self) -> Option<u32> {
        self.known.ended_attempt
    }

    pub(super) fn start(&mut self, names: &mut Names, started: &MlRunStarted, seen: &Seen, is_refused: bool) {
        if !self.known.takes_start(started, seen.attempt) {
            return;
        }
        let told = parent::started(started, seen.schema.as_deref()).traced(seen.sequence);
        self.image.lacks_word = is_refused;
        self.image
            .write(names, &if is_refused { Writes { tags: told.tags, ..Writes::default() } } else { told });
        if self.known.is_reopened_by(started, seen.attempt) {
            self.image.remove_tags(names, &parent::ENDING_TAGS);
            self.image.write(names, &parent::reopened());
            self.image.reopen();
            self.known.take_end_back();
            self.over = None;
        }
        self.known.open(started, seen.attempt);
        if !is_refused {
            self.known.mark(&seen.event);
        }
    }

    pub(super) fn end(&mut self, names: &mut Names, seen: &Seen, is_refused: bool) {
        let Some(mut ending) = parent::ending(seen) else { return };
        if self.known.is_past_end(&ending) || self.known.has(&seen.event) {
            return;
        }
        self.image.lacks_end = is_refused;
        if is_refused {
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

    pub(super) fn close_leftovers(&mut self, names: &mut Names) {
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

    pub(super) fn value(
        &mut self,
        names: &mut Names,
        run: &RunId,
        metric: &MetricReported,
        seen: &Seen,
        is_refused: bool,
    ) {
        let trial = self.trial(names, run, &metric.trial_id, seen);
        trial.lack(metric, is_refused);
        if is_refused {
            return;
        }
        trial.is_refused = false;
        trial.begin_again(names, metric.attempt.unwrap_or(0));
        if !trial.known.is_past_value(metric.attempt) {
            trial.value(names, metric);
        }
    }

    pub(super) fn report(
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
        trial.image.lacks_word |= is_refused;
        trial.is_refused &= is_refused;
        trial.begin_again(names, report.attempt.unwrap_or(0));
        let mark = ReportMark::of(&seen.event);
        if !trial.known.is_past_report(mark.attempt) && !trial.known.has(&mark) {
            trial.report(names, report, seen, &kin, is_refused);
        }
    }

    /// Draws the curves as far as they go with this report.
    pub(super) fn draw(&mut self, names: &mut Names, report: &TrialReported, seen: &Seen, is_refused: bool) {
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
