//! The opening of the record of a run: whether it was said, and the data set it binds the run to.

use schemas::cloudevents::{Headers, header};
use schemas::{Event, Failure, FailureClass, Stage};

use super::{Checkpoint, Reading};
use crate::plan::RunPlan;

/// Where the record of a run says what its data set was.
pub(crate) const DATASET_SHA256: &str = "dataset_sha256";

impl Checkpoint {
    /// Whether the trials there are and those of this plan learn from the same file. A search of the user's own begins
    /// anew, and so does one that has trained nothing.
    ///
    /// # Errors
    /// They do not.
    pub fn check_dataset(&self, plan: &RunPlan) -> Result<(), Failure> {
        let (Some(before), Some(now)) = (self.bound_to(), &plan.dataset) else { return Ok(()) };
        if plan.search().is_none() || before == now.sha256 {
            return Ok(());
        }
        let message = format!(
            "at `dataset_id`: data set \"{}\" was replaced: the run was begun with the one with SHA-256 {before}, \
             and now it is {}; put the old file back, or request a new run",
            now.name, now.sha256
        );
        Err(Failure::new(FailureClass::Validation, Stage::Validate, message))
    }

    /// The data set the run has to go on with: that of its trials, or, once it was announced, the one it was announced
    /// with, because nobody announces it again.
    pub(super) fn bound_to(&self) -> Option<&str> {
        let is_bound = self.is_opened || !self.trials.is_empty();
        self.dataset_sha256.as_deref().filter(|_| is_bound)
    }

    /// The record of a run is opened once an epoch, which its id names; a stranger's has none.
    pub(super) fn note_opening(&mut self, event: &Event, headers: &Headers, reading: &Reading<'_>) {
        let Event::MlRunStarted(opening) = event else { return };
        let id = headers.get(header::MESSAGE_ID);
        let is_of = |epoch| id.is_some_and(|id| id == event.message_id(reading.run, 0, epoch));
        self.is_opened |= is_of(reading.epoch) || (id.is_none() && reading.epoch == 0);
        // What was trained in an earlier epoch counts, and so does what it was trained on.
        if self.trials.is_empty() && (0..=reading.epoch).any(is_of) {
            self.dataset_sha256 = opening.extra.0[DATASET_SHA256].as_str().map(str::to_owned);
        }
    }
}
