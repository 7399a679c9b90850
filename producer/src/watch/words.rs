//! A run in words. Pure; the text may hold what strangers wrote, whoever prints it makes it fit for a terminal.

use std::fmt::Write as _;

use schemas::event::{RunCompleted, TrialReported};
use schemas::lifecycle::RunState;
use schemas::{Event, Timestamp};
use serde_json::Value;

use crate::follow::RunEvent;
use crate::progress::{Progress, objective_of};

/// Characters of one parameter's value that are shown.
const VALUE_LIMIT: usize = 40;

/// Where the run is, in one line.
pub(super) fn status(progress: &Progress, now: Timestamp) -> String {
    let mut text = counts(progress);
    if progress.state == RunState::Running {
        if let Some(rate) = progress.rate(now) {
            let _ = write!(text, " · {rate:.1}/s");
        }
        if let Some(left) = progress.seconds_left(now).filter(|left| *left >= 1.0) {
            let _ = write!(text, " · {} left", seconds(left));
        }
    }
    text
}

/// The part of it that changes only with the run.
pub(super) fn counts(progress: &Progress) -> String {
    let total = progress.total.map_or(String::new(), |total| format!("/{total}"));
    let mut text = format!("{}: {}{total} trials", progress.state, progress.done);
    if progress.failed > 0 {
        let _ = write!(text, " · {} failed", progress.failed);
    }
    if progress.running > 0 {
        let _ = write!(text, " · {} running", progress.running);
    }
    if let Some(best) = progress.best {
        let _ = write!(text, " · best {} {best:.4}", progress.objective);
    }
    text
}

/// What an event means to a person, if it means something beyond the numbers.
pub(super) fn of_event(event: &RunEvent, progress: &Progress) -> Option<String> {
    match &event.event {
        Event::RunStarted(started) => {
            let resumed = match started.resumed_trials {
                0 => String::new(),
                trials => format!(", {trials} trials are there already"),
            };
            Some(format!("attempt {} on worker {}{resumed}", started.attempt, started.worker_id))
        }
        Event::TrialReported(trial) => Some(of_trial(trial, progress)),
        Event::RunInterrupted(interrupted) => {
            let reason = interrupted.reason.as_deref().unwrap_or("its machine stopped");
            Some(format!("attempt {} was interrupted: {reason}; the run goes on", interrupted.attempt))
        }
        Event::RunRequested(_)
        | Event::RunCancelRequested(_)
        | Event::RunCompleted(_)
        | Event::RunFailed(_)
        | Event::RunCancelled(_)
        | Event::MlRunStarted(_)
        | Event::MlRunFinalized(_)
        | Event::MetricReported(_)
        | Event::RunException(_) => None,
    }
}

fn of_trial(trial: &TrialReported, progress: &Progress) -> String {
    let name = trial.number.map_or_else(|| trial.trial_id.to_string(), |number| number.to_string());
    let mut text = format!("trial {name} {}", trial.status.as_str());
    if let Some(value) = objective_of(trial, &progress.objective) {
        let _ = write!(text, "  {} {value:.4}", progress.objective);
        if progress.best_trial.as_ref() == Some(&trial.trial_id) {
            text.push_str(" (best)");
        }
    }
    if let Some(millis) = trial.duration_ms {
        let _ = write!(text, "  {:.1}s", millis as f64 / 1e3);
    }
    if let Some(failure) = &trial.failure {
        let _ = write!(text, "  {}: {}", failure.class, failure.message);
    }
    let _ = write!(text, "  {}", parameters(&trial.parameters.0));
    text.trim_end().to_owned()
}

/// How the run ended.
pub(super) fn ending(event: &Event, progress: &Progress) -> String {
    match event {
        Event::RunCompleted(completed) => completion(completed, progress),
        Event::RunFailed(failed) => format!("failed: {}: {}", failed.failure.class, failed.failure.message),
        Event::RunCancelled(cancelled) => match &cancelled.reason {
            Some(reason) => format!("cancelled: {reason}"),
            None => "cancelled".to_owned(),
        },
        Event::RunRequested(_)
        | Event::RunCancelRequested(_)
        | Event::RunStarted(_)
        | Event::RunInterrupted(_)
        | Event::MlRunStarted(_)
        | Event::MlRunFinalized(_)
        | Event::TrialReported(_)
        | Event::MetricReported(_)
        | Event::RunException(_) => progress.state.to_string(),
    }
}

fn completion(completed: &RunCompleted, progress: &Progress) -> String {
    let mut text = format!("completed: {} trials", completed.completed_trials);
    if completed.failed_trials > 0 {
        let _ = write!(text, ", {} failed", completed.failed_trials);
    }
    if let Some(best) = progress.best {
        let _ = write!(text, ", best {} {best:.4}", progress.objective);
    }
    if let Some(trial) = &progress.best_trial {
        let _ = write!(text, " in {trial} with {}", parameters(&progress.best_parameters.0));
    }
    text
}

/// `activation=relu layers=[64,128]`.
fn parameters(parameters: &Value) -> String {
    let Some(fields) = parameters.as_object() else { return String::new() };
    let field = |(name, value): (&String, &Value)| {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number
                .as_f64()
                .filter(|_| number.is_f64())
                .map_or_else(|| number.to_string(), |float| format!("{float:.3e}")),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
        };
        format!("{name}={}", value.chars().take(VALUE_LIMIT).collect::<String>())
    };
    fields.iter().map(field).collect::<Vec<_>>().join(" ")
}

fn seconds(count: f64) -> String {
    let whole = std::time::Duration::from_secs(count.clamp(0.0, 1e9) as u64);
    humantime::format_duration(whole).to_string()
}

#[cfg(test)]
mod tests {
    use schemas::event::RunRequested;

    use super::*;

    #[test]
    fn a_status_says_what_is_known_and_no_more() {
        let mut progress = Progress::default();
        let now = Timestamp::from_micros(0);
        assert_eq!(status(&progress, now), "requested: 0 trials");
        progress.apply(&RunRequested::new("digits").into(), now);
        assert_eq!(status(&progress, now), "requested: 0/10 trials");
        (progress.done, progress.failed, progress.running) = (4, 1, 2);
        (progress.best, progress.state) = (Some(0.97222), RunState::Running);
        assert_eq!(
            status(&progress, now),
            "running: 4/10 trials · 1 failed · 2 running · best accuracy 0.9722"
        );
    }

    #[test]
    fn parameters_are_short_whatever_they_are() {
        let shown = parameters(
            &serde_json::json!({"layers": [64, 128], "lr": 0.00123456, "name": "x".repeat(999), "n": 3}),
        );
        assert_eq!(shown, format!("layers=[64,128] lr=1.235e-3 n=3 name={}", "x".repeat(40)));
    }
}
