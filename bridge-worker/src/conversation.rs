//! The conversation with Python about one call, and how it can end.
//!
//! What the call is about is its [`Topic`]; in which process it is answered is its
//! [`Partner`](crate::invoker::Partner). Neither knows of the
//! other: here is what they have in common, how a slot is held meanwhile, and what a lost process means. The [`talk`] itself
//! has the deadline, the limits and the order to stop.

mod died;
mod saying;
mod talk;
mod topic;

use std::time::Duration;

use schemas::event::Invalid;
use schemas::{Failure, FailureClass, Stage};
use tokio::sync::watch;

use crate::announce::{Announcer, Unsaid};
use crate::child::protocol::CallResult;
use crate::child::{End, Lost};
use crate::invoker::{Invoker, Leftover};
use crate::limits::Excess;
use crate::remarks::Remarks;
use crate::slots::Lease;
use crate::supervisor::Stop;
use crate::vitals::Vitals;

use died::Death;
use talk::Talk;
pub(crate) use topic::{Heard, MOST_KEPT, Topic};

/// How a conversation ended.
pub(crate) enum Outcome {
    /// With a result or a failure.
    Over {
        /// What was said, or what became of it.
        result: Box<Result<CallResult, Failure>>,
        /// The end of what was printed on standard output.
        printed: String,
    },
    /// Interrupted; what it was about is not over.
    Dropped,
    /// No Python could be started.
    NoChild(Failure),
    /// An event could not be published.
    Unsaid(Unsaid),
}

/// Why a conversation ended before a result.
pub(crate) enum Cut {
    Lost(Lost),
    OutOfTime,
    /// It took more of the machine than it may.
    Exceeded(Excess),
    Stopped(Stop),
    /// No process could be started.
    NotStarted(String),
    /// The words of user code make no event.
    Unsayable(Invalid),
    /// The words of user code make no sense; why.
    Senseless(String),
    Unsaid(Unsaid),
}

/// What every conversation of a run has in common.
pub(crate) struct Conversation<'a> {
    pub(crate) invoker: &'a Invoker,
    pub(crate) vitals: &'a Vitals,
    pub(crate) remarks: &'a Remarks,
    /// Publishes what is said.
    pub(crate) announcer: &'a Announcer,
    /// How long one part of the call may take: a trial.
    pub(crate) limit: Duration,
}

