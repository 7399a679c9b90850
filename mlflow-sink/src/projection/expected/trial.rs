//! One trial, event by event.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use schemas::event::{MetricReported, TrialReported};

use super::super::steps::Steps;
use super::super::{Point, Seen, Writes, trial};
use super::{Names, Trial, last_values};
use crate::ledger::record::ReportMark;

impl Trial {
    pub(super) fn begin_again(&mut self, names: &mut Names, attempt: u32) {
        if !self.known.begins_again_in(attempt) {
            return;
        }
        self.thaw(names);
        self.take_end_back(names);
        self.image.write(names, &trial::again(attempt));
        self.image.reopen();
        self.known.begin_again(attempt);
        self.is_frozen = false;
    }

    fn take_end_back(&mut self, names: &Names) {
        self.image.remove_tags(names, &trial::ENDING_TAGS);
        self.known.has_old_tags = false;
    }

    /// Notes that MLflow refused a value, or has taken it. Told again it may have been mended: what it is the value of says
    /// which one it is.
    pub(super) fn lack(&mut self, metric: &MetricReported, is_refused: bool) {
        let lacks = &mut self.image.lacks_values;
        if lacks.is_empty() && !is_refused {
            return;
        }
        let mut hasher = DefaultHasher::new();
        (&metric.name, metric.step, metric.attempt).hash(&mut hasher);
        if is_refused {
            lacks.insert(hasher.finish());
        } else {
            lacks.remove(&hasher.finish());
        }
    }

    pub(super) fn value(&mut self, names: &mut Names, metric: &MetricReported) {
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

    pub(super) fn report(
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
            let mut kept = Writes::default();
            self.known.strange.iter().for_each(|(key, values)| kept.nonfinite(key, values));
            self.image.write(names, &kept);
        }
        self.image.lacks_word = is_refused;
        if is_refused {
            // It is over nevertheless.
            self.known.has_old_tags = true;
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
    pub(super) fn freeze(&mut self) {
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
