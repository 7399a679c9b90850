//! What a person sees while trials arrive: one line that changes in place on a terminal, now and then a plain one
//! elsewhere. All of it on standard error.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use producer::progress::{Progress, objective_of};
use schemas::event::TrialReported;
use schemas::{Event, Timestamp};
use service_kit::clock;
use service_kit::output::{note, plain_text};
use tokio::time::Instant;

/// Least time between two plain lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(2);
/// How often the live line turns its wheel.
const SPIN: Duration = Duration::from_millis(120);
/// Longest line, in characters; a failure's message may be a stranger's.
const LINE_LIMIT: usize = 300;

/// The view of one search. What it drew in place is taken away on drop.
pub(super) enum Live {
    /// On a terminal.
    Line(ProgressBar),
    /// In a pipe; when it last said something.
    Plain(Option<Instant>),
}

impl Live {
    /// For wherever standard error goes.
    pub(super) fn new() -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if !io::stderr().is_terminal() || is_dumb {
            return Self::Plain(None);
        }
        let bar = ProgressBar::new_spinner();
        bar.set_style(
            ProgressStyle::with_template("{spinner} {wide_msg}").expect("the template is a constant"),
        );
        bar.enable_steady_tick(SPIN);
        Self::Line(bar)
    }

    /// An event came and is in the progress.
    pub(super) fn show(&mut self, event: &Event, progress: &Progress) {
        let Event::TrialReported(trial) = event else { return };
        let line = plain_text::one_line(&of_trial(trial, progress), LINE_LIMIT);
        match self {
            Self::Line(bar) => {
                bar.suspend(|| note(line));
                self.refresh(progress);
            }
            Self::Plain(last) => {
                let is_last = progress.total.is_some_and(|total| progress.done >= total);
                if is_last || last.is_none_or(|last| last.elapsed() >= PLAIN_INTERVAL) {
                    *last = Some(Instant::now());
                    note(status(progress, clock::now()));
                }
            }
        }
    }

    /// Time went by.
    pub(super) fn refresh(&mut self, progress: &Progress) {
        match self {
            Self::Line(bar) => bar.set_message(status(progress, clock::now())),
            Self::Plain(_) => {}
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        match self {
            Self::Line(bar) => bar.finish_and_clear(),
            Self::Plain(_) => {}
        }
    }
}

/// `12 of 24 trials, best accuracy 0.9722, 1 failed, 2 running, 1.8/s`.
fn status(progress: &Progress, now: Timestamp) -> String {
    let total = progress.total.map_or(String::new(), |total| format!(" of {total}"));
    let mut text = format!("{}{total} trials", progress.done);
    if let Some(best) = progress.best {
        let _ = write!(text, ", best {} {best:.4}", progress.objective);
    }
    let _ = write!(text, ", {} failed, {} running", progress.failed, progress.running);
    if let Some(rate) = progress.rate(now) {
        let _ = write!(text, ", {rate:.1}/s");
    }
    text
}

fn of_trial(trial: &TrialReported, progress: &Progress) -> String {
    let number = trial.number.map_or_else(|| trial.trial_id.to_string(), |number| (number + 1).to_string());
    let mut text = format!("trial {number:>3} {}", trial.status.as_str());
    if let Some(objective) = objective_of(trial, &progress.objective) {
        let _ = write!(text, "  {} {objective:.4}", progress.objective);
    }
    if let Some(millis) = trial.duration_ms {
        let _ = write!(text, "  {:.1} s", millis as f64 / 1e3);
    }
    if progress.best_trial.as_ref() == Some(&trial.trial_id) {
        text.push_str("  best so far");
    }
    if let Some(failure) = &trial.failure {
        let _ = write!(text, "  {}: {}", failure.class, failure.message);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_best_failed_running_and_how_many_of_how_many() {
        let mut progress = Progress::default();
        progress.total = Some(24);
        (progress.done, progress.failed, progress.running) = (4, 1, 2);
        progress.best = Some(0.97222);
        let text = status(&progress, Timestamp::from_micros(0));
        assert_eq!(text, "4 of 24 trials, best accuracy 0.9722, 1 failed, 2 running");
    }
}