impl Conversation<'_> {
    /// Calls from the leased slot, and passes it on as soon as nothing more is wanted of its child: with the child, if that
    /// is fit for the next call, else without it, while this one's end is waited for.
    pub(crate) async fn hold(
        mut self,
        topic: &mut impl Topic,
        mut lease: Lease,
        stop: &mut watch::Receiver<Option<Stop>>,
    ) -> Outcome {
        let engaged = tokio::select! {
            biased;
            // A start may take minutes. One that is given up leaves an empty slot, and its process ends with its pipe.
            how = stopped(stop) => Err(how),
            engaged = self.invoker.engage(topic.entry(), &mut lease) => Ok(engaged),
        };
        let mut partner = match engaged {
            Ok(Ok(partner)) => partner,
            Ok(Err(failure)) => return Outcome::NoChild(failure),
            Err(Stop::Dropped) => return Outcome::Dropped,
            Err(Stop::Cancelled) => {
                let failure = Failure::new(FailureClass::Cancelled, Stage::Execute, "the run was stopped");
                return Outcome::Over { result: Box::new(Err(failure)), printed: String::new() };
            }
        };
        let is_operators_limit = partner.limit().is_some_and(|limit| limit < self.limit);
        self.limit = partner.limit().map_or(self.limit, |limit| limit.min(self.limit));
        let mut talk = Talk::new(topic, self.announcer, self.limit);
        let ended = talk.run(&mut partner, stop, self.vitals).await;
        let probe = partner.probe();
        let unfit = match &ended {
            Ok(result) => result.worn_out.clone().or_else(|| partner.unfit()),
            Err(_) => Some("its call was cut off".to_owned()),
        };
        let printed = partner.printed();
        let warning = partner.warning().map(str::to_owned);
        self.remarks.note(warning.as_deref());
        let leftover = match partner.into_script() {
            Some(script) => Some(Leftover::Script(script)),
            None => {
                lease.note_call();
                // A child that is fit stays in its slot.
                unfit.as_ref().and_then(|_| lease.take_child()).map(Box::new).map(Leftover::Child)
            }
        };
        drop(lease);
        let result = match ended {
            Ok(mut result) => {
                if let Some(leftover) = leftover {
                    leftover.dismiss(unfit.as_deref()).await;
                }
                result.warnings.extend(warning);
                Ok(*result)
            }
            Err(cut) => {
                let end = match (leftover, &cut) {
                    (Some(leftover), Cut::Lost(Lost::Ended)) => leftover.bury().await,
                    (Some(leftover), _) => leftover.kill().await,
                    (None, _) => End::default(),
                };
                let death = Death::of(end.status, probe.is_some_and(|probe| probe.was_short_of_memory()));
                match self.explain(cut, death, is_operators_limit) {
                    Ok(failure) => Err(failure.with_output(&end.stdout, &end.stderr)),
                    Err(outcome) => return outcome,
                }
            }
        };
        let result = match talk.tell_rest(stop).await {
            Ok(()) => result,
            Err(cut) => match self.explain(cut, Death::default(), is_operators_limit) {
                Ok(failure) => Err(failure),
                Err(outcome) => return outcome,
            },
        };
        Outcome::Over { result: Box::new(result), printed }
    }

    /// What a cut means: a failure of the call, or an outcome that is none.
    fn explain(&self, cut: Cut, death: Death, is_operators_limit: bool) -> Result<Failure, Outcome> {
        let failure = |class, message: String| Failure::new(class, Stage::Execute, message);
        match cut {
            Cut::Unsaid(error) => Err(Outcome::Unsaid(error)),
            Cut::Stopped(Stop::Dropped) => Err(Outcome::Dropped),
            Cut::Stopped(Stop::Cancelled) => {
                Ok(failure(FailureClass::Cancelled, "the run was stopped".to_owned()))
            }
            Cut::OutOfTime => {
                let limit = self.limit.as_secs_f64();
                let whose = if is_operators_limit { "--timeout-ms" } else { "budget.max_trial_seconds" };
                let message = format!("the trial took longer than {limit} s ({whose}) and was killed");
                Ok(failure(FailureClass::TimeoutTrial, message))
            }
            Cut::Exceeded(excess @ Excess::Memory { .. }) => {
                Ok(failure(FailureClass::Oom, excess.to_string()))
            }
            Cut::Exceeded(excess @ Excess::Cpu { .. }) => {
                Ok(failure(FailureClass::TimeoutTrial, excess.to_string()))
            }
            Cut::NotStarted(reason) => Err(Outcome::NoChild(failure(FailureClass::Dependency, reason))),
            Cut::Unsayable(invalid) => {
                let message = format!("the trainer reported what no event can say, {invalid}");
                Ok(failure(FailureClass::UserCode, message))
            }
            Cut::Senseless(reason) => Ok(failure(FailureClass::UserCode, reason)),
            Cut::Lost(Lost::Silent) => {
                let message = format!("{}; the process was killed", Lost::Silent);
                Ok(failure(FailureClass::HeartbeatLost, message))
            }
            Cut::Lost(Lost::NoResult(reason)) => Ok(failure(FailureClass::ParseError, reason)),
            Cut::Lost(Lost::Broken(reason)) => {
                Ok(failure(FailureClass::ParseError, format!("the child broke the protocol: {reason}")))
            }
            Cut::Lost(Lost::Ended) => Ok(death.failure()),
        }
    }
}

/// Resolves when the run wants its calls stopped.
pub(crate) async fn stopped(stop: &mut watch::Receiver<Option<Stop>>) -> Stop {
    match stop.wait_for(Option::is_some).await {
        Ok(stop) => stop.expect("waited for a stop"),
        // The run is gone; so is whoever would listen.
        Err(_) => Stop::Dropped,
    }
}
