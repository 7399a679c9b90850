//! What came of a run as it is shown: a line on the way, the result at the end.

use std::io::{self, Write};

use schemas::Real;
use schemas::event::TrialReported;
use service_kit::error::CliError;
use service_kit::output::{Format, Printer};

use super::Outcome;

impl Outcome {
    /// One line about how far the run is.
    pub(in crate::oneshot) fn progress(&self, trial: &TrialReported, max_trials: u32) -> String {
        let shown =
            |value: Option<Real>| value.map_or_else(|| "-".to_owned(), |Real(value)| format!("{value:.4}"));
        format!(
            "{} of {max_trials}: trial {} {}, {} {} (best {})",
            self.completed_trials,
            trial.number.unwrap_or_default(),
            trial.status.as_str(),
            self.objective,
            shown(trial.metrics.get(&self.objective).copied()),
            shown(self.best_metric),
        )
    }

    /// Prints the result: in NDJSON without its trials, each of which has had its line.
    pub(in crate::oneshot) fn print(self, printer: Printer) -> Result<(), CliError> {
        match printer.format() {
            Format::Ndjson => {
                let rest = Self { trials: Vec::new(), ..self };
                printer.stream_item(&rest, "")
            }
            Format::Json | Format::Table => printer.object(&self, |out| self.write(out)),
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "run      {} {}", self.run_id, self.state)?;
        writeln!(out, "trials   {} ({} failed)", self.completed_trials, self.failed_trials)?;
        if let (Some(Real(value)), Some(id)) = (self.best_metric, &self.best_trial_id) {
            writeln!(out, "best     {} {value} of {id}", self.objective)?;
            writeln!(out, "model    {}", self.best_model.0)?;
        }
        for file in &self.artifact_refs {
            writeln!(out, "file     {}", file.uri)?;
        }
        match (&self.failure, &self.reason) {
            (Some(failure), _) => writeln!(out, "because  {}: {}", failure.class, failure.message),
            (None, Some(reason)) => writeln!(out, "because  {reason}"),
            (None, None) => Ok(()),
        }
    }
}
