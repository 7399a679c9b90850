//! Counts the calls of children, for a trial or for a whole search: each that begins, and how and after how long each
//! ends.

use std::fmt::Display;
use std::time::Duration;

use schemas::{Failure, FailureClass, Stage};
use service_kit::metrics::{CounterBy, Metrics, SecondsBy};

use crate::conversation::Outcome;

/// The numbers of a worker's calls.
#[derive(Debug, Clone)]
pub struct Invocations {
    begun: CounterBy,
    ended: SecondsBy,
}

impl Invocations {
    /// Registers the numbers.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            begun: metrics.counter_by(
                "invocations_started",
                "Calls of a child that began, by the number of the try",
                "attempt",
            ),
            ended: metrics.seconds_by(
                "invocation_seconds",
                "Duration of calls of a child, by how they ended: a status, a failure class, interrupted",
                "end",
            ),
        }
    }

    /// The try numbered `attempt`, from 1 on, of a trial or a search begins.
    pub fn begin(&self, of: &impl Display, attempt: u32) {
        tracing::debug!(%of, attempt, "invocation started");
        self.begun.inc(ordinal(attempt));
    }

    /// It has ended.
    pub(crate) fn end(&self, of: &impl Display, attempt: u32, outcome: &Outcome, took: Duration) {
        match outcome {
            Outcome::Over { result, .. } => match &**result {
                Ok(result) => match &result.failure {
                    Some(told) => {
                        let failure = Failure::new(told.class(), Stage::Execute, told.message.as_str());
                        self.except(of, attempt, &failure, took);
                    }
                    None => self.stop(of, result.status.as_str(), took),
                },
                Err(failure) => self.except(of, attempt, failure, took),
            },
            Outcome::NoChild(failure) => self.except(of, attempt, failure, took),
            Outcome::Dropped | Outcome::Unsaid(_) => self.stop(of, "interrupted", took),
        }
    }

    /// It has ended with a status other than failed, or was interrupted.
    pub fn stop(&self, of: &impl Display, end: &'static str, took: Duration) {
        tracing::debug!(%of, end, ?took, "invocation stopped");
        self.ended.observe(end, took);
    }

    /// It has failed.
    pub fn except(&self, of: &impl Display, attempt: u32, failure: &Failure, took: Duration) {
        let class: FailureClass = failure.class;
        tracing::info!(%of, attempt, %class, ?took, "invocation failed: {}", failure.message);
        self.ended.observe(class.as_str(), took);
    }
}

/// Few values, whatever the number of retries an operator allows.
fn ordinal(attempt: u32) -> &'static str {
    match attempt {
        0 | 1 => "1",
        2 => "2",
        3 => "3",
        _ => "more",
    }
}

#[cfg(test)]
mod tests {
    use schemas::{RunId, TrialId};

    use super::*;

    #[test]
    fn every_call_is_counted_when_it_begins_and_under_what_it_ended_with() {
        let metrics = Metrics::new();
        let invocations = Invocations::new(&metrics);
        let trial = TrialId::numbered(&RunId::parse("a").unwrap(), 1);
        [1, 2, 9].into_iter().for_each(|attempt| invocations.begin(&trial, attempt));
        invocations.stop(&trial, "succeeded", Duration::from_secs(2));
        let failure = Failure::new(FailureClass::Oom, Stage::Execute, "x");
        invocations.except(&trial, 2, &failure, Duration::from_millis(5));
        let text = metrics.render();
        for line in [
            "cerebros_invocations_started_total{attempt=\"1\"} 1",
            "cerebros_invocations_started_total{attempt=\"more\"} 1",
            "cerebros_invocation_seconds_bucket{le=\"4.0\",end=\"succeeded\"} 1",
            "cerebros_invocation_seconds_count{end=\"oom\"} 1",
        ] {
            assert!(text.lines().any(|rendered| rendered == line), "{line} is missing in\n{text}");
        }
    }
}
