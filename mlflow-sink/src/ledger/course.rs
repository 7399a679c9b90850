//! The course of a run and of a trial as their records tell it: what still counts, and what changes with it.
//!
//! Pure. The writer asks here before it writes, and whoever wants to know what MLflow should have asks the same.

use schemas::Event;
use schemas::event::{Direction, MlRunStarted};

use super::record::{Child, Parent, ReportMark};
use crate::projection::curve::Curve;
use crate::projection::parent::Ending;
use crate::projection::{millis, parent};

impl Parent {
    /// True when this start of the run is still to be told: it is not the one that was, and not overtaken by a later
    /// one. An overtaken one still tells what is searched, when nobody has.
    pub fn takes_start(&self, started: &MlRunStarted) -> bool {
        let is_old = self.opened_at.is_some_and(|opened| millis(started.timestamp) < opened);
        !(self.has(&Event::from(started.clone())) || (is_old && self.objective.is_some()))
    }

    /// True when this start opens the run again, whatever its last end said.
    pub fn is_reopened_by(&self, started: &MlRunStarted) -> bool {
        self.opened_at.is_some_and(|opened| millis(started.timestamp) > opened)
    }

    /// The last end of the run was taken back.
    pub fn take_end_back(&mut self) {
        self.taken_back = self.taken_back.max(self.ended_attempt);
    }

    /// The run has begun, or begun again.
    pub fn open(&mut self, started: &MlRunStarted) {
        self.opened_at = self.opened_at.max(Some(millis(started.timestamp)));
        let direction = parent::direction_of(started);
        if (self.objective.as_ref(), self.direction) != (Some(&started.objective), direction) {
            // What was drawn before it was known what is searched is drawn again.
            self.is_curve_whole &= self.curve == Curve::default();
        }
        self.objective = Some(started.objective.clone());
        self.direction = direction;
        self.experiment = parent::experiment(Some(started), None);
    }

    /// True for an end that was overtaken: by a later attempt, or because the run was asked for again since.
    pub fn is_past_end(&self, ending: &Ending) -> bool {
        match ending.attempt {
            Some(attempt) => {
                self.ended_attempt.is_some_and(|known| attempt < known)
                    || self.taken_back.is_some_and(|known| attempt <= known)
            }
            None => self.opened_at.is_some_and(|opened| ending.closing.end_time < opened),
        }
    }

    /// True when this end decides how the run ended: its own last word does over its machine-learning record, whichever
    /// comes first.
    pub fn is_decided_by(&self, ending: &Ending) -> bool {
        ending.attempt.is_some() || self.ended_attempt.is_none()
    }

    /// The run has ended. True when that is its own last word, so that nothing of it goes on.
    pub fn end(&mut self, attempt: Option<u32>, end_time: i64) -> bool {
        self.ended_attempt = attempt.or(self.ended_attempt);
        if attempt.is_some() {
            self.opened_at = self.opened_at.or(Some(end_time));
        }
        attempt.is_some()
    }

    /// What the run searches, once its start was seen.
    pub fn aim(&self) -> Option<(String, Option<Direction>)> {
        Some((self.objective.clone()?, self.direction))
    }
}

impl Child {
    /// True when an attempt trains a trial again that had ended in an earlier one.
    pub fn begins_again_in(&self, attempt: u32) -> bool {
        self.latest_attempt().is_some_and(|latest| attempt > latest)
    }

    /// The attempt that has trained it last, once one has ended it.
    fn latest_attempt(&self) -> Option<u32> {
        self.report.as_ref().and_then(|report| report.attempt).max(self.again_in)
    }

    /// An attempt trains it again: its values are written anew, beside the old ones, which MLflow keeps.
    pub fn begin_again(&mut self, attempt: u32) {
        self.steps.begin_again();
        self.strange.clear();
        self.born_with.clear();
        self.again_in = Some(attempt);
    }

    /// True for a value of an older attempt than the one that trains it again.
    pub fn is_past_value(&self, attempt: Option<u32>) -> bool {
        attempt.zip(self.again_in).is_some_and(|(says, again_in)| says < again_in)
    }

    /// True for the report of an older attempt than the one that was written, or that trains it again.
    pub fn is_past_report(&self, attempt: Option<u32>) -> bool {
        attempt.zip(self.latest_attempt()).is_some_and(|(says, latest)| says < latest)
    }

    /// True when exactly this report was written.
    pub fn has(&self, mark: &ReportMark) -> bool {
        self.report.as_ref().is_some_and(|known| known.fingerprint == mark.fingerprint)
    }

    /// The trial was closed with its run, at this time, because nobody had reported it. A report that comes late is the
    /// truth, and takes that back.
    pub fn leave(&mut self, attempt: Option<u32>, end_time: i64) {
        self.report = Some(ReportMark { fingerprint: String::new(), attempt });
        self.has_old_tags = true;
        self.ended_at = Some(end_time);
    }
}
