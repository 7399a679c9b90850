//! What one event adds to a checkpoint.
//!
//! Pure: when the broker took it is an argument.

use schemas::event::{TrialReported, TrialStatus};
use schemas::{Event, Timestamp};

use super::{Checkpoint, Reading, Report};

impl Checkpoint {
    pub(super) fn take(&mut self, event: Event, time: Timestamp, reading: &Reading<'_>) {
        if event.attempt().is_some_and(|attempt| attempt >= reading.attempt) {
            return;
        }
        let attempt = event.attempt().unwrap_or(0);
        let is_current = attempt >= reading.epoch;
        if is_current {
            // Out of order is what a stranger said; it changes nothing of what the others said. Events before a restart
            // belong to a life that is over.
            let _ = self.lifecycle.apply(&event);
        }
        if is_current {
            self.note_time(&event, attempt, time);
        }
        match event {
            Event::TrialReported(trial) => self.take_trial(trial, is_current),
            Event::RunInterrupted(_) => self.last_fruitful = self.last_fruitful.max(attempt),
            Event::RunCompleted(_) | Event::RunFailed(_) | Event::RunCancelled(_) if is_current => {
                self.ended = Some(event);
            }
            Event::RunException(exception) if is_current && exception.will_retry => {
                match exception.trial_id {
                    Some(trial) => *self.tries.entry(trial).or_default() += 1,
                    None => self.run_tries += 1,
                }
            }
            Event::MetricReported(metric) if reading.reports_of == Some(metric.name.as_str()) => {
                if let Some(trial) = metric.trial_id.number_in(reading.run) {
                    self.reports.push(Report { trial, step: metric.step, value: metric.value.0, is_current });
                }
            }
            Event::RunStarted(_)
            | Event::RunCompleted(_)
            | Event::RunFailed(_)
            | Event::RunCancelled(_)
            | Event::RunRequested(_)
            | Event::RunCancelRequested(_)
            | Event::MlRunStarted(_)
            | Event::MlRunFinalized(_)
            | Event::MetricReported(_)
            | Event::RunException(_) => {}
        }
    }

    fn take_trial(&mut self, trial: TrialReported, is_current: bool) {
        let Some(number) = trial.number.map(u64::from) else { return };
        self.last_fruitful = self.last_fruitful.max(trial.attempt.unwrap_or(0));
        let has_result = !matches!(trial.status, TrialStatus::Failed | TrialStatus::Cancelled);
        if (is_current || has_result) && self.numbers.insert(number) {
            self.trials.push((number, trial));
        }
    }

    fn note_time(&mut self, event: &Event, attempt: u32, time: Timestamp) {
        if matches!(event, Event::RunStarted(_)) {
            self.spans.insert(attempt, (time, time));
        } else if let Some((_, last)) = self.spans.get_mut(&attempt) {
            *last = (*last).max(time);
        }
    }
}
