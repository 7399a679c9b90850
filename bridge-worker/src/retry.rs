//! Whether a trial that did not come to a result is trained again, and when.
//!
//! Pure. Only what lies outside the user's code is worth another try: the same code fails the same way. A trial that
//! takes its child down is suspected of doing it again, so that its tries are few, whatever took the child down.

use std::time::Duration;

use schemas::{Failure, FailureClass};

/// Tries of a trial that takes its child down (out of memory, a crash, a hang) before it is given up.
pub const MAX_CHILD_LOSSES: u32 = 3;
/// The pause before a second try may be longer or shorter by this share of it.
const JITTER: f64 = 0.2;
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(60);

/// How often and how fast is tried again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// Tries after the first of what a dependency has failed.
    pub max_retries: u32,
    /// Pause before the second try; it doubles.
    pub backoff: Duration,
}

impl RetryPolicy {
    /// The pause before the next try of a trial whose last try, number `tried` from 1 on, failed; `None` when it is
    /// over. `chance`, from 0 to 1, spreads the tries of many trials.
    pub fn next(&self, failure: &Failure, tried: u32, chance: f64) -> Option<Duration> {
        let tries = match cause(failure.class) {
            Cause::Child => MAX_CHILD_LOSSES,
            Cause::Outside => self.max_retries.saturating_add(1),
            Cause::Trial => 1,
        };
        (tried < tries).then(|| self.pause(tried, chance))
    }

    fn pause(&self, tried: u32, chance: f64) -> Duration {
        let doubled = self.backoff.saturating_mul(1 << tried.saturating_sub(1).min(16));
        let spread = doubled.min(LONGEST).mul_f64(1.0 - JITTER + 2.0 * JITTER * chance.clamp(0.0, 1.0));
        // No two tries have the same pause: it is what tells their events apart.
        spread + Duration::from_millis(tried.into())
    }
}

/// Where a failure lies.
enum Cause {
    /// The process went down with the trial in it.
    Child,
    /// Something neither the trial nor its process has a hand in.
    Outside,
    /// The trial itself, or a decision about it.
    Trial,
}

fn cause(class: FailureClass) -> Cause {
    match class {
        FailureClass::SubprocessExit | FailureClass::HeartbeatLost | FailureClass::Oom => Cause::Child,
        FailureClass::Dependency => Cause::Outside,
        FailureClass::Decode
        | FailureClass::SchemaUnknown
        | FailureClass::SchemaMismatch
        | FailureClass::Validation
        | FailureClass::UnsupportedSubject
        | FailureClass::TimeoutTrial
        | FailureClass::TimeoutRun
        | FailureClass::WorkerLost
        | FailureClass::ParseError
        | FailureClass::UserCode
        | FailureClass::NanObjective
        | FailureClass::EntrypointRefused
        | FailureClass::Cancelled
        | FailureClass::Expired
        | FailureClass::StaleAttempt
        | FailureClass::SinkRefused
        | FailureClass::ReplayLoop
        | FailureClass::Unknown => Cause::Trial,
    }
}

/// The last failure of a trial that took its children down as often as it may.
pub fn given_up(mut failure: Failure, tried: u32) -> Failure {
    if tried > 1 && matches!(cause(failure.class), Cause::Child) {
        failure.message = format!(
            "the trial took its process down {tried} times and is given up; the last: {}",
            failure.message
        );
    }
    failure
}

#[cfg(test)]
mod tests {
    use schemas::Stage;

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { max_retries: 2, backoff: Duration::from_millis(750) };

    fn pauses(class: FailureClass) -> Vec<u128> {
        let failure = Failure::new(class, Stage::Execute, "x");
        (1..10).map_while(|tried| POLICY.next(&failure, tried, 0.5)).map(|pause| pause.as_millis()).collect()
    }

    #[test]
    fn what_the_trial_itself_got_wrong_is_never_tried_again() {
        for class in [FailureClass::UserCode, FailureClass::NanObjective, FailureClass::TimeoutTrial] {
            assert_eq!(pauses(class), [0_u128; 0], "{class}");
        }
    }

    #[test]
    fn a_trial_that_takes_its_child_down_is_given_up_after_three_tries() {
        for class in [FailureClass::SubprocessExit, FailureClass::HeartbeatLost, FailureClass::Oom] {
            assert_eq!(pauses(class), [751, 1502], "{class}");
        }
        let failure = Failure::new(FailureClass::Oom, Stage::Execute, "boom");
        assert_eq!(given_up(failure.clone(), 1).message, "boom");
        assert!(given_up(failure, 3).message.contains("3 times"));
    }

    #[test]
    fn a_dependency_is_tried_as_often_as_the_operator_says() {
        assert_eq!(pauses(FailureClass::Dependency), [751, 1502]);
        let failure = Failure::new(FailureClass::Dependency, Stage::Execute, "x");
        let never = RetryPolicy { max_retries: 0, ..POLICY };
        assert_eq!(never.next(&failure, 1, 0.5), None);
    }

    #[test]
    fn a_pause_is_spread_and_bounded() {
        let failure = Failure::new(FailureClass::Dependency, Stage::Execute, "x");
        let policy = RetryPolicy { max_retries: u32::MAX, ..POLICY };
        let at = |tried, chance| policy.next(&failure, tried, chance).unwrap().as_millis();
        assert_eq!((at(1, 0.0), at(1, 1.0)), (601, 901));
        assert_eq!(at(1000, 0.5), 61_000);
        let hasty = RetryPolicy { backoff: Duration::ZERO, ..policy };
        assert_ne!(hasty.next(&failure, 1, 0.5), hasty.next(&failure, 2, 0.5));
    }
}
