//! The conversation with Python about one call, and how it can end.
//!
//! What the call is about is its [`Topic`]; in which process it is answered is its [`Partner`]. Neither knows of the
//! other: here is what they have in common, the deadline, the order to stop, and what a lost process means.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use schemas::event::Invalid;
use schemas::{Failure, FailureClass, Stage};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::announce::Unsaid;
use crate::child::Lost;
use crate::child::protocol::{Call, CallResult, FromChild};
use crate::invoker::{Invoker, Leftover, Partner};
use crate::remarks::Remarks;
use crate::slots::Lease;
use crate::supervisor::Stop;
use crate::vitals::Vitals;

/// How long a process may take to hear that it should stop, before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// What a call is about: its words, and what becomes of those that come back.
pub(crate) trait Topic {
    /// What is to be called.
    fn entry(&self) -> &str;

    /// The call, under a number that is unique in its process.
    fn call(&self, id: u64) -> Call;

    /// Takes one message; what is to be published is durable when this returns. Dropped in the middle, what it was about
    /// may or may not have been published.
    async fn hear(&mut self, message: FromChild, call: u64) -> Result<Step, Cut>;
}

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

/// What a step of the conversation came to.
pub(crate) enum Step {
    GoOn,
    /// A part of the call is over; the time for the next begins.
    NextPart,
    /// The trial is not worth going on with; it learns so at its next report.
    Prune,
    Result(Box<CallResult>),
}

/// Why a conversation ended before a result.
pub(crate) enum Cut {
    Lost(Lost),
    OutOfTime,
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
    /// How long one part of the call may take: a trial.
    pub(crate) limit: Duration,
}

impl Conversation<'_> {
    /// Calls from the leased slot. Afterwards the slot holds a child that is fit for the next call, or none.
    pub(crate) async fn hold(
        mut self,
        topic: &mut impl Topic,
        lease: &mut Lease,
        stop: &mut watch::Receiver<Option<Stop>>,
    ) -> Outcome {
        let mut partner = match self.invoker.engage(topic.entry(), lease).await {
            Ok(partner) => partner,
            Err(failure) => return Outcome::NoChild(failure),
        };
        let is_operators_limit = partner.limit().is_some_and(|limit| limit < self.limit);
        self.limit = partner.limit().map_or(self.limit, |limit| limit.min(self.limit));
        let ended = self.talk(topic, &mut partner, stop).await;
        let is_fit = ended.is_ok() && !partner.has_descendants();
        let output = partner.output();
        let warning = partner.warning().map(str::to_owned);
        self.remarks.note(warning.as_deref());
        let leftover = match partner.into_script() {
            Some(script) => Some(Leftover::Script(script)),
            // A child that is fit stays in its slot.
            None if is_fit => None,
            None => lease.take_child().map(Box::new).map(Leftover::Child),
        };
        let result = match ended {
            Ok(mut result) => {
                if let Some(leftover) = leftover {
                    leftover.dismiss().await;
                }
                result.warnings.extend(warning);
                Ok(*result)
            }
            Err(cut) => {
                let status = match (leftover, &cut) {
                    (Some(leftover), Cut::Lost(Lost::Ended)) => leftover.bury().await,
                    (Some(leftover), _) => leftover.kill().await,
                    (None, _) => None,
                };
                match self.explain(cut, status, is_operators_limit) {
                    Ok(failure) => Err(failure.with_output(&output.0, &output.1)),
                    Err(outcome) => return outcome,
                }
            }
        };
        Outcome::Over { result: Box::new(result), printed: output.0 }
    }

    async fn talk(
        &self,
        topic: &mut impl Topic,
        partner: &mut Partner<'_>,
        stop: &mut watch::Receiver<Option<Stop>>,
    ) -> Result<Box<CallResult>, Cut> {
        let call = topic.call(partner.next_call());
        let mut deadline = Instant::now() + self.limit;
        let pulse = self.vitals.begin(Instant::now());
        partner.begin(&call).await?;
        loop {
            let message = tokio::select! {
                biased;
                how = stopped(stop) => return wind_down(topic, partner, call.id, how).await,
                // Before the messages: a process that says something all the time has no more time than others.
                () = tokio::time::sleep_until(deadline) => return Err(Cut::OutOfTime),
                message = partner.receive() => {
                    pulse.pause();
                    message.map_err(Cut::Lost)?
                }
            };
            let step = tokio::select! {
                biased;
                how = stopped(stop) => return wind_down(topic, partner, call.id, how).await,
                step = topic.hear(message, call.id) => step?,
            };
            pulse.beat(Instant::now());
            match step {
                Step::GoOn => {}
                Step::NextPart => deadline = Instant::now() + self.limit,
                Step::Prune => partner.stop(call.id, "pruned").await.map_err(|_| Cut::Lost(Lost::Ended))?,
                Step::Result(result) => return Ok(result),
            }
        }
    }

    /// What a cut means: a failure of the call, or an outcome that is none.
    fn explain(
        &self,
        cut: Cut,
        status: Option<ExitStatus>,
        is_operators_limit: bool,
    ) -> Result<Failure, Outcome> {
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
            Cut::Lost(Lost::Ended) => Ok(died(status)),
        }
    }
}

/// Gives a cancelled call a moment to hear of it. A result that is already on its way still counts.
async fn wind_down(
    topic: &mut impl Topic,
    partner: &mut Partner<'_>,
    call: u64,
    how: Stop,
) -> Result<Box<CallResult>, Cut> {
    if how == Stop::Dropped {
        return Err(Cut::Stopped(how));
    }
    let told = partner.stop(call, "cancelled").await;
    let deadline = Instant::now() + STOP_GRACE;
    while told.is_ok() && Instant::now() < deadline {
        let message = tokio::time::timeout_at(deadline, partner.receive()).await;
        let Ok(Ok(message)) = message else { break };
        let step = tokio::time::timeout_at(deadline, topic.hear(message, call)).await;
        let Ok(step) = step else { break };
        if let Step::Result(result) = step? {
            return Ok(result);
        }
    }
    Err(Cut::Stopped(how))
}

/// Resolves when the run wants its calls stopped.
pub(crate) async fn stopped(stop: &mut watch::Receiver<Option<Stop>>) -> Stop {
    match stop.wait_for(Option::is_some).await {
        Ok(stop) => stop.expect("waited for a stop"),
        // The run is gone; so is whoever would listen.
        Err(_) => Stop::Dropped,
    }
}

/// A process that ended without a result, classified by how it did.
fn died(status: Option<ExitStatus>) -> Failure {
    let code = status.and_then(|status| status.code());
    let signal = status.and_then(|status| status.signal());
    let how = match (code, signal) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}{}", signal_name(signal)),
        (None, None) => "ended".to_owned(),
    };
    let message = format!("the Python process {how} before it had given a result");
    let mut failure = Failure::new(FailureClass::SubprocessExit, Stage::Execute, message);
    failure.exit_code = code;
    failure.signal = signal;
    failure
}

fn signal_name(signal: i32) -> String {
    nix::sys::signal::Signal::try_from(signal)
        .map_or(String::new(), |signal| format!(" ({})", signal.as_str()))
}
