//! The lines of a search for a machine: each trial once, as soon as it is known.

use std::collections::BTreeSet;

use schemas::TrialId;
use schemas::event::TrialReported;
use service_kit::error::CliError;
use service_kit::output::{Format, Printer};

/// The lines of one search; none in formats that have one document.
pub(super) struct Lines {
    printer: Printer,
    /// A trial that a later attempt has trained again is another.
    printed: BTreeSet<(TrialId, Option<u32>)>,
    /// Why nobody reads any more.
    broken: Option<CliError>,
}

impl Lines {
    pub(super) fn new(printer: Printer) -> Self {
        Self { printer, printed: BTreeSet::new(), broken: None }
    }

    /// True when trials have lines.
    pub(super) fn are_wanted(&self) -> bool {
        match self.printer.format() {
            Format::Ndjson => self.broken.is_none(),
            Format::Json | Format::Table => false,
        }
    }

    /// Prints a trial that has not been printed before. False when nobody reads any more.
    pub(super) fn show(&mut self, trial: &TrialReported) -> bool {
        if self.are_wanted() && self.printed.insert((trial.trial_id.clone(), trial.attempt)) {
            self.broken = self.printer.stream_item(trial, "").err();
        }
        self.broken.is_none()
    }

    /// The end of the lines.
    ///
    /// # Errors
    /// Whoever read them has left.
    pub(super) fn end(self) -> Result<(), CliError> {
        self.broken.map_or(Ok(()), Err)
    }
}
