//! What failed in an opaque run, told as an exception before anything follows from it: the call is made again, the run is
//! given back, or it is over.

use std::time::Duration;

use schemas::Failure;
use schemas::event::RunException;

use super::OpaqueRun;
use super::conduct::Returned;
use crate::announce::Unsaid;
use crate::run::Attempt;
use crate::supervisor::Ending;

impl OpaqueRun {
    pub(super) async fn announce_retry(
        &mut self,
        attempt: &Attempt,
        failure: &Failure,
        pause: Duration,
    ) -> Result<(), Unsaid> {
        let exception = RunException {
            will_retry: true,
            next_attempt_in_ms: i64::try_from(pause.as_millis()).ok(),
            ..exception(attempt, failure)
        };
        tracing::warn!(run = %attempt.plan.run_id, class = %failure.class, ?pause, "the function is called again");
        attempt.announcer.say(&[exception.into()]).await?;
        self.tries += 1;
        Ok(())
    }

    /// No call can be made here, so the run is given back and says why.
    pub(super) async fn hand_back(&self, attempt: &Attempt, failure: Failure) -> Ending {
        let exception = RunException { will_retry: true, ..exception(attempt, &failure) };
        if let Err(error) = attempt.announcer.say(&[exception.into()]).await {
            return self.conduct().end(unsaid(&error));
        }
        attempt.hand_back(&failure.message);
        self.conduct().end(Returned::Never { reason: failure.message })
    }

    /// The end of a run whose call failed for good, which is said.
    pub(super) async fn fail(&self, attempt: &Attempt, failure: Failure) -> Ending {
        let is_its_end = self.conduct().order().is_none();
        if is_its_end && let Err(error) = attempt.announcer.say(&[exception(attempt, &failure).into()]).await
        {
            return self.conduct().end(unsaid(&error));
        }
        self.conduct().end(Returned::Badly(failure))
    }
}

fn exception(attempt: &Attempt, failure: &Failure) -> RunException {
    RunException {
        run_id: attempt.plan.run_id.clone(),
        attempt: attempt.record.attempt,
        trial_id: None,
        op: Some("run_nas".to_owned()),
        failure: failure.clone(),
        will_retry: false,
        next_attempt_in_ms: None,
    }
}

pub(super) fn unsaid(error: &Unsaid) -> Returned {
    match error {
        Unsaid::Silenced | Unsaid::Unheard => Returned::Dropped,
        Unsaid::Order(_) | Unsaid::Refused(_) => {
            let message = format!("an event of the run could not be published: {error}");
            Returned::Badly(Failure::new(schemas::FailureClass::Unknown, schemas::Stage::Publish, message))
        }
    }
}
