//! The course of a run and of a trial as their records tell it: what still counts, and what changes with it.
//!
//! Pure. The writer asks here before it writes, and whoever wants to know what MLflow should have asks the same.

use std::cmp::Ordering;

use schemas::Event;
use schemas::event::{Direction, MlRunStarted};

use super::record::{Child, Parent, ReportMark};
use crate::projection::curve::Curve;
use crate::projection::parent::Ending;
use crate::projection::{millis, parent};

impl Parent {
    /// True when this start of the run, of this attempt, is still to be told: it is not the one that was, and not overtaken
    /// by a later one. An overtaken one still tells what is searched, when nobody has.
    pub fn takes_start(&self, started: &MlRunStarted, attempt: Option<u32>) -> bool {
        let is_old = self.place_of(started, attempt) == Some(Ordering::Less);
        !(self.has(&Event::from(started.clone())) || (is_old && self.objective.is_some()))
    }

    /// True when this start opens the run again, whatever its last end said.
    pub fn is_reopened_by(&self, started: &MlRunStarted, attempt: Option<u32>) -> bool {
        self.place_of(started, attempt) == Some(Ordering::Greater)
    }

    /// Where a start stands to what opened the run last; none when nothing has. Attempts come one after the other; times
    /// are those of the machines they ran on, and count only where attempts do not tell.
    fn place_of(&self, started: &MlRunStarted, attempt: Option<u32>) -> Option<Ordering> {
        let by_time = millis(started.timestamp).cmp(&self.opened_at?);
        let Some(attempt) = attempt.filter(|attempt| *attempt > 0) else { return Some(by_time) };
        let by_attempt = match (self.opened_in, self.taken_back, self.ended_attempt) {
            (Some(opened_in), _, _) => attempt.cmp(&opened_in),
            (None, Some(taken_back), _) if attempt <= taken_back => Ordering::Less,
            (None, None, Some(ended)) if attempt > ended => Ordering::Greater,
            (None, _, _) => Ordering::Equal,
        };
        Some(by_attempt.then(by_time))
    }

    /// The last end of the run was taken back.
    pub fn take_end_back(&mut self) {
        self.taken_back = self.taken_back.max(self.ended_attempt);
    }

    /// The run has begun, or begun again.
    pub fn open(&mut self, started: &MlRunStarted, attempt: Option<u32>) {
        if self.place_of(started, attempt) != Some(Ordering::Less) {
            self.opened_at = Some(millis(started.timestamp));
            self.opened_in = attempt.filter(|attempt| *attempt > 0).or(self.opened_in);
        }
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

#[cfg(test)]
mod tests {
    use schemas::Timestamp;
    use serde_json::json;

    use super::*;

    fn start(second: i64) -> MlRunStarted {
        let timestamp = Timestamp::from_micros(second * 1_000_000);
        serde_json::from_value(json!({"run_id": "r", "timestamp": timestamp, "objective": "loss"})).unwrap()
    }

    fn opened(second: i64, attempt: Option<u32>) -> Parent {
        let mut run = Parent::created("p".into(), "1".into());
        run.open(&start(second), attempt);
        run
    }

    #[test]
    fn a_later_attempt_opens_a_run_again_whatever_the_clocks_say() {
        let run = opened(100, Some(1));
        assert!(run.takes_start(&start(95), Some(2)) && run.is_reopened_by(&start(95), Some(2)));
        let run = opened(95, Some(2));
        assert!(!run.takes_start(&start(100), Some(1)), "and an earlier one does not");
    }

    #[test]
    fn where_attempts_do_not_tell_times_do() {
        for attempt in [None, Some(0)] {
            let run = opened(100, attempt);
            assert!(!run.takes_start(&start(95), attempt));
            assert!(run.is_reopened_by(&start(105), attempt));
        }
    }

    #[test]
    fn a_run_found_at_the_server_is_opened_again_by_an_attempt_behind_its_end_only() {
        let found = Parent { opened_in: None, ended_attempt: Some(1), ..opened(100, Some(1)) };
        assert!(found.is_reopened_by(&start(95), Some(2)));
        assert!(!found.is_reopened_by(&start(100), Some(1)));
        let taken_back = Parent { taken_back: Some(1), ..found };
        assert!(!taken_back.takes_start(&start(105), Some(1)));
        assert!(!taken_back.is_reopened_by(&start(100), Some(2)), "the very one that has opened it");
    }
}
